"""Windows: which seconds of a recording the model hears, and how each is read."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Self

import numpy as np
import numpy.typing as npt

from service.audio.downmix import Waveform
from service.audio.files import RESAMPLER_MARGIN_S, AudioFile
from service.audio.opening import open_audio
from service.audio.quality import AudioWarning, Quality
from service.errors import AudioTooShort, SilentAudio

MIN_DURATION_S = 0.5
"""Less than a beat of most music: no genre can be told from it, so it is refused rather than guessed."""

SILENCE_STD = 1e-4
"""A standard deviation of 1e-4 is -80 dBFS: under the noise of any microphone or tape, and what a DC offset leaves."""

DEFAULT_MAX_WINDOWS = 3
"""Windows of a recording that are analysed unless told otherwise: in serving, and in every figure of training."""

TAIL_TOLERANCE = 0.1
"""The part of a window that a recording may be longer than whole windows without earning one more: GTZAN's "30 s"
clips run to 30.6 s, and must cost one window."""

_FRAME = 320  # Samples from a frame to the next: the strides 5 * 2^6 of HuBERT, wav2vec2 and their relatives.
# A window that ends so much before it should has hit the end of what can be decoded.
_MISSING_S = 0.01


@dataclass(frozen=True)
class WindowSpec:
    """The windows that a model takes: their rate in Hz and their length in seconds."""

    sampling_rate: int
    length_s: float

    @property
    def samples(self) -> int:
        """Samples of one window."""
        return round(self.length_s * self.sampling_rate)


@dataclass(frozen=True)
class Window:
    """A window of a recording, the input of one pass of the model.

    start_s, end_s: where in the recording, in seconds; a short recording ends before the window does.
    waveform: float32 (window samples,), filled to the model's length.
    """

    start_s: float
    end_s: float
    waveform: Waveform


@dataclass(frozen=True)
class Recording:
    """The windows of one audio file.

    windows: float32 (n, window samples), evenly spread over the recording, n >= 1.
    duration_s: length of the whole recording in seconds.
    analysed_s: how many of those seconds lie in a window. warnings: reasons to trust an answer less.
    """

    windows: npt.NDArray[np.float32]
    duration_s: float
    analysed_s: float
    warnings: list[AudioWarning]


@dataclass
class ReadPosition:
    """Read position in a recording: all that reading the next window needs to know of the earlier ones.

    duration_s: length of the recording in seconds, as its packets say until decoding proves it shorter.
    analysed_s: how many seconds were audible in a window so far. end_s: where the last sample was found.
    quality: figures of what was read.
    """

    duration_s: float
    analysed_s: float = 0.0
    end_s: float = 0.0
    heard_silence: bool = False
    quality: Quality = field(default_factory=Quality)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """The position that `dataclasses.asdict` made `values` of. Raises TypeError and KeyError for others."""
        return cls(**values | {"quality": Quality(**values["quality"])})

    def require_sound(self) -> None:
        """After the last window. Raises AudioTooShort or SilentAudio when no window was audible."""
        if self.analysed_s:
            return
        if self.heard_silence:
            raise SilentAudio("The audio is silent all through. Check the recording level or the microphone.")
        raise AudioTooShort(f"The audio has {self.duration_s:.2f} s. Send at least {MIN_DURATION_S} s.")


class WindowReader:
    """Reads the windows of a recording one by one, so that memory does not grow with its length.

    spec: of the model's windows. progress: of another reader of the same recording, to go on where it stopped.
    """

    def __init__(self, audio: AudioFile, spec: WindowSpec, progress: ReadPosition | None = None) -> None:
        self.progress = progress or ReadPosition(audio.duration_s)
        self._audio = audio
        self._spec = spec

    def starts(self, max_windows: int) -> Iterator[float]:
        """Where to read: the starts of at most `max_windows` windows, placed anew if the recording turns out shorter
        than it seemed."""
        placement = Placement.evenly(self.progress, self._spec, max_windows)
        while (start_s := placement.next(self.progress)) is not None:
            yield start_s

    def read(self, start_s: float) -> Window | None:
        """The window from `start_s` on, repeated to full length where the recording is shorter; None where there is
        nothing to hear. Start at the first window, and go forward."""
        progress, spec = self.progress, self._spec
        if start_s > 0 and start_s >= progress.duration_s:
            return None
        excerpt = self._audio.read(start_s, spec.length_s, spec.sampling_rate)
        waveform = excerpt.waveform
        progress.quality.add(excerpt, spec.sampling_rate)
        progress.quality.damaged |= self._audio.damaged
        end_s = start_s + len(waveform) / spec.sampling_rate
        if len(waveform):
            progress.end_s = end_s
        if end_s < min(start_s + spec.length_s, progress.duration_s) - _MISSING_S:
            # The packets promised more than can be decoded.
            progress.quality.damaged = True
            progress.duration_s = progress.end_s = self._audio.find_end(progress.end_s)
        if len(waveform) < MIN_DURATION_S * spec.sampling_rate:
            return None
        if not _is_audible(waveform, spec.sampling_rate):
            progress.heard_silence = True
            return None
        progress.analysed_s = min(progress.analysed_s + end_s - start_s, progress.duration_s)
        return Window(start_s, end_s, pad_to_length(waveform, spec.samples))


def read_recording(file: BinaryIO, spec: WindowSpec, *, max_windows: int) -> Recording:
    """All windows of an audio file at once: evenly spread, silent ones left out.

    Raises AudioTooShort, SilentAudio and what `open_audio` raises.
    """
    with open_audio(file) as audio:
        reader = WindowReader(audio, spec)
        windows = [window for start_s in reader.starts(max_windows) if (window := reader.read(start_s))]
        reader.progress.require_sound()
    position = reader.progress
    return Recording(
        np.stack([window.waveform for window in windows]),
        duration_s=position.duration_s,
        analysed_s=position.analysed_s,
        warnings=position.quality.warnings(position.duration_s, spec.length_s),
    )


class Placement:
    """Where the windows of a recording start; placed anew in the rest of one that turns out shorter when it is read.

    starts: in seconds, rising. position: of a recording that was just opened.
    """

    def __init__(self, starts: list[float], position: ReadPosition, spec: WindowSpec) -> None:
        self._starts = starts
        self._duration_s = position.duration_s
        self._spec = spec
        self._read = 0

    @classmethod
    def evenly(cls, position: ReadPosition, spec: WindowSpec, max_windows: int) -> Self:
        """At most `max_windows` windows of a recording that was just opened, evenly spread."""
        return cls(window_starts(position.duration_s, spec.length_s, max_windows), position, spec)

    @property
    def remaining(self) -> int:
        """Windows that are left to read."""
        return len(self._starts) - self._read

    @property
    def total(self) -> int:
        """Windows that are read in all."""
        return len(self._starts)

    def next(self, position: ReadPosition) -> float | None:
        """The start of the next window in seconds, None after the last. position: after the window before."""
        if self._read and position.duration_s < self._duration_s:
            self._place_anew(position.duration_s)
        if not self.remaining:
            return None
        self._read += 1
        return self._starts[self._read - 1]

    def _place_anew(self, duration_s: float) -> None:
        """Spread the windows that are left, and the last one if it found nothing, between those that were read and the
        true end."""
        self._duration_s = duration_s
        window_s, found_something = self._spec.length_s, self._starts[self._read - 1] < duration_s - MIN_DURATION_S
        left, self._starts = self.remaining, self._starts[: self._read]
        if found_something:
            return
        self._read -= 1
        first_s = self._starts[self._read - 1] + window_s if self._read else 0.0
        rest = window_starts(duration_s - first_s, window_s, left + 1)
        self._starts[self._read :] = [first_s + start_s for start_s in rest if duration_s - first_s >= MIN_DURATION_S]


def window_starts(duration_s: float, window_s: float, max_windows: int) -> list[float]:
    """The starts of a recording's windows in seconds: evenly spread, at most `max_windows`, at least one."""
    count = min(max_windows, max(1, math.ceil(duration_s / window_s - TAIL_TOLERANCE)))
    return np.linspace(0.0, max(0.0, duration_s - window_s), count).tolist() if count > 1 else [0.0]


