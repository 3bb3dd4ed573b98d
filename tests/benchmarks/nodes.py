"""Where a window's time goes, by operation, in one graph and in tiles: `python -m tests.benchmarks --only nodes`."""

import heapq
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import openvino

from service.audio import Waveform
from service.model.artefact import read_artefact
from service.model.graphs.conversion import write_whole
from service.model.graphs.core import CORE
from service.model.graphs.locate import locate
from service.model.graphs.runner import best_precision
from service.model.graphs.tiling import Tiling, tile_frames
from service.model.layout import TiledGraphs, WholeGraph
from service.model.weights import load_model
from service.runtime.resources import available_cpus
from tests.benchmarks.report import Row, Section

_LINES = 12
_PRECISIONS = {"bf16": "bf16", "f32": "float32"}


def nodes(folder: Path, rounds: int) -> list[Section]:
    """A table for the one graph of a model, and one for its tiles and the transformer behind them."""
    artefact = read_artefact(folder, model_id=folder.name, revision=None)
    samples, graphs, cores = artefact.window.samples, locate(artefact).graphs, available_cpus()
    assert isinstance(graphs, TiledGraphs)
    window = np.random.default_rng(0).standard_normal(samples).astype(np.float32)
    whole = write_whole(load_model(artefact), samples, WholeGraph.inside(folder))
    one = _profile(whole.graph, [window[None]], rounds, threads=cores)
    tiling = Tiling.load(graphs.tiling)
    tiles, inputs = _tiles(tiling, window)
    encoder = _profile(graphs.encoder, inputs, rounds * cores, threads=1)
    features = np.random.default_rng(1).standard_normal((1, tiling.channels, tiling.frames(samples)))
    behind = _profile(graphs.transformer, [features.astype(np.float32)], rounds, threads=cores)
    of_core = {name: ms * tiles / cores for name, ms in encoder.items()}
    return [_section("one graph", one), _section("in tiles", of_core | behind)]


def _tiles(tiling: Tiling, window: Waveform) -> tuple[int, list[Any]]:
    """The number of tiles of a window, and the inputs of the encoder for the first one."""
    scales = tiling.first_layer.normalisation(window) if tiling.first_layer else ()
    tiles = list(tiling.tiles(window, tile_frames(tiling.frames(len(window)), available_cpus())))
    return len(tiles), [tiles[0][1][None, None], *scales]


def _profile(path: Path, inputs: list[Any], rounds: int, threads: int) -> dict[str, float]:
    """Milliseconds of each operation, the best of the rounds, as others on the machine only make it longer."""
    model = CORE.read_model(path)
    model.reshape({index: list(array.shape) for index, array in enumerate(inputs)})
    options = {
        "INFERENCE_PRECISION_HINT": best_precision(),
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        "PERF_COUNT": True,
    }
    request = CORE.compile_model(model, "CPU", options).create_infer_request()
    best: dict[str, float] = {}
    # The first one warms up.
    for _ in range(rounds + 1):
        request.infer(inputs)
        round_ms: dict[str, float] = defaultdict(float)
        for node in request.profiling_info:
            round_ms[_name(node)] += 1_000 * node.real_time.total_seconds()
        best = {name: min(ms, best.get(name, ms)) for name, ms in round_ms.items()}
    return best


def _name(node: openvino.ProfilingInfo) -> str:
    """The operation and its place in the model, in a few words."""
    place = node.node_name.replace("__module.", "").replace("model.hubert.", "").split("/")[0]
    return f"{node.node_type} {place.replace('feature_extractor.conv_layers', 'layers')}"


def _section(title: str, spent: Mapping[str, float]) -> Section:
    whole = sum(spent.values())
    longest = heapq.nlargest(_LINES, spent.items(), key=lambda operation: operation[1])
    rows: list[Row] = [{"operation": name, "ms": ms, "share": ms / whole} for name, ms in longest]
    remark = (
        f"{whole:.0f} ms in all, of {len(spent)} operations, in {_PRECISIONS[best_precision()]} on {available_cpus()} "
        "cores: for each operation its best round. What is in tiles is one tile on one core, times tiles, by cores."
    )
    return Section(f"Where a window's time goes: {title}", rows, [remark])
