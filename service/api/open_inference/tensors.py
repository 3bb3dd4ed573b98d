"""Input tensors, taken apart into one file a recording as their bytes arrive."""

import struct
from typing import BinaryIO

from service.api.receiving import MAX_RECORDINGS, spooled_file
from service.errors import InvalidParameter

_LENGTH_BYTES = 4
_SAMPLE_BYTES = 4

# RIFF, its size, WAVE; fmt with float samples (3) of one channel, rate, bytes a second, bytes and bits a sample; data.
_WAV_HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")
_WAV_FLOAT = 3
# Sizes in the header have 32 bits, and the largest mean that there is no size.
_MAX_WAV_BYTES = 0x7FFF_0000


class EncodedTensor:
    """Audio files in a tensor of BYTES, each behind its length in 4 bytes.

    count: as the shape has it. Raises InvalidParameter when there are too many.
    """

    def __init__(self, count: int) -> None:
        check_count(count)
        self.files: list[BinaryIO] = []
        self._count = count
        self._length = b""
        self._left = 0

    def write(self, data: bytes) -> None:
        """Take the next bytes. Raises InvalidParameter, and OSError when they cannot be kept."""
        while data:
            if self._left:
                part, data = data[: self._left], data[self._left :]
                self.files[-1].write(part)
                self._left -= len(part)
            else:
                missing = _LENGTH_BYTES - len(self._length)
                self._length, data = self._length + data[:missing], data[missing:]
                self._begin()

    def end(self) -> None:
        """Go to the beginning of all files. Raises InvalidParameter when the tensor is not complete."""
        if self._left or self._length:
            raise InvalidParameter("The last file of `audio` is shorter than its length says.")
        require_count(len(self.files), self._count)
        for file in self.files:
            file.seek(0)

    def close(self) -> None:
        """Delete the files."""
        for file in self.files:
            file.close()

    def _begin(self) -> None:
        if len(self._length) < _LENGTH_BYTES:
            return
        if len(self.files) == self._count:
            require_count(len(self.files) + 1, self._count)
        self._left = int.from_bytes(self._length, "little")
        self._length = b""
        self.files.append(spooled_file())


class WaveformTensor:
    """Waveforms in a tensor of FP32, each written as a WAV file, which is decoded as any other.

    shape: samples, or recordings and samples. Raises InvalidParameter when it is another, or there are too many.
    """

    def __init__(self, shape: list[int], sampling_rate: int) -> None:
        if len(shape) not in (1, 2):
            raise InvalidParameter("inputs.0.shape: `waveform` has the shape [samples] or [recordings, samples].")
        self._count, samples = (1, *shape)[-2:]
        check_count(self._count)
        self._bytes = samples * _SAMPLE_BYTES
        if self._bytes > _MAX_WAV_BYTES:
            raise InvalidParameter("inputs.0.shape: The waveform is longer than a request can be.")
        self._sampling_rate = sampling_rate
        self._left = 0
        self.files: list[BinaryIO] = []
        self._begin()

    def write(self, data: bytes) -> None:
        """Take the next bytes. Raises InvalidParameter, and OSError when they cannot be kept."""
        while data:
            if not self._left:
                self._begin()
            part, data = data[: self._left], data[self._left :]
            self.files[-1].write(part)
            self._left -= len(part)

    def end(self) -> None:
        """Go to the beginning of all files. Raises InvalidParameter when the tensor is not complete."""
        if self._left or len(self.files) != self._count:
            raise InvalidParameter("inputs.0: `waveform` holds fewer samples than its shape says.")
        for file in self.files:
            file.seek(0)

    def close(self) -> None:
        """Delete the files."""
        for file in self.files:
            file.close()

    def _begin(self) -> None:
        if len(self.files) == self._count or (self.files and not self._bytes):
            raise InvalidParameter("inputs.0: `waveform` holds more samples than its shape says.")
        self.files.append(spooled_file())
        self.files[-1].write(self._header())
        self._left = self._bytes

    def _header(self) -> bytes:
        rate, size = self._sampling_rate, self._bytes
        return _WAV_HEADER.pack(
            b"RIFF", _WAV_HEADER.size - 8 + size, b"WAVE", b"fmt ", 16, _WAV_FLOAT, 1, rate, rate * _SAMPLE_BYTES,
            _SAMPLE_BYTES, 8 * _SAMPLE_BYTES, b"data", size,
        )  # fmt: skip


def check_count(count: int) -> None:
    """Raises InvalidParameter unless one request can hold so many recordings."""
    if not 1 <= count <= MAX_RECORDINGS:
        raise InvalidParameter(f"inputs.0.shape: A request holds 1 to {MAX_RECORDINGS} recordings.")


def require_count(found: int, expected: int) -> None:
    """Raises InvalidParameter unless there are as many files as the shape says."""
    if found != expected:
        raise InvalidParameter(f"inputs.0: `audio` holds another number of files than its shape says, {expected}.")
