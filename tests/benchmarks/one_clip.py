"""One 30 s clip from mp3 bytes to scores, without HTTP: the stock pipeline and each backend in turn."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import torch

from service.audio import normalise, open_audio, pad_to_length
from service.inference.backend import Backend
from service.inference.loading import load_backend
from service.inference.openvino_backend import OpenVINOBackend
from service.model.artefact import Artefact, read_artefact
from service.model.graphs.conversion import write_whole
from service.model.graphs.locate import Located, locate
from service.model.graphs.runner import best_precision
from service.model.layout import WholeGraph
from service.model.weights import load_model
from service.runtime.resources import available_cpus
from tests.benchmarks.measuring import interleaved
from tests.benchmarks.model import window_flop
from tests.benchmarks.report import Row, Section
from tests.benchmarks.stock import stock_classifier

_FLOOR = "matmul"
_MATMUL_SIZE = 4_096


def one_clip(folder: Path, clips: Sequence[bytes], rounds: int) -> Section:
    """Medians of `rounds`. Imports torch: call it in a process of its own."""
    artefact = read_artefact(folder, model_id=folder.name, revision=None)
    stock = stock_classifier(str(folder))
    ways: dict[str, Callable[[int], object]] = {"stock pipeline, float32": lambda n: stock(clips[n % len(clips)])}
    ways |= {name: _way(backend, artefact, clips) for name, backend in _backends(folder, artefact).items()}
    floors = {"float32": torch.float32} | ({"bf16": torch.bfloat16} if best_precision() == "bf16" else {})
    for name, dtype in floors.items():
        ways[f"{name} {_FLOOR}"] = _matmul(dtype)
    return _section(interleaved(ways, rounds), list(floors))


def _backends(folder: Path, artefact: Artefact) -> dict[str, Backend]:
    """Each way to compute, by name: the fastest precision once more as the one graph of earlier versions."""
    threads, best = available_cpus(), best_precision()
    located = locate(artefact)
    quantised = folder.with_name(f"{folder.name}-int8")
    one = write_whole(load_model(artefact), artefact.window.samples, WholeGraph.inside(folder))
    return {
        "torch, float32": load_backend("torch", artefact, threads),
        "one graph, float32": OpenVINOBackend(Located(one, "float32"), artefact, threads, "f32"),
        "tiles, float32": OpenVINOBackend(located, artefact, threads, "f32"),
        f"one graph, {best}": OpenVINOBackend(Located(one, "float32"), artefact, threads, best),
        f"tiles, {best}": OpenVINOBackend(located, artefact, threads, best),
        "tiles, int8": load_backend("openvino", read_artefact(quantised, model_id="int8", revision=None), threads),
    }


def _matmul(dtype: torch.dtype) -> Callable[[int], object]:
    matrix = torch.randn(_MATMUL_SIZE, _MATMUL_SIZE).to(dtype)
    return lambda _: matrix @ matrix


def _way(backend: Backend, artefact: Artefact, clips: Sequence[bytes]) -> Callable[[int], object]:
    """The path of a request, without the queue."""

    def classify(number: int) -> object:
        with open_audio(io.BytesIO(clips[number % len(clips)])) as audio:
            waveform = audio.read(0.0, artefact.window.length_s, artefact.window.sampling_rate).waveform
        window = pad_to_length(waveform, artefact.window.samples)
        return backend.infer(normalise(window)[None])

    return classify


def _section(seconds: dict[str, list[float]], floors: list[str]) -> Section:
    gflop_per_s = {name: 2 * _MATMUL_SIZE**3 / median(seconds.pop(f"{name} {_FLOOR}")) / 1e9 for name in floors}
    floor_s = {name: window_flop() / rate / 1e9 for name, rate in gflop_per_s.items()}
    stock_s = median(next(iter(seconds.values())))
    rows: list[Row] = [
        {
            "way": name,
            "median s": median(values),
            "best s": min(values),
            "worst s": max(values),
            "times stock": stock_s / median(values),
            **{f"{floor} floor / median": floor_s[floor] / median(values) for floor in floors},
        }
        for name, values in seconds.items()
    ]
    count = len(next(iter(seconds.values())))
    rates = ", ".join(f"{name} {rate:.0f} GFLOP/s, floor {floor_s[name]:.3f} s" for name, rate in gflop_per_s.items())
    remark = (
        f"{count} rounds, the ways in turn; decoding and resampling included. A window costs {window_flop() / 1e9:.0f} "
        f"GFLOP; its floor is what a {_MATMUL_SIZE}x{_MATMUL_SIZE} matmul of torch reaches in the same rounds: {rates}."
    )
    return Section("One 30 s clip, in-process", rows, [remark])
