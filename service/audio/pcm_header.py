"""Headers of uncompressed audio (WAV, AIFF, AU): whether the length that they name fits the file, and what it is.

A recorder that loses power, or writes into a pipe, leaves a header with no length, or with that of its last save.
Sources: RIFF and AIFF are lists of chunks (EA IFF 85); RF64 keeps its sizes in `ds64` (EBU Tech 3306); a size of
0xFFFFFFFF means unknown.
"""

import os
import struct
from dataclasses import dataclass
from typing import BinaryIO

_MAX_CHUNKS = 1_000
_MAX_HEADER_BYTES = 1 << 20
_BLOCK_BYTES = 1 << 20
# Sizes from here on are no promise: writers into a pipe put the largest number of 31 or 32 bits there.
_UNKNOWN_FROM = 0x7FFF_0000
_MAX_U32 = 0xFFFF_FFFF
_BEGINNINGS = {b"RIFF", b"RF64", b"BW64", b"FORM"}
# Chunks that stand behind the samples; the last of them may be cut off.
_TRAILING_CHUNKS = {
    b"LIST", b"id3 ", b"ID3 ", b"bext", b"cue ", b"smpl", b"fact", b"JUNK", b"PAD ", b"FLLR", b"iXML", b"_PMX", b"axml",
    b"inst", b"acid", b"DISP", b"afsp", b"plst", b"MARK", b"COMT", b"NAME", b"AUTH", b"(c) ", b"ANNO", b"APPL", b"COMM",
}  # fmt: skip


@dataclass(frozen=True)
class PcmExtent:
    """Extent of an uncompressed recording in its file.

    end: offset of the first byte behind it. head: its header put right; empty where that was right already.
    cut_short: the header promises samples that the file does not hold.
    """

    end: int
    head: bytes = b""
    cut_short: bool = False


def measure(file: BinaryIO, start: int, end: int) -> PcmExtent | None:
    """The extent of the WAV, AIFF or AU recording that begins at `start` of a file with `end` bytes.

    None where the file is none of these, or its header is beyond understanding.
    """
    file.seek(start)
    magic = file.read(12)
    try:
        if magic[:4] in (b"RIFF", b"RF64", b"BW64") and magic[8:] == b"WAVE":
            return _measure_wav(file, start, end)
        if magic[:4] == b"FORM" and magic[8:] in (b"AIFF", b"AIFC"):
            return _measure_aiff(file, start, end)
        if magic[:4] == b".snd":
            return _measure_au(file, start, end)
    except struct.error:
        # A chunk ends before what it must hold, or with the file.
        return None
    return None


def _measure_wav(file: BinaryIO, start: int, end: int) -> PcmExtent | None:
    chunks = _chunks(file, start, end, "<", last=b"data")
    if b"data" not in chunks:
        return None
    data, claim = chunks[b"data"]
    is_64_bit = claim == _MAX_U32 and b"ds64" in chunks
    if is_64_bit:
        file.seek(chunks[b"ds64"][0] + 8)
        (claim,) = struct.unpack("<Q", file.read(8))
    behind = _end_of_chunks(file, start, data + claim, end, "<")
    if claim < _UNKNOWN_FROM and behind is not None:
        return PcmExtent(behind)
    size = end - data
    head = _head(file, start, data)
    struct.pack_into("<I", head, 4, _MAX_U32 if is_64_bit else min(size + data - start - 8, _MAX_U32))
    if is_64_bit:
        struct.pack_into("<QQ", head, chunks[b"ds64"][0] - start, size + data - start - 8, size)
    else:
        struct.pack_into("<I", head, data - start - 4, min(size, _MAX_U32 - 1))
    return PcmExtent(end, bytes(head), cut_short=size < claim < _UNKNOWN_FROM)


def _measure_aiff(file: BinaryIO, start: int, end: int) -> PcmExtent | None:
    chunks = _chunks(file, start, end, ">", last=b"SSND")
    if not {b"COMM", b"SSND"} <= chunks.keys():
        return None
    file.seek(chunks[b"COMM"][0])
    channels, frames, bits = struct.unpack(">HIH", file.read(8))
    frame_bytes = max(1, channels * ((bits + 7) // 8))
    data, claim = chunks[b"SSND"]
    behind = _end_of_chunks(file, start, data + claim, end, ">")
    if behind is not None and claim > 8 and frames:
        return PcmExtent(behind)
    size = end - data
    head = _head(file, start, data)
    struct.pack_into(">I", head, 4, min(size + data - start - 8, _MAX_U32))
    struct.pack_into(">I", head, chunks[b"COMM"][0] - start + 2, min((size - 8) // frame_bytes, _MAX_U32))
    struct.pack_into(">I", head, data - start - 4, min(size, _MAX_U32))
    return PcmExtent(end, bytes(head), cut_short=size < claim < _UNKNOWN_FROM)


def _measure_au(file: BinaryIO, start: int, end: int) -> PcmExtent | None:
    header = _head(file, start, start + 12)
    if len(header) < 12:
        return None
    offset, claim = struct.unpack(">II", header[4:])
    size = end - start - offset
    if claim == size or size <= 0:
        return PcmExtent(end)
    if 0 < claim < size and _name(file, end - size + claim) == b".snd":
        return PcmExtent(end - size + claim)
    struct.pack_into(">I", header, 8, size)
    return PcmExtent(end, bytes(header), cut_short=size < claim < _UNKNOWN_FROM)


def _chunks(file: BinaryIO, start: int, end: int, order: str, last: bytes) -> dict[bytes, tuple[int, int]]:
    """Content offset and size of each chunk up to `last`, by name; what follows a broken one is left out."""
    found: dict[bytes, tuple[int, int]] = {}
    at = start + 12
    while at + 8 <= end and len(found) < _MAX_CHUNKS and at - start < _MAX_HEADER_BYTES:
        file.seek(at)
        name, size = struct.unpack(f"{order}4sI", file.read(8))
        found[name] = (at + 8, size)
        if name == last:
            break
        at += 8 + size + size % 2
    return found


def _end_of_chunks(file: BinaryIO, start: int, at: int, end: int, order: str) -> int | None:
    """Where the recording at `start` ends, if only chunks, zeros or another recording follow its samples at `at`.

    None where something else follows, or `at` lies behind the end: the size that led there is wrong.
    """
    if at > end + 1:
        return None
    for _ in range(_MAX_CHUNKS):
        # A byte makes the size of a chunk even, which some writers leave out.
        if (at - start) % 2 and _name(file, at) not in _BEGINNINGS | _TRAILING_CHUNKS:
            at += 1
        if at + 8 > end:
            return end
        file.seek(at)
        name, size = struct.unpack(f"{order}4sI", file.read(8))
        if name in _BEGINNINGS:
            return at
        if not any(name):
            return end if _is_zero(file, at, end) else None
        if not all(0x20 <= byte < 0x7F for byte in name) or (at + size > end and name not in _TRAILING_CHUNKS):
            return None
        at += 8 + size
    return None


def _is_zero(file: BinaryIO, at: int, end: int) -> bool:
    """Whether the file holds zeros from `at` on, as a recorder fills up the last block of its disk."""
    file.seek(at)
    blocks = iter(lambda: file.read(min(end - file.tell(), _BLOCK_BYTES)), b"")
    return all(block.count(0) == len(block) for block in blocks)


def _name(file: BinaryIO, at: int) -> bytes:
    file.seek(at)
    return file.read(4)


def _head(file: BinaryIO, start: int, end: int) -> bytearray:
    file.seek(start, os.SEEK_SET)
    return bytearray(file.read(end - start))
