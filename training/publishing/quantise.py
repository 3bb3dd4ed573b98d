"""An int8 graph of the model, made after training, and the proof that it answers as the float one does."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import datasets
import numpy as np
import numpy.typing as npt
import openvino
from tqdm import tqdm

from service.audio import DEFAULT_MAX_WINDOWS, WindowSpec, normalise, read_recording
from service.model.calibration import calibrated_probabilities
from training.data.clips import open_clip

CALIBRATION_CLIPS = 100
"""Clips of the training set that the ranges of the activations are measured on."""

MAX_ACCURACY_DROP = 0.005
MIN_AGREEMENT = 0.99

Windows = npt.NDArray[np.float32]
"""float32 (windows, samples), normalised."""


@dataclass(frozen=True)
class Comparison:
    """A float32 graph and its int8 form on the same clips, each answered from the mean over its windows as served.

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


def quantise(graph: Path, clips: datasets.Dataset, window: WindowSpec) -> openvino.Model:
    """The graph with weights and activations in 8 bits where that is known to be safe (NNCF's post-training
    quantisation), ranges measured on the clips."""
    # It takes seconds to import.
    import nncf

    batches = (windows[:1] for windows in _windows(clips, window, 1, "Measuring ranges"))
    calibration = nncf.Dataset(list(batches))
    return nncf.quantize(openvino.Core().read_model(graph), calibration, subset_size=len(clips))


def compare(graph: Path, quantised: openvino.Model, clips: datasets.Dataset, window: WindowSpec) -> Comparison:
    """Answer the clips in float32, in bf16 where this CPU has it, and in int8."""
    core = openvino.Core()
    reduced = "bf16" if "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "f32"
    ways = {"float32": (core.read_model(graph), "f32")}
    if reduced == "bf16":
        ways["bf16"] = (core.read_model(graph), reduced)
    ways["int8"] = (quantised, reduced)
    compiled = {
        name: core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": precision})
        for name, (model, precision) in ways.items()
    }
    answers: dict[str, list[int]] = {name: [] for name in compiled}
    for windows in _windows(clips, window, DEFAULT_MAX_WINDOWS, "Comparing"):
        for name, model in compiled.items():
            logits = np.concatenate([model([window[None]])[0] for window in windows])
            answers[name].append(int(calibrated_probabilities(logits, 1.0).mean(axis=0).argmax()))
    exact, references = np.asarray(answers["float32"]), np.asarray(clips["genre"])
    return Comparison(
        clips=len(clips),
        accuracy={name: float(np.mean(np.asarray(given) == references)) for name, given in answers.items()},
        agreement={name: float(np.mean(np.asarray(given) == exact)) for name, given in answers.items()},
    )


def _windows(clips: datasets.Dataset, window: WindowSpec, max_windows: int, title: str) -> Iterator[Windows]:
    """The windows of each clip, as the service cuts them."""
    for audio in tqdm(clips["audio"], desc=title, unit="clip"):
        recording = read_recording(open_clip(audio), window, max_windows=max_windows)
        yield np.stack([normalise(waveform) for waveform in recording.windows])
