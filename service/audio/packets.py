"""Packets of a compressed recording: when each begins, counted without decoding any.

What a header says about length is a claim; the packets are what there is.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeAlias

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer

from service.errors import UndecodableAudio

AudioPacket: TypeAlias = "av.Packet[av.AudioStream]"
"""An encoded packet of one audio track."""

# Maximum number of packets of a file: 29 hours of mp3. Each packet costs 3 microseconds and 24 bytes.
_MAX_PACKETS = 4_000_000
# Failed reads in a row: after so many the container has ended.
_MAX_FAILURES = 1_000
# Changed headers of fewer packets are damage, or bytes that look like a header.
_MIN_RUN = 3
# A sum of durations that strays further from the time stamps than this is wrong: stamps then say where a packet is.
_MAX_DRIFT_S = 0.1
# Where a packet begins so long after the one before has ended, others were lost. Opus may send nothing for 0.4 s of
# silence (RFC 7587, section 3.1.3).
_MAX_GAP_S = 1.0
# Time stamps of some containers are rounded to milliseconds.
STAMP_ERROR_S = 0.002
_EXACT = 1e-6


@dataclass(frozen=True)
class PacketIndex:
    """The packets of one track, in file order.

    time_base: seconds of one tick of the time stamps. stamps: int64 (packets,), presentation times. positions: int64
    (packets,), offsets in the file, -1 where unknown. starts_s: float64 (packets,), seconds from the first sample that
    is heard; what an encoder puts before the music lies before 0. duration_s: seconds until the last packet ends.
    joints: offsets in the file where another recording begins. damaged: packets are missing, or marked as corrupt.
    """

    time_base: float
    stamps: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int64]
    starts_s: npt.NDArray[np.float64]
    duration_s: float
    joints: list[int]
    damaged: bool

    @cached_property
    def is_ordered(self) -> bool:
        """Whether time stamps always rise, so that each names one packet."""
        return bool((np.diff(self.stamps) > 0).all())

    @cached_property
    def _has_offsets(self) -> bool:
        return bool((np.diff(self.positions) > 0).all()) and bool(self.positions[0] >= 0)

    def at(self, time_s: float) -> int:
        """Number of the packet that holds a time."""
        return max(0, int(np.searchsorted(self.starts_s, time_s, "right")) - 1)

    def heard_from(self, first: av.AudioFrame) -> "PacketIndex":
        """The same packets, counted from the first frame: a decoder may keep its first packets to itself."""
        if first.pts is None or not self.is_ordered or (time_s := self.time_s(first.pts)) <= STAMP_ERROR_S:
            return self
        return replace(self, starts_s=self.starts_s - time_s, duration_s=max(0.0, self.duration_s - time_s))

    def find(self, packet: AudioPacket) -> int | None:
        """Number of a packet that was read after a seek: told by its offset, or by its time where offsets repeat."""
        known, value = (self.positions, packet.pos) if self._has_offsets else (self.stamps, packet.pts)
        if value is None:
            return None
        number = int(np.searchsorted(known, value))
        return number if number < len(known) and known[number] == value else None

    def time_s(self, stamp: int) -> float:
        """Seconds at a time stamp, where stamps are ordered."""
        number = max(0, int(np.searchsorted(self.stamps, stamp, "right")) - 1)
        return float(self.starts_s[number] + (stamp - self.stamps[number]) * self.time_base)


def index_packets(container: InputContainer, stream: av.AudioStream, frame_samples: int) -> PacketIndex:
    """Read all packets of a track of a container that was just opened.

    frame_samples: samples that one packet gives, where the codec does not say.
    Raises UndecodableAudio when there are none, or too many.
    """
    rows: list[tuple[int, int, int, int]] = []
    keys: list[int] = []
    header_key = _HEADER_KEYS.get(container.format.name)
    damaged, first = False, None

    def on_gap() -> None:
        nonlocal damaged
        damaged = True

    for packet in readable_packets(container, stream, on_gap):
        if packet.pts is None:
            continue
        rows.append((packet.pts, packet.duration or 0, -1 if packet.pos is None else packet.pos, packet.size))
        damaged |= packet.is_corrupt
        if header_key:
            keys.append(header_key(bytes(memoryview(packet)[:_HEADER_BYTES])))
        if len(rows) > _MAX_PACKETS:
            raise UndecodableAudio("The recording has too many packets. Send a shorter part of it.")
        first = first or packet
    if first is None:
        raise UndecodableAudio("No audio could be decoded from the file. Export it again.")
    stamps, durations, positions, sizes = np.asarray(rows, np.int64).T.copy()
    time_base = float(stream.time_base or 0)
    starts_s = _timeline(stream, first, stamps, durations, frame_samples)
    damaged |= bool((np.diff(starts_s) - durations[:-1] * time_base > _MAX_GAP_S).any())
    end_s = float(starts_s[-1] + durations[-1] * time_base)
    ends = np.concatenate([[0], positions[:-1] + sizes[:-1]])
    return PacketIndex(time_base, stamps, positions, starts_s, max(0.0, end_s), _joints(ends, keys), damaged)


def readable_packets(
    container: InputContainer, stream: av.AudioStream, on_gap: Callable[[], None] = lambda: None
) -> Iterator[AudioPacket]:
    """The packets of a track from where the container stands to its end, over places that cannot be read.

    Those without a time stamp are left out, but for the empty one at the end, which has a decoder give what it holds.
    on_gap: called when a packet was found behind such a place.
    """
    failures = 0
    while failures < _MAX_FAILURES:
        try:
            for packet in container.demux(stream):
                if packet.pts is None and packet.size:
                    continue
                if failures and packet.size:
                    on_gap()
                failures = 0
                yield packet
        except av.EOFError:
            return
        except av.FFmpegError:
            # An Ogg gives an error for each 64 kB that hold no page, and goes on behind them.
            failures += 1
        except ValueError:
            return
        else:
            return


def decoded(packet: AudioPacket) -> list[av.AudioFrame] | None:
    """The frames of a packet; None where it is damaged.

    FFmpeg's decoders report damage by many codes: AAC by EPERM, AC-3 by numbers of its own.
    """
    try:
        return packet.decode()
    except MemoryError:
        raise
    except av.FFmpegError:
        return None


def _timeline(
    stream: av.AudioStream,
    first: AudioPacket,
    stamps: npt.NDArray[np.int64],
    durations: npt.NDArray[np.int64],
    frame_samples: int,
) -> npt.NDArray[np.float64]:
    """The start of each packet in seconds.

    Durations are summed up, as time stamps of some containers are rounded to milliseconds; stamps are believed where
    the sum strays from them: packets are missing, or name no true duration.
    """
    time_base = float(stream.time_base or 0)
    rate = stream.codec_context.sample_rate
    durations_s = durations * time_base
    if rate and (1 / time_base) % rate > _EXACT:
        durations_s = np.full(len(stamps), (stream.codec_context.frame_size or frame_samples) / rate)
    skipped = _skipped(first)
    origin = stamps[0] if stream.start_time is None else stream.start_time
    first_s = -skipped / rate if skipped and rate else (stamps[0] - origin) * time_base
    summed_s: npt.NDArray[np.float64] = first_s + np.cumsum(durations_s) - durations_s
    stamped_s: npt.NDArray[np.float64] = first_s + (stamps - stamps[0]) * time_base
    strays = np.abs(summed_s - stamped_s).max() > _MAX_DRIFT_S
    return stamped_s if strays and (np.diff(stamps) > 0).all() else summed_s


def _skipped(packet: AudioPacket) -> int:
    """Samples that a decoder drops at the beginning of a packet (AV_PKT_DATA_SKIP_SAMPLES)."""
    if not packet.has_sidedata("skip_samples"):
        return 0
    (samples,) = struct.unpack_from("<I", bytes(packet.get_sidedata("skip_samples")))
    return int(samples)


def _joints(offsets: npt.NDArray[np.int64], keys: list[int]) -> list[int]:
    """The `offsets` of packets where headers change for good, or where an mp3 begins: with a tag, or its length."""
    if not keys or min(offsets) < 0:
        return []
    values = np.asarray(keys)
    starts = np.flatnonzero(np.diff(values, prepend=values[0]))
    lengths = np.diff(starts, append=len(values))
    joints: list[int] = []
    current = int(values[0])
    for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
        key = int(values[start])
        if key == _BEGINNING or (length >= _MIN_RUN and key != current):
            # Headers are as they are from the next packet on.
            current = int(values[start + 1]) if key == _BEGINNING and start + 1 < len(values) else key
            joints.append(int(offsets[start]))
    return joints


def _mp3_key(header: bytes) -> int:
    """Version, layer, rate and whether it is mono, of a frame's header (ISO/IEC 11172-3, section 2.4.1.3)."""
    if header.startswith(b"ID3") or any(name in header for name in (b"Xing", b"Info", b"VBRI")):
        return _BEGINNING
    return (header[1] & 0xFE) << 16 | (header[2] & 0x0C) << 8 | (header[3] >> 6 == 3) if len(header) > 3 else 0


def _adts_key(header: bytes) -> int:
    """Profile, rate and channels of a frame's header (ISO/IEC 13818-7, section 6.2.1)."""
    return (header[2] & 0xFD) << 8 | header[3] & 0xC0 if len(header) > 3 else 0


_BEGINNING = -1
_HEADER_BYTES = 64
# FFmpeg's containers without a structure of their own, in which each packet begins with the header of its frame.
_HEADER_KEYS = {"mp3": _mp3_key, "aac": _adts_key}
