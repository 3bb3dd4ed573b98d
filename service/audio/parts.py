"""Parts of a file: the recordings that it is made of, without the tags before them.

Files are joined byte by byte by people (`cat`), by stations that stitch adverts in, and by recorders that append.
A decoder plays the first part and stops, or refuses, so each part is opened as a file of its own.
"""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO, cast

from service.audio.formats import JOINTS
from service.audio.pcm_header import measure

MAX_PARTS = 1_000
"""Maximum number of parts of a file. The last one holds what follows, of which not all may be heard: it counts as cut
short."""

# Maximum number of tags that are skipped. Real files have one or two; one with more is left to the decoder.
_MAX_TAGS = 100
# A recording takes more; what looks like another beginning in so few bytes is a second track of the first.
_MIN_PART_BYTES = 512
_BLOCK_BYTES = 1 << 20
# Longer than any signature of a joint.
_OVERLAP_BYTES = 128


class FileView(io.RawIOBase):
    """Read-only view of the bytes `start` to `end` of a seekable file, which stays open.

    head: bytes that stand in place of the view's first ones, such as a header that was put right.
    """

    def __init__(self, file: BinaryIO, start: int, end: int, head: bytes = b"") -> None:
        self._file = file
        self._start = start
        self._size = end - start
        self._head = head
        self._position = 0

    def readable(self) -> bool:  # noqa: D102
        return True

    def seekable(self) -> bool:  # noqa: D102
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:  # noqa: D102
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        # Not an error, as libsndfile goes before the beginning of broken files: in its callback nobody could catch one.
        self._position = max(0, origin + offset)
        return self._position

    def readinto(self, buffer: bytearray, /) -> int:  # type: ignore[override]  # noqa: D102
        with memoryview(buffer).cast("B") as whole:
            size = max(0, min(len(whole), self._size - self._position))
            data = self._head[self._position : self._position + size]
            if not data and size:
                self._file.seek(self._start + self._position)
                data = self._file.read(size)
            whole[: len(data)] = data
        self._position += len(data)
        return len(data)


@dataclass(frozen=True)
class Part:
    """Bytes `start` to `end` of a file. head, cut_short: as `pcm_header.PcmExtent` has them."""

    start: int
    end: int
    head: bytes = b""
    cut_short: bool = False

    def open(self, file: BinaryIO) -> BinaryIO:
        """The part as a file; the file itself must stay open."""
        return cast(BinaryIO, FileView(file, self.start, self.end, self.head))


def find_parts(file: BinaryIO) -> list[Part]:
    """The parts of a seekable file that is not empty, at least one, in their order."""
    end = file.seek(0, 2)
    parts: list[Part] = []
    start = _skip_tags(file, 0, end)
    while start < end and len(parts) < MAX_PARTS - 1 and (extent := measure(file, start, end)):
        parts.append(Part(start, extent.end, extent.head, extent.cut_short))
        start = _skip_tags(file, extent.end, end)
    if start < end or not parts:
        bounds = [start, *_joints(file, start, end, MAX_PARTS - len(parts) - 1), end]
        parts += [Part(*pair) for pair in zip(bounds, bounds[1:], strict=False)]
    return _bounded(parts)


def split(file: BinaryIO, part: Part, offsets: list[int]) -> list[Part]:
    """A part cut at offsets from its own start, without the tags there."""
    bounds = [part.start, *(part.start + offset for offset in offsets[: MAX_PARTS - 1]), part.end]
    parts = [Part(_skip_tags(file, start, end), end) for start, end in zip(bounds, bounds[1:], strict=False)]
    return _bounded([part for part in parts if part.start < part.end])


def _bounded(parts: list[Part]) -> list[Part]:
    """Mark the last of the most parts there may be, and drop what is too short for a recording behind one: a pad byte,
    or a tag of old players (ID3v1: 128 bytes)."""
    if len(parts) >= MAX_PARTS:
        parts[-1] = replace(parts[-1], cut_short=True)
    return parts[:1] + [part for part in parts[1:] if part.end - part.start >= _MIN_PART_BYTES]


def _skip_tags(file: BinaryIO, start: int, end: int) -> int:
    """The first byte behind the tags at `start`: ID3v2 (id3.org, section 3.1) and APEv2, which may hold pictures of any
    size, where FFmpeg would look for the beginning of the audio in its first million bytes only."""
    at = start
    for _ in range(_MAX_TAGS):
        file.seek(at)
        head = file.read(32)
        if head[:3] == b"ID3" and len(head) > 10 and max(head[6:10]) < 0x80:
            size = sum(byte << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
            behind = at + 10 + size + (10 if head[5] & 0x10 else 0)
        elif head[:8] == b"APETAGEX" and len(head) == 32:
            behind = at + 32 + int.from_bytes(head[12:16], "little")
        else:
            return at
        # A tag that ends with its file is cut off, or lies; the decoder is left to make sense of it.
        if behind >= end:
            return start
        at = behind
    return start


def _joints(file: BinaryIO, start: int, end: int, count: int) -> list[int]:
    """The first `count` offsets where another recording of the same format begins."""
    file.seek(start)
    head = file.read(_OVERLAP_BYTES)
    pattern = next((joint for joint in JOINTS if joint.match(head)), None)
    joints: list[int] = []
    if pattern is None:
        return joints
    for at in _matches(file, pattern, start, end):
        if len(joints) == count:
            break
        if at - (joints[-1] if joints else start) >= _MIN_PART_BYTES:
            joints.append(at)
    return joints


def _matches(file: BinaryIO, pattern: re.Pattern[bytes], start: int, end: int) -> Iterator[int]:
    for block_start in range(start, end, _BLOCK_BYTES):
        file.seek(block_start)
        block = file.read(min(_BLOCK_BYTES + _OVERLAP_BYTES, end - block_start))
        for match in pattern.finditer(block):
            if match.start() < _BLOCK_BYTES:
                yield block_start + match.start()
