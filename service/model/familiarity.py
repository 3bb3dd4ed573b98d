"""Familiarity: how far a recording lies from the music that its model was trained on.

Each genre of the training music is a Gaussian in what a window looks like: statistics of its spectrum and the model's
embedding. The distance of a recording is that to the nearest of them, as Lee et al. measure it in embeddings ("A Simple
Unified Framework for Detecting Out-of-Distribution Samples and Adversarial Attacks", 2018). Embeddings alone keep what
tells the genres apart, and little of what tells music from speech.
"""

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file

from service.audio import Waveform, normalise
from service.errors import StartupError
from service.model.layout import FAMILIARITY
from service.model.serving_file import FamiliarityEntry, sha256
from service.model.tensors import save_tensors

BANDS = 20
SPECTRUM_FEATURES = 3 * BANDS

_FRAME_S = 0.064
_LOWEST_HZ = 40.0
_HIGHEST_SHARE = 0.475
# White noise of the variance of a window has 384 in each bin of a frame of 1,024 samples.
_POWER_FLOOR = 1e-2
# Added before the logarithm, so that a band that never changes is as near as one that hardly does.
_LEAST_CHANGE = 0.05

_AGAIN = "Train the model again, or push it again."

Features = npt.NDArray[np.float32]
"""float32 (features,): the statistics of a window's spectrum and, where the model answers one, its embedding."""


@dataclass(frozen=True, eq=False)
class Familiarity:
    """The Gaussians of the training music.

    means: float32 (genres, features). whitening: float32 (genres, features, features), turns differences from a mean
    into independent values of variance 1. threshold: the distance from which on a recording is unfamiliar.
    """

    means: npt.NDArray[np.float32]
    whitening: npt.NDArray[np.float32]
    threshold: float

    def require_embedding(self, size: int) -> None:
        """Raise StartupError when the Gaussians were not made with embeddings of that size; 0 for none."""
        made_with = self.means.shape[1] - SPECTRUM_FEATURES
        if made_with != size:
            raise StartupError(
                f"{FAMILIARITY} was made with embeddings of {made_with} numbers, and the model answers {size}. {_AGAIN}"
            )

    def distances(self, features: Features) -> npt.NDArray[np.float64]:
        """float64 (genres,): Mahalanobis distances, divided by the root of the number of features."""
        differences = np.einsum("gf,gfi->gi", features - self.means, self.whitening)
        distances: npt.NDArray[np.float64] = np.sqrt(np.square(differences, dtype=np.float64).mean(axis=1))
        return distances

    def is_unfamiliar(self, windows: list[Features]) -> bool:
        """Whether a recording, of which there is at least one window, is further off than the threshold allows."""
        return bool(self.distances(np.mean(windows, axis=0)).min() > self.threshold)

    def save(self, folder: Path) -> str:
        """Write familiarity.safetensors into a model folder. Returns its SHA-256."""
        path = folder / FAMILIARITY
        save_tensors({"means": self.means, "whitening": self.whitening}, path)
        return sha256(path)

    @classmethod
    def load(cls, folder: Path, entry: FamiliarityEntry) -> Self:
        """Read the file that serving.json names. Raises StartupError when it is another one, or damaged."""
        path = folder / FAMILIARITY
        if not path.is_file() or sha256(path) != entry.sha256:
            raise StartupError(f"{FAMILIARITY} is missing or not the file that serving.json names. {_AGAIN}")
        try:
            arrays = load_file(path)
            means, whitening = arrays["means"], arrays["whitening"]
        except (SafetensorError, KeyError, OSError):
            raise StartupError(f"{FAMILIARITY} of the model repo is damaged. {_AGAIN}") from None
        if means.ndim != 2 or means.shape[1] < SPECTRUM_FEATURES or whitening.shape != (*means.shape, means.shape[1]):
            raise StartupError(f"{FAMILIARITY} of the model repo holds other shapes than it must. {_AGAIN}")
        if not np.isfinite(means).all() or not np.isfinite(whitening).all():
            raise StartupError(f"{FAMILIARITY} of the model repo holds numbers that are not finite. {_AGAIN}")
        return cls(means, whitening, entry.threshold)


def describe(waveform: Waveform, sampling_rate: int, embedding: npt.NDArray[np.float32] | None) -> Features:
    """The features of a window, whatever its level.

    Of each of 20 bands of the mel scale: the mean of its level over time, and the logarithms of how much that varies
    and of how much it changes from one frame of 64 ms to the next.
    """
    frame = round(_FRAME_S * sampling_rate)
    frames = normalise(waveform[: len(waveform) // frame * frame]).reshape(-1, frame)
    spectrum = np.fft.rfft(frames * np.hanning(frame).astype(np.float32), axis=1)
    power = (spectrum.real**2 + spectrum.imag**2) @ _filters(frame, sampling_rate)
    level = np.log(power + np.float32(_POWER_FLOOR))
    change = np.abs(np.diff(level, axis=0)).mean(axis=0)
    statistics = [level.mean(axis=0), np.log(level.std(axis=0) + _LEAST_CHANGE), np.log(change + _LEAST_CHANGE)]
    return np.concatenate([*statistics, [] if embedding is None else embedding]).astype(np.float32)


@cache
def _filters(frame: int, sampling_rate: int) -> npt.NDArray[np.float32]:
    """float32 (frequencies, bands): triangles of equal width on the mel scale, each of sum 1."""
    lowest, highest = (2595 * math.log10(1 + hertz / 700) for hertz in (_LOWEST_HZ, _HIGHEST_SHARE * sampling_rate))
    edges = 700 * (10 ** (np.linspace(lowest, highest, BANDS + 2) / 2595) - 1)
    hertz = np.fft.rfftfreq(frame, 1 / sampling_rate)[:, None]
    rising, falling = (hertz - edges[:-2]) / np.diff(edges)[:-1], (edges[2:] - hertz) / np.diff(edges)[1:]
    filters = np.minimum(rising, falling).clip(min=0)
    # A band between two frequencies of a low rate has none.
    sums = filters.sum(axis=0)
    normalised: npt.NDArray[np.float32] = (filters / np.where(sums > 0, sums, 1)).astype(np.float32)
    return normalised