def timeline_starts(duration_s: float, window_s: float, max_analysed_s: float) -> list[float]:
    """The starts of a timeline's windows in seconds: end to end from the beginning, up to `max_analysed_s`. A rest at
    the end gets a window of its own unless it is under a tenth of one."""
    count = max(1, math.ceil(min(duration_s, max_analysed_s) / window_s - TAIL_TOLERANCE))
    return [index * window_s for index in range(count)]


def pad_to_length(waveform: Waveform, samples: int) -> Waveform:
    """The waveform cut, or repeated from its start, to exactly `samples` samples.

    Repetition rather than zeros: DistilHuBERT's first layer normalises over time, so silence would change the scores
    of the music beside it. Whole frames are repeated, so that the feature encoder computes them once (`Tiling`).
    """
    if _FRAME <= len(waveform) < samples:
        waveform = waveform[: len(waveform) // _FRAME * _FRAME]
    return np.resize(waveform, samples)


def normalise(waveform: Waveform) -> Waveform:
    """Zero mean and unit variance, as transformers' Wav2Vec2FeatureExtractor makes it (`zero_mean_unit_var_norm`)."""
    normalised: Waveform = (waveform - waveform.mean()) / np.sqrt(waveform.var() + 1e-7)
    return normalised


def _is_audible(waveform: Waveform, sampling_rate: int) -> bool:
    # Where a constant begins and ends, the resampler makes ripples.
    edge = round(RESAMPLER_MARGIN_S * sampling_rate)
    return float(waveform[edge:-edge].std()) > SILENCE_STD
