"""Feature encoder in tiles of several lengths, and windows one after the other against pipelined:
`python -m tests.benchmarks.tiles [THREADS]`."""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from service.model.artefact import read_artefact
from service.model.graphs.encoder import TiledEncoder
from service.model.graphs.locate import locate
from service.model.graphs.runner import GraphRunner, best_precision
from service.model.layout import TiledGraphs
from service.runtime.resources import available_cpus
from tests.benchmarks import model
from tests.benchmarks.measuring import interleaved

_LENGTHS = (15, 25, 40, 60, 80, 100, 150)
_PIPELINED = 8


def _calling(function: Callable[[Any], object], argument: object) -> Callable[[int], object]:
    return lambda _: function(argument)


def main() -> None:
    """Print the medians, in milliseconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("threads", type=int, nargs="?", default=available_cpus())
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder))
        artefact = read_artefact(Path(folder), model_id="tiles", revision=None)
        graphs = locate(artefact).graphs
        assert isinstance(graphs, TiledGraphs)
        samples, precision = artefact.window.samples, best_precision()
        windows = np.random.default_rng(0).standard_normal((_PIPELINED, samples)).astype(np.float32)
        ways: dict[str, Callable[[int], object]] = {}
        for length in _LENGTHS:
            encoder = TiledEncoder(graphs, samples, options.threads, precision, max_tile_frames=length)
            ways[f"encoder, tiles of at most {length} frames"] = _calling(encoder.features, windows[0])
        runner = GraphRunner(graphs, samples, options.threads, precision)
        ways["a window"] = _calling(runner.infer, windows[:1])
        ways[f"{_PIPELINED} windows, one after the other"] = lambda _: [runner.infer(row[None]) for row in windows]
        ways[f"{_PIPELINED} windows, pipelined"] = _calling(runner.infer, windows)
        for name, seconds in interleaved(ways, options.rounds).items():
            print(f"{name:40} {1_000 * median(seconds):8.1f} ms")  # noqa: T201


if __name__ == "__main__":
    main()
