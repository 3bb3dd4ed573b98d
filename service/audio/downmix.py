"""Downmix: the channels of a recording become one, so that none of them cancels another."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Waveform = npt.NDArray[np.float32]
"""float32 (samples,), mono, full scale at 1.0."""

Channels = npt.NDArray[np.float32]
"""float32 (channels, samples)."""

# ITU-R BS.775-4, annex 4: the centre is in both fronts 3 dB lower, the surrounds 3 dB lower, the LFE channel in none.
_WEIGHTS = {"FL": 1.0, "FR": 1.0, "FC": np.sqrt(2), "LFE": 0.0}
_SURROUND_WEIGHT = np.sqrt(0.5)
# What players take 6 and 8 channels for that name no places.
_DEFAULT_PLACES = {
    6: ("FL", "FR", "FC", "LFE", "BL", "BR"),
    8: ("FL", "FR", "FC", "LFE", "BL", "BR", "SL", "SR"),
}

_BLOCK_S = 0.1
# A sum whose power is under half of what unrelated channels would give, 3 dB, has lost more than it adds.
_CANCELLED = 0.5
# Energy that may lie in cancelled blocks before the mix is given up: wide stereo has a few of them.
_MAX_CANCELLED_SHARE = 0.1
# Amplitude, relative to the loudest channel, from which on a channel counts as equally loud: 1 dB less.
_AS_LOUD = 0.8


@dataclass(frozen=True)
class Mix:
    """A mono waveform. antiphase: its channels cancel each other, so that it is the loudest of them alone."""

    waveform: Waveform
    antiphase: bool


def mix(channels: Channels, places: tuple[str, ...], sampling_rate: int) -> Mix:
    """The mono mix of a stretch of audio.

    channels: float32 (channels, samples), with at least one channel. places: FFmpeg's names of the channels' places,
    such as FL and FR, as far as they are known.

    One or two channels, and channels without known places, give their mean; surround sound the standard downmix,
    scaled to weights of sum 1. A mix loses what stands in its channels with opposite signs: an inverted cable, a
    "wide" effect. So its power is compared, in blocks of 0.1 s, with what channels without correlation would give
    (the sum of their powers, as in Adami, Habets and Herre, Down-mixing using coherence suppression, 2014, section 2).
    Where blocks with over a tenth of the energy lose more than 3 dB, the loudest channel is taken instead: a channel is
    a recording of everything, and the difference of two would lose what is common to them.
    """
    if len(channels) == 1:
        return Mix(channels[0], antiphase=False)
    weights = _weights(len(channels), places)
    mean = channels.mean(axis=0) if np.ptp(weights) == 0 else weights @ channels
    powers = _block_powers(channels, sampling_rate)
    unrelated = (weights**2) @ powers
    cancelled = _block_powers(mean[None], sampling_rate)[0] < _CANCELLED * unrelated
    energy = powers.sum(axis=0)
    weighted_energy = (weights**2) @ powers.sum(axis=1)
    if weighted_energy > 0 and energy[cancelled].sum() <= _MAX_CANCELLED_SHARE * energy.sum():
        return Mix(mean, antiphase=False)
    if not energy.sum():
        return Mix(mean, antiphase=False)
    loudness = powers.sum(axis=1) * (weights**2 if weighted_energy > 0 else 1)
    # The first of those about as loud, as a model may hear a difference when the sign of a sound is inverted.
    loudest = int((loudness >= _AS_LOUD * loudness.max()).argmax())
    return Mix(np.ascontiguousarray(channels[loudest]), antiphase=bool(weighted_energy > 0))


def _weights(count: int, places: tuple[str, ...]) -> npt.NDArray[np.float32]:
    if "FL" not in places:
        places = _DEFAULT_PLACES.get(count, ())
    if count <= 2 or not {"FL", "FR"} <= set(places):
        return np.full(count, 1 / count, np.float32)
    weights = np.asarray([_WEIGHTS.get(place, _SURROUND_WEIGHT) for place in places], np.float32)
    return np.asarray(weights / weights.sum(), np.float32)


def _block_powers(channels: Channels, sampling_rate: int) -> npt.NDArray[np.float32]:
    """float32 (channels, blocks): the power of each block of `_BLOCK_S`, without a constant, which is no sound."""
    block = max(1, min(round(_BLOCK_S * sampling_rate), channels.shape[1]))
    count = channels.shape[1] // block
    # One channel at a time, as `var` makes a copy.
    return np.stack([channel[: count * block].reshape(count, block).var(axis=1) for channel in channels])
