"""Uncompressed audio files, read by libsndfile."""

from collections.abc import Iterator
from typing import BinaryIO

import soundfile

from service.audio.files import AudioFile, Block

_BLOCK_FRAMES = 1 << 14


class SoundFile(AudioFile):
    """A WAV, AIFF or AU file. Raises soundfile.SoundFileError when libsndfile cannot open it."""

    def __init__(self, file: BinaryIO) -> None:
        file.seek(0)
        self._file = soundfile.SoundFile(file)
        self.sampling_rate = self._file.samplerate
        self.channels = self._file.channels
        self.duration_s = self._file.frames / self._file.samplerate

    def blocks(self, start_s: float) -> Iterator[Block]:  # noqa: D102
        try:
            self._file.seek(min(round(start_s * self.sampling_rate), self._file.frames))
        except soundfile.SoundFileError:
            # The header promises more than there is; a file that has not even a start is damaged.
            self.damaged = True
            if start_s > 0:
                return
            raise
        intact = False
        try:
            while len(samples := self._file.read(_BLOCK_FRAMES, dtype="float32", always_2d=True)):
                yield Block(samples.T, self.sampling_rate)
                intact = True
        except soundfile.SoundFileError:
            # A file cut off in the middle ends there; one with no intact block is damaged.
            if not intact:
                raise
            self.damaged = True

    def close(self) -> None:  # noqa: D102
        self._file.close()
