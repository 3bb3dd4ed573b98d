"""Graphs of the model in int8, made after training, and the proof that they answer as those in floats do."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import numpy.typing as npt
import openvino
import torch
from tqdm import tqdm

from service.audio import DEFAULT_MAX_WINDOWS, WindowSpec, normalise, read_recording
from service.model.calibration import calibrated_probabilities
from service.model.graphs.core import CORE
from service.model.graphs.encoder import TiledEncoder
from service.model.graphs.runner import GraphRunner, best_precision
from service.model.graphs.tiling import Tiling, tile_frames
from service.model.layout import Graphs, TiledGraphs, WholeGraph
from training.data.clips import open_clip

CALIBRATION_CLIPS = 100
"""Clips of the training set that the ranges of the activations are measured on."""

MAX_ACCURACY_DROP = 0.005
MIN_AGREEMENT = 0.99

KEPT = (r".*(first|conv_layers\.0)\.conv.*", r".*(model\.projector|classifier).*")
"""Names of operations that stay in floats: the first convolution and the head (docs/decisions/int8.md)."""

Windows = npt.NDArray[np.float32]
"""float32 (windows, samples), normalised."""


@dataclass(frozen=True)
class Comparison:
    """The graphs in float32 and in int8 on the same clips, each answered from the mean over its windows as served.

    accuracy: by precision, in 0..1. agreement: the share of clips with the same best genre as in float32, by precision.
    """

    clips: int
    accuracy: dict[str, float]
    agreement: dict[str, float]

    @property
    def passed(self) -> bool:
        """Accuracy drops by less than half a point, and 99 % of the answers are the same."""
        return (
            self.accuracy["float32"] - self.accuracy["int8"] < MAX_ACCURACY_DROP
            and self.agreement["int8"] >= MIN_AGREEMENT
        )


def quantise(
    graphs: Graphs,
    folder: Path,
    clips: datasets.Dataset,
    window: WindowSpec,
    *,
    kept: Sequence[str] = KEPT,
    as_transformer: bool = True,
) -> Graphs:
    """Write the graphs with weights and activations in 8 bits (NNCF's post-training quantisation) into a folder; the
    ranges are measured on a window of each clip, as it comes to each graph.

    kept: regular expressions of the names of operations that stay in floats. as_transformer: by NNCF's rules for
    transformers (norms and sums stay in floats, SmoothQuant before matrix products, asymmetric activations).
    """
    folder.mkdir()
    write = partial(_quantise, kept=kept, as_transformer=as_transformer)
    windows = [windows[0] for windows in windows_of(clips, window, 1, "Measuring ranges")]
    if isinstance(graphs, WholeGraph):
        made = WholeGraph.inside(folder)
        write(graphs.graph, made.graph, [window[None] for window in windows])
        return made
    tiled = TiledGraphs.inside(folder)
    tiling = Tiling.load(graphs.tiling)
    tiling.save(tiled.tiling)
    write(graphs.encoder, tiled.encoder, [_middle_tile(tiling, window) for window in windows])
    encoder = TiledEncoder(graphs, window.samples, torch.get_num_threads(), "f32")
    write(graphs.transformer, tiled.transformer, [encoder.features(window) for window in windows])
    return tiled


def compare(float32: Graphs, int8: Graphs, clips: datasets.Dataset, window: WindowSpec) -> Comparison:
    """Answer the clips in float32, in bf16 where this CPU has it, and in int8."""
    best = best_precision()
    ways = {"float32": (float32, "f32"), "int8": (int8, best)} | ({"bf16": (float32, best)} if best == "bf16" else {})
    runners = {
        name: GraphRunner(graphs, window.samples, torch.get_num_threads(), precision)
        for name, (graphs, precision) in ways.items()
    }
    answers: dict[str, list[int]] = {name: [] for name in runners}
    for windows in windows_of(clips, window, DEFAULT_MAX_WINDOWS, "Comparing"):
        for name, runner in runners.items():
            logits, _ = runner.infer(windows)
            answers[name].append(int(calibrated_probabilities(logits, 1.0).mean(axis=0).argmax()))
    exact, references = np.asarray(answers["float32"]), np.asarray(clips["genre"])
    return Comparison(
        clips=len(clips),
        accuracy={name: float(np.mean(np.asarray(given) == references)) for name, given in answers.items()},
        agreement={name: float(np.mean(np.asarray(given) == exact)) for name, given in answers.items()},
    )


def _quantise(graph: Path, made: Path, inputs: list[Any], kept: Sequence[str], as_transformer: bool) -> None:
    # NNCF makes cores of its own, and `service.model.graphs.core` says why these must not come and go in this thread.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(_quantise_here, graph, made, inputs, kept, as_transformer).result()


def _quantise_here(graph: Path, made: Path, inputs: list[Any], kept: Sequence[str], as_transformer: bool) -> None:
    # It takes seconds to import.
    import nncf

    # Each graph holds a part of what is kept.
    scope = nncf.IgnoredScope(patterns=list(kept), validate=False)
    model = nncf.quantize(
        CORE.read_model(graph),
        nncf.Dataset(inputs),
        subset_size=len(inputs),
        model_type=nncf.ModelType.TRANSFORMER if as_transformer else None,
        ignored_scope=scope,
    )
    openvino.save_model(model, made, compress_to_fp16=False)


def _middle_tile(tiling: Tiling, window: npt.NDArray[np.float32]) -> Any:
    """The inputs of the encoder's graph for a tile out of the middle of a window."""
    tiles = list(tiling.tiles(window, tile_frames(tiling.frames(len(window)), 1)))
    scales = tiling.first_layer.normalisation(window) if tiling.first_layer else ()
    return (tiles[len(tiles) // 2][1][None, None], *scales)


def windows_of(clips: datasets.Dataset, window: WindowSpec, max_windows: int, title: str) -> Iterator[Windows]:
    """The windows of each clip, as the service cuts them."""
    for audio in tqdm(clips["audio"], desc=title, unit="clip"):
        recording = read_recording(open_clip(audio), window, max_windows=max_windows)
        yield np.stack([normalise(waveform) for waveform in recording.windows])
