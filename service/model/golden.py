"""Golden clips: whether a model answers as it did in training, on clips that travel in its repo."""

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from service.audio import AudioError, normalise, read_recording
from service.errors import StartupError
from service.model.artefact import Artefact
from service.model.serving_file import GoldenClip, Precision

MAX_WINDOWS = 3
"""Maximum number of windows of a golden clip."""

DEFAULT_TOLERANCES: dict[Precision, float] = {"float32": 0.01, "bfloat16": 0.05, "float16": 0.05, "int8": 0.1}
"""Used where serving.json names none: float32 differs by a few 1e-5 between libraries, bfloat16 has 8 bits."""

_MAX_BYTES = 20_000_000

# Backends name their precision last, OpenVINO's in short.
_PRECISIONS: dict[str, Precision] = {
    **{precision: precision for precision in DEFAULT_TOLERANCES},
    "f32": "float32",
    "bf16": "bfloat16",
}

Scores = npt.NDArray[np.float32]
"""float32 (labels,): the mean of the probabilities of a clip's windows."""

Infer = Callable[[npt.NDArray[np.float32]], Scores]
"""Probabilities (n, labels) of windows (n, samples) that are normalised as the model wants them."""


def precision_of(backend: str) -> Precision:
    """The precision that a backend computes in, by its name, such as `openvino-bf16`."""
    suffix = backend.rsplit("-", 1)[-1]
    return _PRECISIONS.get(suffix, "float32")


def read_clip(artefact: Artefact, clip: GoldenClip) -> io.BytesIO:
    """The encoded audio of a golden clip. Raises StartupError when it is not the file that serving.json names."""
    path = artefact.folder / clip.file
    try:
        data = path.read_bytes() if path.stat().st_size <= _MAX_BYTES else b""
    except OSError:
        data = b""
    if hashlib.sha256(data).hexdigest() != clip.sha256:
        raise StartupError(
            f"{clip.file} of {artefact.model_id} is not the file that serving.json names. Push the model again."
        )
    return io.BytesIO(data)


def clip_scores(artefact: Artefact, file: BinaryIO, infer: Infer) -> Scores:
    """The scores of a clip, decoded in this process. Raises AudioError."""
    windows = read_recording(file, artefact.window, max_windows=MAX_WINDOWS).windows
    if artefact.do_normalize:
        windows = np.stack([normalise(window) for window in windows])
    scores: Scores = infer(windows).mean(axis=0)
    return scores


def compare(artefact: Artefact, clip: GoldenClip, scores: Scores, precision: Precision) -> float:
    """The largest difference to the scores of training. Raises StartupError when the tolerance does not allow it."""
    if clip.scores.keys() != set(artefact.labels):
        raise StartupError(
            f"The golden clips of {artefact.model_id} have scores of other labels than config.json. Train it again."
        )
    expected = np.array([clip.scores[label] for label in artefact.labels])
    differences = np.abs(scores - expected)
    worst = int(differences.argmax())
    tolerance = tolerance_of(artefact, precision)
    # Written so that NaN is refused, too.
    if not differences.max() <= tolerance:
        raise StartupError(
            f"{artefact.model_id} does not answer as in training: {clip.file} gets {scores[worst]:.3f} for "
            f"{artefact.labels[worst]} in place of {expected[worst]:.3f}, and {tolerance:g} of difference is allowed "
            f"in {precision}. Its files do not belong together; train or export it again, and push it."
        )
    return float(differences[worst])


def tolerance_of(artefact: Artefact, precision: Precision) -> float:
    """By how much a score may differ."""
    assert artefact.golden is not None, "asked with a clip of it"
    return artefact.golden.tolerances.get(precision, DEFAULT_TOLERANCES[precision])


def check(artefact: Artefact, infer: Infer, precision: Precision) -> float | None:
    """The largest difference over all golden clips; None without any. Raises StartupError when one is too large."""
    if artefact.golden is None:
        return None
    return max(
        compare(artefact, clip, _scores_explained(artefact, clip, infer), precision) for clip in artefact.golden.clips
    )


def _scores_explained(artefact: Artefact, clip: GoldenClip, infer: Infer) -> Scores:
    try:
        return clip_scores(artefact, read_clip(artefact, clip), infer)
    except AudioError as error:
        raise clip_error(artefact, clip, error.detail) from error


def clip_error(artefact: Artefact, clip: GoldenClip, detail: str) -> StartupError:
    """The error of a golden clip that cannot be decoded."""
    return StartupError(f"{clip.file} of {artefact.model_id} cannot be heard: {detail}")


def clip_name(folder: Path, path: Path) -> str:
    """A clip's path in the repo, as serving.json names it."""
    return path.relative_to(folder).as_posix()
