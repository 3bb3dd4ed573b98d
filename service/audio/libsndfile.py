"""Uncompressed audio files, read by libsndfile."""

from collections.abc import Iterator
from itertools import chain
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import soundfile

from service.audio.files import AudioFile, Block

_BLOCK_FRAMES = 1 << 14


class SoundFile(AudioFile):
    """A WAV, AIFF or AU file. Raises soundfile.SoundFileError when libsndfile cannot open it."""

    def __init__(self, file: BinaryIO) -> None:
        self._source = file
        self._file = self._open()
        self.sampling_rate = self._file.samplerate
        self.channels = self._file.channels
        self.duration_s = self._file.frames / self._file.samplerate
        # The block that was read last and the number of the frame behind it, where nobody can seek.
        self._last, self._behind = np.empty((0, self.channels), np.float32), 0

    def _open(self) -> soundfile.SoundFile:
        self._source.seek(0)
        return soundfile.SoundFile(self._source)

    def blocks(self, start_s: float) -> Iterator[Block]:  # noqa: D102
        frame = min(round(start_s * self.sampling_rate), self._file.frames)
        try:
            self._file.seek(frame)
        except soundfile.SoundFileError:
            yield from self._read_over(frame)
        else:
            for samples in self._read():
                yield Block(samples.T, self.sampling_rate)

    def _read_over(self, skip: int) -> Iterator[Block]:
        """Blocks from a frame on that is not sought, but read from the block that was read last, or the beginning.

        libsndfile cannot seek in GSM 6.10 and several kinds of ADPCM, nor to where a file does not reach.
        """
        last = self._last
        if skip < self._behind - len(last) or self._file.seekable():
            self._file.close()
            self._file, self._behind, last = self._open(), 0, last[:0]
        skip -= self._behind - len(last)
        for samples in chain([last], self._read()):
            if samples is not last:
                self._last, self._behind = samples, self._behind + len(samples)
            if skip < len(samples):
                yield Block(samples[skip:].T, self.sampling_rate)
            skip = max(0, skip - len(samples))
        # The header promises more than there is.
        self.damaged |= skip > 0

    def _read(self) -> Iterator[npt.NDArray[np.float32]]:
        """Blocks, float32 (frames, channels), from where the file stands."""
        intact = False
        try:
            while len(samples := self._file.read(_BLOCK_FRAMES, dtype="float32", always_2d=True)):
                intact = True
                yield samples
        except soundfile.SoundFileError:
            # A file cut off in the middle ends there; one with no intact block is damaged.
            if not intact:
                raise
            self.damaged = True

    def close(self) -> None:  # noqa: D102
        self._file.close()
