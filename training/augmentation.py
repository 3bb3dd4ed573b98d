"""Training clips as they may be uploaded: another level, another sound, noise, a codec; drawn anew each time."""

from collections.abc import Collection
from typing import Literal

import numpy as np
import torch

from service.audio import Waveform
from training import distortions

Kind = Literal["gain", "noise", "eq", "codec"]

_PROBABILITY = 0.5
_MAX_GAIN_DB = 6.0
_SNR_DB = (10.0, 40.0)


class Augmentation:
    """Distorts a training clip at random, and keeps its length.

    eq, noise and codec (half mp3 at 64 kb/s, half the telephone band) come with a probability of one half each, and
    gain of up to 6 dB up or down always: in this order, as they come to a recording.

    kinds: those to apply.
    """

    def __init__(self, kinds: Collection[Kind]) -> None:
        self._kinds = frozenset(kinds)

    def __call__(self, waveform: Waveform, sampling_rate: int) -> Waveform:
        """waveform: float32 (samples,), mono, at sampling_rate Hz; so is the result."""
        # Seeded by torch's generator, which is seeded anew for each clip and epoch.
        rng = np.random.default_rng(int(torch.randint(2**63 - 1, ())))
        if "eq" in self._kinds and rng.random() < _PROBABILITY:
            waveform = distortions.equalise(waveform, sampling_rate, rng)
        if "noise" in self._kinds and rng.random() < _PROBABILITY:
            waveform = distortions.noise(waveform, rng.uniform(*_SNR_DB), rng)
        if "gain" in self._kinds:
            waveform = distortions.gain(waveform, rng.uniform(-_MAX_GAIN_DB, _MAX_GAIN_DB))
        if "codec" in self._kinds and rng.random() < _PROBABILITY:
            codec = distortions.mp3 if rng.random() < 0.5 else distortions.phone_band
            waveform = codec(waveform, sampling_rate)
        return waveform
