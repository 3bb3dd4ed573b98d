"""Audio files: opened by their content, decoded block by block, mono float32 at the model's rate."""

import errno
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO, Self

import av
import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from service.audio.formats import AV_OPTIONS, FORMATS, SIGNATURES, SOUNDFILE_SIGNATURES, begins_with_one_of
from service.errors import UndecodableAudio, UnsupportedMedia

Waveform = npt.NDArray[np.float32]
"""float32 (samples,), mono, full scale at 1.0."""

_SAMPLING_RATES = range(1_000, 768_001)
_MAX_CHANNELS = 64
_BLOCK_FRAMES = 1 << 14
# Read past the end of a window and cut off after resampling, so that the resampler's edge lies outside the window.
RESAMPLER_MARGIN_S = 0.05
# A decoder that starts in the middle needs a few packets before its output is right: AAC one, WMA two, Opus 80 ms.
_PREROLL_S = 0.2
# Damaged packets in a row: after so many the recording has ended. Millions fit into a file, and each costs time.
_MAX_DAMAGED_PACKETS = 1_000
# 120 dB over full scale is no recording; numbers beyond would overflow the model's normalisation.
_MAX_AMPLITUDE = 1e6


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
        wanted = math.ceil((duration_s + RESAMPLER_MARGIN_S) * self.sampling_rate)
        with _damage_explained():
            blocks = list(_take(self._blocks(start_s), wanted))
        waveform = np.concatenate(blocks) if blocks else np.empty(0, np.float32)
        if not (np.abs(waveform) < _MAX_AMPLITUDE).all():
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
        """The recording from `start_s` to its end, in mono blocks at the file's own rate."""

    @abstractmethod
    def close(self) -> None:
        """Close the decoder; the file itself stays open."""


def open_audio(file: BinaryIO) -> AudioFile:
    """Open an audio file of any format in `AUDIO_FORMATS`, recognised by its content, through libsndfile or FFmpeg.

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
    if begins_with_one_of(SOUNDFILE_SIGNATURES, file):
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


class _SoundFile(AudioFile):
    """An audio file read by libsndfile."""

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
    """An audio file read by FFmpeg's libraries."""

    def __init__(self, file: BinaryIO) -> None:
        try:
            self._container = av.open(file, mode="r", container_options=AV_OPTIONS, metadata_errors="replace")
        except (av.FFmpegError, ValueError) as error:
            if begins_with_one_of(SIGNATURES, file):
                raise UndecodableAudio("The audio is damaged or incomplete. Send the whole file.") from error
            raise UnsupportedMedia(f"The file is not audio in a known format. Send {FORMATS}.") from error
        if not self._container.streams.audio:
            self.close()
            raise UnsupportedMedia(f"The file holds no audio track. Send {FORMATS}.")
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
        """The length in the header; from the packets where it has none (a browser's webm) or guesses (raw aac)."""
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
                if damaged > _MAX_DAMAGED_PACKETS:
                    return
                continue
            damaged = 0
            yield from frames

    def close(self) -> None:
        self._container.close()
