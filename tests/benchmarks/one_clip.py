"""One 30 s clip from mp3 bytes to scores, without HTTP: the stock pipeline and each backend in turn."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import openvino
import torch

from service.audio import normalise, open_audio, pad_to_length
from service.inference.backend import Backend, Windows
from service.inference.loading import load_backend
from service.model.artefact import Artefact, read_artefact
from service.model.graph import graph_of
from service.runtime.resources import available_cpus
from tests.benchmarks.measuring import interleaved
from tests.benchmarks.model import window_flop
from tests.benchmarks.report import Row, Section
from tests.benchmarks.stock import stock_classifier

_MATMUL = "bf16 matmul"
_MATMUL_SIZE = 4_096


def one_clip(folder: Path, clips: Sequence[bytes], rounds: int) -> Section:
    """Medians of `rounds`. Imports torch: call it in a process of its own."""
    artefact = read_artefact(folder, model_id=folder.name, revision=None)
    stock = stock_classifier(str(folder))
    quantised = folder.with_name(f"{folder.name}-int8")
    int8 = read_artefact(quantised, model_id=quantised.name, revision=None)
    backends = [
        load_backend("torch", artefact, available_cpus()),
        _Float32Graph(artefact, available_cpus()),
        load_backend("openvino", artefact, available_cpus()),
        load_backend("openvino", int8, available_cpus()),
    ]
    ways: dict[str, Callable[[int], object]] = {"stock pipeline, float32": lambda n: stock(clips[n % len(clips)])}
    for backend in {backend.name: backend for backend in backends}.values():
        ways[backend.name] = _way(backend, artefact, clips)
    matrix = torch.randn(_MATMUL_SIZE, _MATMUL_SIZE).to(torch.bfloat16)
    seconds = interleaved({**ways, _MATMUL: lambda _: matrix @ matrix}, rounds)
    matmul_gflop_per_s = 2 * _MATMUL_SIZE**3 / median(seconds.pop(_MATMUL)) / 1e9
    return _section(seconds, matmul_gflop_per_s)


def _way(backend: Backend, artefact: Artefact, clips: Sequence[bytes]) -> Callable[[int], object]:
    """The path of a request, without the queue."""

    def classify(number: int) -> object:
        with open_audio(io.BytesIO(clips[number % len(clips)])) as audio:
            waveform = audio.read(0.0, artefact.window.length_s, artefact.window.sampling_rate).waveform
        window = pad_to_length(waveform, artefact.window.samples)
        return backend.probabilities(normalise(window)[None])

    return classify


def _section(seconds: dict[str, list[float]], matmul_gflop_per_s: float) -> Section:
    stock_s = median(next(iter(seconds.values())))
    floor_s = window_flop() / matmul_gflop_per_s / 1e9
    rows: list[Row] = [
        {
            "way": name,
            "median s": median(values),
            "best s": min(values),
            "worst s": max(values),
            "times stock": stock_s / median(values),
            "bf16 floor / median": floor_s / median(values),
        }
        for name, values in seconds.items()
    ]
    count = len(next(iter(seconds.values())))
    remark = (
        f"{count} rounds, the ways in turn; decoding and resampling included. A {_MATMUL_SIZE}x{_MATMUL_SIZE} bf16 "
        f"matmul of torch in the same rounds: {matmul_gflop_per_s:.0f} GFLOP/s (median); a window costs "
        f"{window_flop() / 1e9:.0f} GFLOP, so its floor in bf16 is {floor_s:.3f} s."
    )
    return Section("One 30 s clip, in-process", rows, [remark])


class _Float32Graph:
    """The same graph in float32, which the service compiles only where the CPU has no bf16."""

    name = "openvino-f32"
    max_batch = 1

    def __init__(self, artefact: Artefact, threads: int) -> None:
        options = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
        self._request = openvino.Core().compile_model(graph_of(artefact), "CPU", options).create_infer_request()

    def probabilities(self, windows: Windows) -> Windows:
        logits: Windows = self._request.infer([windows])[0]
        return logits
