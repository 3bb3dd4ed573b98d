"""Geometry of a feature encoder that computes a window in tiles, and the statistics that its first layer needs first.

The feature encoder of HuBERT, wav2vec2 and their relatives is a row of convolutions without padding: a frame hears
`field` samples, the next one the same `stride` samples later. A tile of some frames therefore needs only its own
samples, and everything between the first and the last convolution stays in the cache of one core.

One thing stands against this: the group norm behind the first convolution takes the mean and variance of each channel
over the whole window. The convolution is linear, however. With the patches p of `kernel` samples that it sees, a
channel of weights w and bias b has the mean w . mean(p) + b and the variance w' cov(p) w: both follow from the window.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
from safetensors import safe_open

from service.audio import Waveform
from service.model.tensors import save_tensors

MAX_TILE_FRAMES = 60
"""Maximum number of frames of a tile. Shorter tiles compute more samples twice, longer ones leave the caches: with 512
channels, 25 to 100 frames are equally fast, within the noise (`python -m tests.benchmarks.tiles`)."""

Features = npt.NDArray[np.float32]
"""float32 (1, channels, frames): output of the feature encoder for one window."""

Scale = npt.NDArray[np.float32]
"""float32 (1, channels, 1)."""


@dataclass(frozen=True)
class FirstLayer:
    """The first convolution and its group norm, a group for each channel.

    weight: float64 (channels, kernel). bias: float64 (channels,), of the convolution. gamma, beta: float64 (channels,),
    of the norm. eps: added to the variance. stride: samples between two patches.
    """

    weight: npt.NDArray[np.float64]
    bias: npt.NDArray[np.float64]
    gamma: npt.NDArray[np.float64]
    beta: npt.NDArray[np.float64]
    eps: float
    stride: int

    def normalisation(self, window: Waveform) -> tuple[Scale, Scale]:
        """Scale and shift of each channel that make its output of this window what the group norm makes of it.

        In float64, as the variance of a channel may be a small difference of large numbers.
        """
        mean, covariance = _patch_moments(window, self.weight.shape[1], self.stride)
        variance = np.einsum("ci,ij,cj->c", self.weight, covariance, self.weight).clip(min=0)
        scale = self.gamma / np.sqrt(variance + self.eps)
        shift = self.beta - (self.weight @ mean + self.bias) * scale
        return scale.astype(np.float32)[None, :, None], shift.astype(np.float32)[None, :, None]


@dataclass(frozen=True)
class Tiling:
    """How a feature encoder is cut.

    stride: samples between two frames. field: samples that a frame hears. channels: of its output.
    first_layer: None for encoders whose norms look at single frames, which need no statistics.
    """

    stride: int
    field: int
    channels: int
    first_layer: FirstLayer | None

    def frames(self, samples: int) -> int:
        """Frames of a window of so many samples."""
        return (samples - self.field) // self.stride + 1

    def samples(self, frames: int) -> int:
        """Samples that so many frames hear."""
        return self.stride * (frames - 1) + self.field

    def repetition(self, window: Waveform) -> int:
        """The number of frames after which those of a window repeat themselves, as a short recording does that was
        repeated to fill the window; all of its frames where they never do."""
        steps = [window[start : start + self.stride].tobytes() for start in range(0, len(window), self.stride)]
        candidates = (count for count in range(1, len(steps)) if steps[count] == steps[0])
        repeated = (count for count in candidates if steps[count:] == steps[:-count])
        return min(next(repeated, len(steps)), self.frames(len(window)))

    def tiles(self, window: Waveform, tile_frames: int) -> Iterator[tuple[int, Waveform]]:
        """Index of the first frame and samples of each tile; behind the end of the window come zeros."""
        samples = self.samples(tile_frames)
        for first in range(0, self.frames(len(window)), tile_frames):
            tile = window[first * self.stride : first * self.stride + samples]
            yield first, np.pad(tile, (0, samples - len(tile)))

    def save(self, path: Path) -> None:
        """Write the file that travels beside the graphs."""
        numbers = {"stride": self.stride, "field": self.field, "channels": self.channels}
        arrays: dict[str, npt.NDArray[np.float64]] = {}
        if layer := self.first_layer:
            numbers |= {"first_stride": layer.stride}
            arrays = {"weight": layer.weight, "bias": layer.bias, "gamma": layer.gamma, "beta": layer.beta}
            arrays["eps"] = np.asarray([layer.eps])
        # One key: safetensors writes several in another order each time, and the same model shall give the same file.
        save_tensors(arrays, path, metadata={"geometry": json.dumps(numbers)})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file that `save` wrote. Raises KeyError, ValueError, OSError or SafetensorError for any other."""
        with safe_open(path, "numpy") as file:
            numbers = {name: int(number) for name, number in json.loads((file.metadata() or {})["geometry"]).items()}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dictionary
        first_layer = None
        if arrays:
            eps = float(arrays.pop("eps")[0])
            first_layer = FirstLayer(**arrays, eps=eps, stride=numbers["first_stride"])
        return cls(numbers["stride"], numbers["field"], numbers["channels"], first_layer)


def _patch_moments(
    window: Waveform, kernel: int, stride: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean (kernel,) and covariance (kernel, kernel) of the patches that a convolution sees.

    Sample i of all patches is a run of one phase of the window, so that no patch is copied: seven times as fast as the
    product of a matrix of patches.
    """
    patches = (len(window) - kernel) // stride + 1
    length = patches + (kernel - 1) // stride
    padded = np.zeros(length * stride)
    padded[: len(window)] = window[: len(padded)]
    phases = np.ascontiguousarray(padded.reshape(length, stride).T)
    columns = [phases[index % stride, index // stride :][:patches] for index in range(kernel)]
    mean = np.asarray([column.mean() for column in columns])
    products = np.zeros((kernel, kernel))
    for row in range(kernel):
        for column in range(row, kernel):
            products[row, column] = products[column, row] = columns[row] @ columns[column]
    return mean, products / patches - np.outer(mean, mean)


def tile_frames(frames: int, streams: int, most: int = MAX_TILE_FRAMES) -> int:
    """Frames of a tile: as many as `most` allows such that each stream computes the same number of tiles."""
    rounds = -(-frames // (streams * most))
    return -(-frames // (streams * rounds))
