"""The audio front end: an audio file becomes mono float32 waveforms at the model's rate, and windows of its length.

Training and serving share this module and nothing else, so that a model is trained on the samples it is served.
"""

import errno
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import BinaryIO, Self

import av
import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from service.errors import AudioError, AudioTooShort, SilentAudio, UndecodableAudio, UnsupportedMedia

__all__ = [
    "AudioError",
    "AudioFile",
    "Progress",
    "Recording",
    "Waveform",
    "Window",
    "WindowReader",
    "fill",
    "normalise",
    "open_audio",
    "read_recording",
    "timeline_starts",
    "window_starts",
]

Waveform = npt.NDArray[np.float32]
"""float32 (samples,), mono, full scale at 1.0."""

MIN_DURATION_S = 0.5
"""Less than a beat of most music: no genre can be told from it, so it is refused rather than guessed."""

SILENCE = 1e-4
"""A standard deviation of 1e-4 is -80 dBFS: under the noise of any microphone or tape, and what a DC offset leaves."""

SLACK = 0.1
"""The part of a window that a recording may be longer than whole windows without earning one more: GTZAN's "30 s"
clips run to 30.6 s, and must cost one window."""

_SAMPLING_RATES = range(1_000, 768_001)
_MAX_CHANNELS = 64
_BLOCK_FRAMES = 1 << 14
# Read past the end of a window and cut off after resampling, so that the resampler's edge lies outside the window.
_RESAMPLER_MARGIN_S = 0.05
# A decoder that starts in the middle needs a few packets before its output is right: AAC one, WMA two, Opus 80 ms.
_PREROLL_S = 0.2
# In a row; what comes after so many is not the recording any more. Millions fit into a file, and each costs time.
_MOST_DAMAGED_PACKETS = 1_000
# 120 dB over full scale is no recording; numbers beyond would overflow the model's normalisation.
_LOUDEST = 1e6

_FORMATS = "mp3, m4a, aac, wav, flac, ogg, opus, webm, wma, aiff or au"

# FFmpeg also "demuxes" playlists, images and scripts that name other files. Only these containers are opened, and
# no protocol is allowed, so that an upload cannot make the service read anything but itself.
_AV_OPTIONS = {
    "format_whitelist": "aac,ac3,aiff,amr,asf,au,caf,eac3,flac,flv,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mp3,mpegts,"
    "ogg,wav,wv",
    "protocol_whitelist": "",
    # Bytes that are looked at to find the tracks. FFmpeg keeps all their packets, of which a crafted file has one in 7.
    "probesize": "1000000",
}

# What libsndfile is given. It reads two dozen formats more, mostly old and seldom tested.
_SOUNDFILE_SIGNATURES = (
    (8, b"WAVE"),
    (8, b"AIF"),
    (0, b".snd"),
    (0, b"fLaC"),
    (0, b"OggS"),
    (0, b"ID3"),
    (0, b"\xff"),
)

# How files of the known formats begin, as (offset, bytes): one that begins so and does not open is damaged, such as
# an m4a cut off before its index. FFmpeg gives the same error for it as for a text.
_SIGNATURES = (
    (4, b"ftyp"),
    (0, b"OggS"),
    (0, b"fLaC"),
    (0, b"RIFF"),
    (0, b"FORM"),
    (0, b".snd"),
    (0, b"ID3"),
    (0, b"\x1aE\xdf\xa3"),
    (0, b"0&\xb2u\x8ef\xcf\x11"),
)


@dataclass(frozen=True)
class Window:
    """What the model hears at once.

    start_s, end_s: where in the recording, in seconds; a short recording ends before the window does.
    waveform: float32 (window samples,), filled to the model's length.
    """

    start_s: float
    end_s: float
    waveform: Waveform


@dataclass(frozen=True)
class Recording:
    """What the model is shown of one audio file.

    windows: float32 (n, window samples), evenly spread over the recording, n >= 1.
    duration_s: length of the whole recording in seconds.
    analysed_s: how many of those seconds lie in a window.
    """

    windows: npt.NDArray[np.float32]
    duration_s: float
    analysed_s: float


