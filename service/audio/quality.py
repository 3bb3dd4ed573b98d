"""Whether a recording is fit to be judged: figures of its windows, and the warnings that follow from them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np

from service.audio.downmix import Waveform
from service.audio.files import Excerpt

WarningCode = Literal["clipped", "quiet", "narrow-band", "mostly-silent", "antiphase", "damaged", "short", "unfamiliar"]

WARNING_CODES: tuple[WarningCode, ...] = get_args(WarningCode)

_BLOCK_S = 0.1
# Blocks so far under the loudest one of a window are pauses; EBU R 128 gates speech and music at 10 LU for loudness.
_PAUSE_DB = 45.0
_MAX_PAUSES = 0.5
# 22 dB under the level of EBU R 128, -23 LUFS. At 16 bits, 50 dB are left to the noise of the recorder.
_QUIET_DBFS = -45.0
# Clean synthetic music has under 1 sample in 10,000 that stands at the end of the scale beside another.
_MAX_CLIPPED = 0.002
# From 2-3 kHz to 5-7 kHz popular music falls by 5 to 15 dB (Pestana et al., Spectral Characteristics of Popular
# Commercial Recordings 1950-2010, AES 2013), synthetic music by at most 25, a telephone's band (ITU-T G.712) by 37.
_LOWER_HZ, _UPPER_HZ = (2_000, 3_000), (5_000, 7_000)
_MAX_FALL_DB = 30.0
# A whole band so far under everything else is empty: the recording was made at 8 kHz, or is a tone.
_EMPTY_DB = -75.0
_FFT_SAMPLES = 1024
_MIN_WINDOW_SHARE = 0.5


class AudioWarning(NamedTuple):
    """A reason to trust the answer about a recording less."""

    code: WarningCode
    detail: str


@dataclass
class Quality:
    """Figures of what was read of a recording so far, each as seconds of audio, but for power.

    power: mean square times seconds, full scale at 1. damaged: packets were skipped, or the file ends early.
    """

    seconds: float = 0.0
    power: float = 0.0
    silent: float = 0.0
    clipped: float = 0.0
    narrow: float = 0.0
    antiphase: float = 0.0
    damaged: bool = False

    def add(self, excerpt: Excerpt, sampling_rate: int) -> None:
        """Count one more stretch of the recording, of at least a block of 0.1 s."""
        waveform = excerpt.waveform
        block = max(1, round(_BLOCK_S * sampling_rate))
        if len(waveform) < block:
            return
        blocks = waveform[: len(waveform) // block * block].reshape(-1, block)
        powers = blocks.var(axis=1)
        seconds = len(waveform) / sampling_rate
        self.seconds += seconds
        self.power += float(powers.mean()) * seconds
        self.silent += float((powers <= powers.max() * 10 ** (-_PAUSE_DB / 10)).mean()) * seconds
        self.clipped += excerpt.clipped * seconds
        self.narrow += _is_narrow(waveform, sampling_rate) * seconds
        self.antiphase += excerpt.antiphase * seconds

    def warnings(self, duration_s: float, window_s: float) -> list[AudioWarning]:
        """What speaks against judging the recording: nothing, mostly.

        duration_s: of the recording. window_s: of one window of the model.
        """
        return list(self._warnings(duration_s, window_s)) if self.seconds else []

    def _warnings(self, duration_s: float, window_s: float) -> Iterator[AudioWarning]:
        level_dbfs = 10 * np.log10(self.power / self.seconds + 1e-20)
        if self.clipped > _MAX_CLIPPED * self.seconds:
            share = 100 * self.clipped / self.seconds
            yield AudioWarning(
                "clipped", f"{share:.1f} % of the samples stand at the loudest value. Record at a lower level."
            )
        if level_dbfs < _QUIET_DBFS:
            yield AudioWarning("quiet", f"The level is {level_dbfs:.0f} dBFS, so noise may be most of what is heard.")
        if self.narrow > self.seconds / 2:
            yield AudioWarning("narrow-band", "Hardly anything is above 4 kHz, as in a phone call.")
        if self.silent > _MAX_PAUSES * self.seconds:
            share = 100 * self.silent / self.seconds
            yield AudioWarning("mostly-silent", f"{share:.0f} % of what was listened to is silence.")
        if self.antiphase:
            yield AudioWarning(
                "antiphase", "The channels cancel each other, as with a cable wired wrongly. One of them was heard."
            )
        if self.damaged:
            yield AudioWarning("damaged", "Parts of the file are missing or cannot be decoded, and were left out.")
        if duration_s < _MIN_WINDOW_SHARE * window_s:
            yield AudioWarning("short", f"{duration_s:.1f} s are little to judge by: the model hears {window_s:g} s.")


def _is_narrow(waveform: Waveform, sampling_rate: int) -> bool:
    """Whether the band above 4 kHz is missing; False for what is too short, or a model that does not hear it."""
    if len(waveform) < _FFT_SAMPLES or sampling_rate < 2 * _UPPER_HZ[1]:
        return False
    blocks = waveform[: len(waveform) // _FFT_SAMPLES * _FFT_SAMPLES].reshape(-1, _FFT_SAMPLES)
    spectrum = (np.abs(np.fft.rfft(blocks * np.hanning(_FFT_SAMPLES).astype(np.float32), axis=1)) ** 2).mean(axis=0)
    frequencies = np.fft.rfftfreq(_FFT_SAMPLES, 1 / sampling_rate)
    lower, upper = (
        spectrum[(low <= frequencies) & (frequencies < high)].mean() for low, high in (_LOWER_HZ, _UPPER_HZ)
    )
    return bool(upper < 10 ** (-_MAX_FALL_DB / 10) * lower or upper < 10 ** (_EMPTY_DB / 10) * spectrum.sum())
