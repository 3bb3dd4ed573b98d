"""Opens audio files: recognised by their content, whatever they are called."""

from collections.abc import Iterator
from contextlib import suppress
from typing import BinaryIO

import soundfile

from service.audio.ffmpeg import FFmpegFile
from service.audio.files import AudioFile, Block, damage_explained
from service.audio.formats import SOUNDFILE_SIGNATURES, begins_with_one_of
from service.audio.libsndfile import SoundFile
from service.audio.parts import Part, find_parts, split
from service.errors import AudioError, UndecodableAudio

_SAMPLING_RATES = range(1_000, 768_001)
_MAX_CHANNELS = 64
# libsndfile does not say what the places of more channels are.
_SOUNDFILE_CHANNELS = 2


def open_audio(file: BinaryIO) -> AudioFile:
    """Open an audio file of any format in `AUDIO_FORMATS`, recognised by its content, through libsndfile or FFmpeg.

    file: seekable; it stays open. Its packets are counted, and only as much of it is decoded as is read. Recordings
    that were joined to one file are read as one.
    Raises UnsupportedMedia when it is no audio file, UndecodableAudio when it is a broken one.
    """
    file.seek(0)
    if not file.read(1):
        raise UndecodableAudio("The file is empty. Send an audio file, for example mp3, m4a, wav or flac.")
    with damage_explained():
        parts = find_parts(file)
        if len(parts) > 1:
            return JoinedAudio(file, parts)
        audio = _open_part(file, parts[0])
        if isinstance(audio, FFmpegFile) and audio.joints:
            audio.close()
            return JoinedAudio(file, split(file, parts[0], audio.joints))
        return audio


class JoinedAudio(AudioFile):
    """Recordings one after the other in one file, each with its own rate and channels. One is open at a time.

    Parts that cannot be decoded are left out, unless all are: then this raises what the first one does.
    """

    def __init__(self, file: BinaryIO, parts: list[Part]) -> None:
        self._file = file
        self._parts: list[tuple[Part, float]] = []
        problem: AudioError | None = None
        self._open: tuple[Part, AudioFile] | None = None
        for part in parts:
            try:
                audio = self._opened(part)
            except AudioError as error:
                problem, self.damaged = problem or error, True
                continue
            if not self._parts:
                self.sampling_rate, self.channels = audio.sampling_rate, audio.channels
            self._parts.append((part, audio.duration_s))
            self.damaged |= audio.damaged
        if not self._parts:
            assert problem is not None, "there is a part"
            raise problem
        self.duration_s = sum(duration_s for _, duration_s in self._parts)

    def blocks(self, start_s: float) -> Iterator[Block]:  # noqa: D102
        for part, duration_s in self._parts:
            if start_s < duration_s:
                audio = self._opened(part)
                yield from audio.blocks(max(0.0, start_s))
                self.damaged |= audio.damaged
            start_s -= duration_s

    def _opened(self, part: Part) -> AudioFile:
        if self._open is None or self._open[0] is not part:
            self.close()
            with damage_explained():
                self._open = part, _open_part(self._file, part)
        return self._open[1]

    def close(self) -> None:  # noqa: D102
        if self._open is not None:
            self._open[1].close()
        self._open = None


def _open_part(file: BinaryIO, part: Part) -> AudioFile:
    view = part.open(file)
    audio = _open(view)
    audio.damaged |= part.cut_short
    try:
        _check(audio)
    except UndecodableAudio:
        audio.close()
        raise
    return audio


def _open(file: BinaryIO) -> AudioFile:
    if begins_with_one_of(SOUNDFILE_SIGNATURES, file):
        with suppress(soundfile.SoundFileError):
            audio = SoundFile(file)
            if audio.channels <= _SOUNDFILE_CHANNELS:
                return audio
            audio.close()
    return FFmpegFile(file)


def _check(audio: AudioFile) -> None:
    low, high = _SAMPLING_RATES[0], _SAMPLING_RATES[-1]
    if not low <= audio.sampling_rate <= high:
        raise UndecodableAudio(f"A rate of {audio.sampling_rate} Hz is not supported. Send {low} to {high} Hz.")
    if audio.channels > _MAX_CHANNELS:
        raise UndecodableAudio(f"The audio has {audio.channels} channels. Send at most {_MAX_CHANNELS}.")