class AudioFile(ABC):
    """An open audio file, read as mono. Made by `open_audio`; close it, or use it in a `with` statement."""

    sampling_rate: int
    channels: int
    duration_s: float

    def read(self, start_s: float, duration_s: float, sampling_rate: int) -> Waveform:
        """The samples from `start_s` on, resampled (soxr HQ) to `sampling_rate` Hz.

        Returns float32 (samples,) with at most `duration_s` seconds, less where the file ends before.
        Raises UndecodableAudio when nothing can be decoded, or samples are not finite or beyond all sense.
        """
        wanted = math.ceil((duration_s + _RESAMPLER_MARGIN_S) * self.sampling_rate)
        with _damage_explained():
            blocks = list(_take(self._blocks(start_s), wanted))
        waveform = np.concatenate(blocks) if blocks else np.empty(0, np.float32)
        if not (np.abs(waveform) < _LOUDEST).all():
            raise UndecodableAudio("The audio holds samples that are no sound: NaN, infinite, huge. Export it again.")
        if self.sampling_rate != sampling_rate:
            waveform = soxr.resample(waveform, self.sampling_rate, sampling_rate, quality="HQ")
        return waveform[: round(duration_s * sampling_rate)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def _blocks(self, start_s: float) -> Iterator[Waveform]:
        """Mono blocks at the file's own rate, from `start_s` to the end."""

    @abstractmethod
    def close(self) -> None: ...


@dataclass
class Progress:
    """How far the reading of a recording has come: all that the next window has to know of those before it.

    duration_s: length of the recording in seconds, as its header says until the file proves shorter.
    analysed_s: how many seconds were audible in a window so far. end_s: where the last sample was found.
    """

    duration_s: float
    analysed_s: float = 0.0
    end_s: float = 0.0
    heard_silence: bool = False

    def require_sound(self) -> None:
        """After the last window. Raises AudioTooShort or SilentAudio when no window was audible."""
        if self.analysed_s:
            return
        if self.heard_silence:
            raise SilentAudio("The audio is silent all through. Check the recording level or the microphone.")
        raise AudioTooShort(f"The audio has {self.duration_s:.2f} s. Send at least {MIN_DURATION_S} s.")


class WindowReader:
    """Reads the windows of a recording one by one, so that memory does not grow with its length.

    sampling_rate: Hz, of the model. window_s: the model's length.
    progress: of another reader of the same recording, to go on where it stopped.
    """

    def __init__(
        self, audio: AudioFile, *, sampling_rate: int, window_s: float, progress: Progress | None = None
    ) -> None:
        self.progress = progress or Progress(audio.duration_s)
        self._audio = audio
        self._sampling_rate = sampling_rate
        self._window_s = window_s

    def read(self, start_s: float) -> Window | None:
        """The window from `start_s` on, repeated to full length where the recording is shorter; None where there is
        nothing to hear. Start at the first window, and go forward."""
        progress = self.progress
        if start_s > 0 and start_s >= progress.duration_s:
            return None
        waveform = self._audio.read(start_s, self._window_s, self._sampling_rate)
        end_s = start_s + len(waveform) / self._sampling_rate
        if len(waveform):
            progress.end_s = end_s
        samples = round(self._window_s * self._sampling_rate)
        if len(waveform) < samples and start_s + self._window_s <= progress.duration_s:
            # The header promised more than there is: the recording ends where its last sample was found.
            progress.duration_s = progress.end_s
        if len(waveform) < MIN_DURATION_S * self._sampling_rate:
            return None
        if not _is_audible(waveform, self._sampling_rate):
            progress.heard_silence = True
            return None
        progress.analysed_s = min(progress.analysed_s + end_s - start_s, progress.duration_s)
        return Window(start_s, end_s, fill(waveform, samples))


def open_audio(file: BinaryIO) -> AudioFile:
    """Open an audio file of any supported format, told by its content: wav, flac, ogg, mp3, au, aiff through
    libsndfile, everything else (m4a, aac, webm, wma ...) through FFmpeg.

    file: seekable; it stays open. Only as much of it is decoded as is read.
    Raises UnsupportedMedia when it is no audio file, UndecodableAudio when it is a broken one.
    """
    file.seek(0)
    if not file.read(1):
        raise UndecodableAudio("The file is empty. Send an audio file, for example mp3, m4a, wav or flac.")
    with _damage_explained():
        audio = _open(file)
    try:
        _check(audio)
    except UndecodableAudio:
        audio.close()
        raise
    return audio


def read_recording(file: BinaryIO, *, sampling_rate: int, window_s: float, max_windows: int) -> Recording:
    """All windows of an audio file at once, at `sampling_rate` Hz: evenly spread, silent ones left out.

    Raises AudioTooShort, SilentAudio and what `open_audio` raises.
    """
    with open_audio(file) as audio:
        reader = WindowReader(audio, sampling_rate=sampling_rate, window_s=window_s)
        starts = window_starts(audio.duration_s, window_s, max_windows)
        windows = [window.waveform for start_s in starts if (window := reader.read(start_s))]
        reader.progress.require_sound()
    progress = reader.progress
    return Recording(np.stack(windows), duration_s=progress.duration_s, analysed_s=progress.analysed_s)


def window_starts(duration_s: float, window_s: float, max_windows: int) -> list[float]:
    """Where the windows of a recording start, in seconds: evenly spread, at most `max_windows`, at least one."""
    count = min(max_windows, max(1, math.ceil(duration_s / window_s - SLACK)))
    return np.linspace(0.0, max(0.0, duration_s - window_s), count).tolist() if count > 1 else [0.0]


def timeline_starts(duration_s: float, window_s: float, max_analysed_s: float) -> list[float]:
    """Where the windows of a timeline start, in seconds: end to end from the beginning, up to `max_analysed_s`. A rest
    at the end gets a window of its own unless it is under a tenth of one."""
    count = max(1, math.ceil(min(duration_s, max_analysed_s) / window_s - SLACK))
    return [index * window_s for index in range(count)]


def fill(waveform: Waveform, samples: int) -> Waveform:
    """The waveform cut, or repeated from its start, to exactly `samples` samples.

    Repetition rather than zeros: DistilHuBERT's first layer normalises over time, so silence would change the scores
    of the music beside it.
    """
    return np.resize(waveform, samples)


def normalise(waveform: Waveform) -> Waveform:
    """Zero mean and unit variance, as transformers' Wav2Vec2FeatureExtractor makes it (`zero_mean_unit_var_norm`)."""
    normalised: Waveform = (waveform - waveform.mean()) / np.sqrt(waveform.var() + 1e-7)
    return normalised


def _is_audible(waveform: Waveform, sampling_rate: int) -> bool:
    # Where a constant begins and ends, the resampler makes ripples.
    edge = round(_RESAMPLER_MARGIN_S * sampling_rate)
    return float(waveform[edge:-edge].std()) > SILENCE


@contextmanager
def _damage_explained() -> Iterator[None]:
    try:
        yield
    except (soundfile.SoundFileError, av.FFmpegError, ValueError, OSError) as error:
        # A seek to before the start of the file, where a container points: EINVAL on a disk, ValueError in memory.
        if isinstance(error, OSError) and not isinstance(error, av.FFmpegError) and error.errno != errno.EINVAL:
            raise
        raise UndecodableAudio("The audio is damaged and cannot be decoded. Export it again.") from error


def _take(blocks: Iterator[Waveform], samples: int) -> Iterator[Waveform]:
    for block in blocks:
        yield block[:samples]
        samples -= len(block)
        if samples <= 0:
            return


def _open(file: BinaryIO) -> AudioFile:
    if _begins_with_one_of(_SOUNDFILE_SIGNATURES, file):
        file.seek(0)
        with suppress(soundfile.SoundFileError):
            return _SoundFile(file)
    file.seek(0)
    return _AVFile(file)


def _check(audio: AudioFile) -> None:
    low, high = _SAMPLING_RATES[0], _SAMPLING_RATES[-1]
    if not low <= audio.sampling_rate <= high:
        raise UndecodableAudio(f"A rate of {audio.sampling_rate} Hz is not supported. Send {low} to {high} Hz.")
    if audio.channels > _MAX_CHANNELS:
        raise UndecodableAudio(f"The audio has {audio.channels} channels. Send at most {_MAX_CHANNELS}.")


def _begins_with_one_of(signatures: tuple[tuple[int, bytes], ...], file: BinaryIO) -> bool:
    file.seek(0)
    head = file.read(16)
    return any(head.startswith(signature, offset) for offset, signature in signatures)


class _SoundFile(AudioFile):
    """wav, flac, ogg, mp3, au, aiff: libsndfile."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = soundfile.SoundFile(file)
        self.sampling_rate = self._file.samplerate
        self.channels = self._file.channels
        self.duration_s = self._file.frames / self._file.samplerate

    def _blocks(self, start_s: float) -> Iterator[Waveform]:
        try:
            self._file.seek(min(round(start_s * self.sampling_rate), self._file.frames))
        except soundfile.SoundFileError:
            # The header promises more than there is; a file that has not even a start is damaged.
            if start_s > 0:
                return
            raise
        intact = False
        try:
            while len(block := self._file.read(_BLOCK_FRAMES, dtype="float32", always_2d=True)):
                yield block.mean(axis=1)
                intact = True
        except soundfile.SoundFileError:
            # A file cut off in the middle ends there; one with no intact block is damaged.
            if not intact:
                raise

    def close(self) -> None:
        self._file.close()


class _AVFile(AudioFile):
    """m4a, aac, webm, wma and the rest: FFmpeg's libraries."""

    def __init__(self, file: BinaryIO) -> None:
        try:
            self._container = av.open(file, mode="r", container_options=_AV_OPTIONS, metadata_errors="replace")
        except (av.FFmpegError, ValueError) as error:
            if _begins_with_one_of(_SIGNATURES, file):
                raise UndecodableAudio("The audio is damaged or incomplete. Send the whole file.") from error
            raise UnsupportedMedia(f"The file is not audio in a known format. Send {_FORMATS}.") from error
        if not self._container.streams.audio:
            self.close()
            raise UnsupportedMedia(f"The file holds no audio track. Send {_FORMATS}.")
        self._stream = self._container.streams.audio[0]
        self._origin_s = (self._container.start_time or 0) / av.time_base
        first = next(self._frames(0.0), None)
        if first is None:
            self.close()
            raise UndecodableAudio("No audio could be decoded from the file. Export it again.")
        # Asked of a frame, as the header of HE-AAC names half the rate that its decoder gives.
        self.sampling_rate = first.sample_rate
        self.channels = first.layout.nb_channels
        self.duration_s = self._measure_duration_s()

    def _measure_duration_s(self) -> float:
        """From the header; from the packets where there is none (a browser's webm) or it is a guess (raw aac)."""
        if self._container.duration is not None and self._container.format.name != "aac":
            return self._container.duration / av.time_base
        self._container.seek(0)
        ends = (
            float((packet.pts + (packet.duration or 0)) * packet.time_base)
            for packet in self._container.demux(self._stream)
            if packet.pts is not None and packet.time_base is not None
        )
        return max(ends, default=self._origin_s) - self._origin_s

    def _blocks(self, start_s: float) -> Iterator[Waveform]:
        planar_float = av.AudioResampler(format="fltp")
        skip: int | None = None
        for frame in self._frames(start_s):
            if skip is None:
                # A seek lands on the packet that begins before the wanted time.
                early_s = 0.0 if frame.time is None else start_s - (frame.time - self._origin_s)
                skip = max(0, round(early_s * self.sampling_rate))
            for part in planar_float.resample(frame):
                block: Waveform = part.to_ndarray().mean(axis=0)
                # An empty view would keep its block: all of the recording, where a seek lands at its start.
                if skip < len(block):
                    yield block[skip:]
                skip = max(0, skip - len(block))

    def _frames(self, start_s: float) -> Iterator[av.AudioFrame]:
        # The first packet may be stamped before the origin: what an encoder puts before the music.
        wanted_s = self._origin_s + start_s - _PREROLL_S if start_s else self._origin_s
        self._container.seek(round(wanted_s * av.time_base))
        damaged = 0
        for packet in self._container.demux(self._stream):
            # A damaged packet is skipped, as players do; a file of nothing else gives no frame at all.
            try:
                frames = packet.decode()
            except av.InvalidDataError:
                damaged += 1
                if damaged > _MOST_DAMAGED_PACKETS:
                    return
                continue
            damaged = 0
            yield from frames

    def close(self) -> None:
        self._container.close()
