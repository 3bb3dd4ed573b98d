"""Uncompressed audio files, read by libsndfile."""

from collections.abc import Iterator
from typing import BinaryIO

import soundfile

from service.audio.files import AudioFile, Block

_BLOCK_FRAMES = 1 << 14


class SoundFile(AudioFile):
    """A WAV, AIFF or AU file. Raises soundfile.SoundFileError when libsndfile cannot open it."""

    def __init__(self, file: BinaryIO) -> None:
        self._source = file
        self._file = self._open()
        # Of the next frame that is read, in a file in which nobody can seek.
        self._position = 0
        self.sampling_rate = self._file.samplerate
        self.channels = self._file.channels
        self.duration_s = self._file.frames / self._file.samplerate

    def _open(self) -> soundfile.SoundFile:
        self._source.seek(0)
        return soundfile.SoundFile(self._source)

    def blocks(self, start_s: float) -> Iterator[Block]:  # noqa: D102
        skip = self._seek(min(round(start_s * self.sampling_rate), self._file.frames))
        intact = False
        try:
            while len(samples := self._file.read(_BLOCK_FRAMES, dtype="float32", always_2d=True)):
                intact = True
                self._position += len(samples)
                if skip < len(samples):
                    yield Block(samples[skip:].T, self.sampling_rate)
                skip = max(0, skip - len(samples))
        except soundfile.SoundFileError:
            # A file cut off in the middle ends there; one with no intact block is damaged.
            if not intact:
                raise
            self.damaged = True
        # The header promises more than there is.
        self.damaged |= skip > 0

    def _seek(self, frame: int) -> int:
        """Go to a frame, or near it: how many more frames are to be read over.

        libsndfile cannot seek in GSM 6.10 and several kinds of ADPCM, nor to where a file does not reach.
        """
        try:
            self._file.seek(frame)
        except soundfile.SoundFileError:
            if frame < self._position or self._file.seekable():
                self._file.close()
                self._file, self._position = self._open(), 0
            return frame - self._position
        self._position = frame
        return 0

    def close(self) -> None:  # noqa: D102
        self._file.close()
