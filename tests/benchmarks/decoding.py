"""What decoding and resampling cost in a request, by format: one thread, as a decoder's process has it."""

import io
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import soxr

from service.audio import Waveform, WindowSpec, read_recording
from service.inference.loading import load_backend
from service.model.artefact import read_artefact
from service.runtime.resources import available_cpus
from tests.benchmarks.measuring import interleaved
from tests.benchmarks.report import Row, Section
from tests.support.audio_files import encode
from training.synthetic.render import SAMPLING_RATE, render

_FORMATS = {"wav": 44_100, "flac": 44_100, "mp3": 44_100, "ogg": 44_100, "m4a": 44_100, "opus": 48_000, "webm": 48_000}
_SHORT_S, _LONG_S = 30, 180
_INFERENCE, _RESAMPLING = "a window's inference", "a window's resampling"


def decoding(folder: Path, rounds: int) -> Section:
    """Recordings of 30 s, one window, and of 3 minutes, three. Imports openvino: call it in a process of its own."""
    artefact = read_artefact(folder, model_id=folder.name, revision=None)
    backend = load_backend("auto", artefact, available_cpus())
    spec = artefact.window
    music = np.tile(np.asarray(render("rock", seed=0, duration_s=_SHORT_S), np.float32), _LONG_S // _SHORT_S)
    noise = np.random.default_rng(0).standard_normal(spec.samples).astype(np.float32)
    longest = round(spec.length_s * 44_100)
    ways: dict[str, Callable[[int], object]] = {
        _INFERENCE: lambda _: backend.infer(noise[None]),
        _RESAMPLING: lambda _: soxr.resample(music[:longest], 44_100, spec.sampling_rate, quality="HQ"),
    }
    windows = {}
    for format, rate in _FORMATS.items():
        waveform = soxr.resample(music, SAMPLING_RATE, rate)
        for length_s, count in ((_SHORT_S, 1), (_LONG_S, 3)):
            name = f"{format}, {length_s} s"
            windows[name] = count
            ways[name] = _way(np.stack([waveform[: length_s * rate]] * 2, axis=1), format, rate, spec)
    seconds = {name: median(values) for name, values in interleaved(ways, rounds).items()}
    rows: list[Row] = [
        {
            "recording": name,
            "windows": count,
            "decoding and resampling, ms": seconds[name] * 1e3,
            "share of a request": seconds[name] / (seconds[name] + count * seconds[_INFERENCE]),
        }
        for name, count in windows.items()
    ]
    inference_ms, resampling_ms = (seconds[name] * 1e3 for name in (_INFERENCE, _RESAMPLING))
    remark = (
        f"Medians of {rounds} rounds in turn; stereo. A window takes {inference_ms:.0f} ms of inference on all cores; "
        f"{resampling_ms:.1f} ms of the decoding, on one, are its resampling from 44.1 kHz."
    )
    return Section("Decoding", rows, [remark])


def _way(waveform: Waveform, format: str, rate: int, spec: WindowSpec) -> Callable[[int], object]:
    file = encode(waveform, format, rate)
    return lambda _: read_recording(io.BytesIO(file), spec, max_windows=3)
