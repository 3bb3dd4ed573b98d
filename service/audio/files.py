"""Audio files that are open: read as mono float32 at the model's rate, from any second on."""

import errno
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Self

import av
import numpy as np
import soundfile
import soxr

from service.audio.downmix import Channels, Waveform, mix
from service.errors import UndecodableAudio

# Read past the end of a window and cut off after resampling, so that the resampler's edge lies outside the window.
RESAMPLER_MARGIN_S = 0.05
# 120 dB over full scale is no recording; numbers beyond would overflow the model's normalisation.
_MAX_AMPLITUDE = 1e6
# A sample so close to full scale, or to the loudest one, stands at the end of a scale.
_FULL_SCALE = 0.999
_NEARLY_FULL = 0.99


@dataclass(frozen=True)
class Block:
    """Decoded samples: float32 (channels, samples), their rate in Hz, and the channels' places as FFmpeg names them,
    such as ("FL", "FR"); empty where the file does not say."""

    channels: Channels
    sampling_rate: int
    places: tuple[str, ...] = ()


@dataclass(frozen=True)
class Excerpt:
    """A stretch of a recording.

    waveform: float32 (samples,), mono, at the asked rate. clipped: the share of samples that stand at the end of the
    scale beside others that do, over all channels. antiphase: the channels cancel each other (`downmix.mix`).
    """

    waveform: Waveform
    clipped: float = 0.0
    antiphase: bool = False


class AudioFile(ABC):
    """An open audio file. Made by `open_audio`; close it, or use it in a `with` statement.

    sampling_rate: Hz. duration_s: seconds that can be heard. damaged: something was found missing, or could not be
    decoded, so far.
    """

    sampling_rate: int
    channels: int
    duration_s: float
    damaged: bool = False

    def read(self, start_s: float, duration_s: float, sampling_rate: int) -> Excerpt:
        """The samples from `start_s` on, as mono, resampled (soxr HQ) to `sampling_rate` Hz.

        The excerpt has at most `duration_s` seconds, less where the file ends before.
        Raises UndecodableAudio when nothing can be decoded, or samples are not finite or beyond all sense.
        """
        with damage_explained():
            blocks = _take(self.blocks(start_s), duration_s + RESAMPLER_MARGIN_S)
            runs = [_Run([*run], *kind) for kind, run in groupby(blocks, key=_kind)]
        parts = [run.excerpt(sampling_rate) for run in runs]
        waveform = np.concatenate([part.waveform for part in parts]) if parts else np.empty(0, np.float32)
        return Excerpt(
            waveform[: round(duration_s * sampling_rate)],
            clipped=max((part.clipped for part in parts), default=0.0),
            antiphase=any(part.antiphase for part in parts),
        )

    def find_end(self, start_s: float) -> float:
        """Decode from `start_s` on to where that ends, in seconds. Raises UndecodableAudio."""
        with damage_explained():
            seconds = (block.channels.shape[1] / block.sampling_rate for block in self.blocks(start_s))
            return sum(seconds, start_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def blocks(self, start_s: float) -> Iterator[Block]:
        """The recording from `start_s` to its end. Raises UndecodableAudio."""

    @abstractmethod
    def close(self) -> None:
        """Close the decoder; the file itself stays open."""


def _kind(block: Block) -> tuple[int, tuple[str, ...], int]:
    return block.sampling_rate, block.places, len(block.channels)


class _Run:
    """Blocks of the same kind."""

    def __init__(self, blocks: list[Block], sampling_rate: int, places: tuple[str, ...], _: int) -> None:
        parts = [block.channels for block in blocks]
        # One channel after the other, whatever the decoder's order: all that follows reads a channel from end to end.
        channels = np.empty((len(parts[0]), sum(part.shape[1] for part in parts)), np.float32)
        self._channels: Channels = np.concatenate(parts, axis=1, out=channels)
        self._sampling_rate = sampling_rate
        self._places = places

    def excerpt(self, sampling_rate: int) -> Excerpt:
        # Without a copy of all channels, as `np.abs` makes one: decoders have little memory.
        loudest = float(np.maximum(self._channels.max(initial=0.0), -self._channels.min(initial=0.0)))
        if not loudest < _MAX_AMPLITUDE:
            raise UndecodableAudio("The audio holds samples that are no sound: NaN, infinite, huge. Export it again.")
        mixed = mix(self._channels, self._places, self._sampling_rate)
        waveform = mixed.waveform
        if self._sampling_rate != sampling_rate:
            waveform = soxr.resample(waveform, self._sampling_rate, sampling_rate, quality="HQ")
        return Excerpt(waveform, _clipped(self._channels, loudest), mixed.antiphase)


def _clipped(channels: Channels, loudest: float) -> float:
    """The share of samples at the end of the scale whose neighbour is there too."""
    if not loudest or channels.shape[1] < 2:
        return 0.0
    return float(np.mean([_clipped_share(np.abs(channel), loudest) for channel in channels]))


def _clipped_share(magnitudes: Waveform, loudest: float) -> float:
    at_end = magnitudes >= _FULL_SCALE * loudest
    count = np.count_nonzero(at_end)
    # A clean tone is often at its peak, but still more often a little below.
    is_tone = np.count_nonzero(magnitudes >= _NEARLY_FULL * loudest) - count > count
    return 0.0 if is_tone else float((at_end[1:] & at_end[:-1]).mean())


def _take(blocks: Iterator[Block], duration_s: float) -> Iterator[Block]:
    for block in blocks:
        samples = max(0, int(np.ceil(duration_s * block.sampling_rate)))
        yield Block(block.channels[:, :samples], block.sampling_rate, block.places)
        duration_s -= block.channels.shape[1] / block.sampling_rate
        if duration_s <= 0:
            return


@contextmanager
def damage_explained() -> Iterator[None]:
    """Raise what the libraries say of a broken file as UndecodableAudio."""
    try:
        yield
    except (soundfile.SoundFileError, av.FFmpegError, ValueError, OSError) as error:
        # A seek to before the start of the file, where a container points: EINVAL on a disk, ValueError in memory.
        if isinstance(error, OSError) and not isinstance(error, av.FFmpegError) and error.errno != errno.EINVAL:
            raise
        raise UndecodableAudio("The audio is damaged and cannot be decoded. Export it again.") from error
