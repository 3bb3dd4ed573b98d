"""Compressed audio files, read by FFmpeg's libraries."""

import re
from collections.abc import Iterator
from itertools import chain
from typing import BinaryIO

import av
from av.container import InputContainer
from av.stream import Disposition

from service.audio.files import AudioFile, Block
from service.audio.formats import AV_OPTIONS, FORMATS, SIGNATURES, begins_with_one_of
from service.audio.frames import TimedFrame, join_frames, samples_of
from service.audio.packets import AudioPacket, decoded, index_packets, readable_packets
from service.errors import UndecodableAudio, UnsupportedMedia

# A decoder that starts in the middle needs some packets before its output is right: Opus 80 ms (RFC 7845, section 4.6),
# an mp3 of 8 kb/s the bits of ten packets before (its "reservoir" of 511 bytes).
_PREROLL_S = 0.5
# Where time goes on by so much more than there are samples, some are missing; less is the rounding of time stamps.
_HOLE_S = 0.1
# Damaged packets in a row: after so many the recording has ended. Millions fit into a file, and each costs time.
_MAX_DAMAGED_PACKETS = 1_000
# Places at which a track is listened to, to find one that can be heard.
_PROBES = (0.02, 0.25, 0.5, 0.75, 0.98)
_PROBE_S = 0.5
_MAX_TRACKS = 8
_SILENCE = 1e-4
# Containers whose header names the length that was planned; others guess it from the rate of bits.
_PROMISING = ("mov,mp4", "matroska", "flac", "asf", "caf", "wv")
# A promise of so much more than there is means that the end is missing.
_MISSING_S, _MISSING_SHARE = 1.0, 0.02
_ENCRYPTED = {"drms", "enca"}
# The name of a codec where MP4 (ISO/IEC 14496-12, section 8.5.2: behind the sound handler) and Matroska have it.
_CODEC_NAME = re.compile(rb"hdlr.{8}soun.{1,4000}?stsd.{12}([ -~]{4})|\x86[\x82-\xa0](A_[A-Z0-9_/]{2,30})", re.DOTALL)
_NAME_BYTES = 1 << 20


class FFmpegFile(AudioFile):
    """A file of a container that FFmpeg reads: its audible track, of which the packets are counted at once.

    Raises UnsupportedMedia, UndecodableAudio and what PyAV raises.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._container = _open_container(file)
        try:
            self._choose_track()
        except BaseException:
            self.close()
            raise

    @property
    def joints(self) -> list[int]:
        """Offsets in the file where a recording with other parameters begins."""
        return self._index.joints

    def _choose_track(self) -> None:
        """Take the default track; where there are several, the first that can be heard."""
        tracks = list(self._container.streams.audio)
        if not tracks:
            raise UnsupportedMedia(f"The file holds no audio track. Send {FORMATS}.")
        tracks.sort(key=lambda track: Disposition.default not in track.disposition)
        decodable = [track.index for track in tracks if _is_decodable(track)]
        if not decodable:
            raise _undecodable(self._file)
        problem: UndecodableAudio | None = None
        usable: int | None = None
        for index in decodable[:_MAX_TRACKS]:
            try:
                self._take_track(index)
            except UndecodableAudio as error:
                problem = problem or error
                continue
            if len(decodable) == 1 or self._can_be_heard():
                return
            usable = index if usable is None else usable
        if usable is None:
            assert problem is not None, "each track was tried"
            raise problem
        self._take_track(usable)

    def _take_track(self, index: int) -> None:
        """Decode the first frame of a track, and count its packets."""
        self._reopen(index)
        first = self._first_frame()
        # Asked of a frame, as the header of HE-AAC names half the rate that its decoder gives.
        self.sampling_rate, self.channels = first.sample_rate, first.layout.nb_channels
        self._reopen(index)
        self._index = index_packets(self._container, self._stream, first.samples).heard_from(first)
        self.duration_s = self._end_s()
        promised_s = (self._container.duration or 0) / av.time_base
        is_promise = self._container.format.name.startswith(_PROMISING)
        self.damaged = self._index.damaged or (
            is_promise and promised_s > self.duration_s * (1 + _MISSING_SHARE) + _MISSING_S
        )

    def _first_frame(self) -> av.AudioFrame:
        for packet in readable_packets(self._container, self._stream):
            for frame in decoded(packet) or []:
                return frame
        raise UndecodableAudio("No audio could be decoded from the file. Export it again.")

    def _end_s(self) -> float:
        """Decode the end of the track, of which a decoder drops a part, or holds a part back until then."""
        start_s: float | None = None
        heard_s = 0.0
        for time_s, frame in self._frames(self._index.duration_s):
            start_s = time_s if start_s is None else start_s
            heard_s += frame.samples / frame.sample_rate
        return self._index.duration_s if start_s is None else start_s + heard_s

    def _can_be_heard(self) -> bool:
        """Whether the track holds sound at one of a few places."""
        for share in _PROBES:
            start_s = share * max(0.0, self.duration_s - _PROBE_S)
            if self.read(start_s, _PROBE_S, self.sampling_rate).waveform.std() > _SILENCE:
                return True
        return False

    def blocks(self, start_s: float) -> Iterator[Block]:  # noqa: D102
        skip: int | None = None
        for time_s, frame in join_frames(self._frames(start_s)):
            here = max(0, round((start_s - time_s) * frame.sample_rate))
            if skip is None or here < skip - _HOLE_S * frame.sample_rate:
                skip = here
            if skip < frame.samples:
                places = tuple(channel.name for channel in frame.layout.channels)
                yield Block(samples_of(frame)[:, skip:], frame.sample_rate, places)
            skip = max(0, skip - frame.samples)

    def _frames(self, start_s: float) -> Iterator[TimedFrame]:
        """Frames with the time of their first sample, from one at or before `start_s` on."""
        target = self._index.at(start_s - _PREROLL_S)
        damaged = 0
        for number, shift, packet in self._packets(target):
            # A damaged packet is skipped, as players do; a file of nothing else gives no frame at all.
            if (frames := decoded(packet)) is None:
                self.damaged = True
                damaged += 1
                if damaged > _MAX_DAMAGED_PACKETS:
                    return
                continue
            damaged = 0
            for frame in frames:
                if target == 0:
                    # What a decoder gives first is what is heard first.
                    time_s = 0.0
                elif frame.pts is None or not self._index.is_ordered:
                    time_s = float(self._index.starts_s[number])
                else:
                    time_s = self._index.time_s(frame.pts + shift)
                yield time_s, frame

    def _packets(self, target: int) -> Iterator[tuple[int, int, AudioPacket]]:
        """Packets from number `target` on: their number, what their time stamps lack, and they themselves."""
        number, shift, packets = self._seek(target)
        for packet in packets:
            if packet.size and number < target:
                number += 1
                continue
            yield min(number, len(self._index.stamps) - 1), shift, packet
            number += 1

    def _seek(self, target: int) -> tuple[int, int, Iterator[AudioPacket]]:
        """Go to a packet at or before `target`: its number, what is missing from its time stamp, and the packets.

        A seek may land anywhere, with time stamps that are guessed from the rate of bits. Where it does not land on
        a known packet, packets are counted from the beginning.
        """
        if target > 0 and self._index.is_ordered:
            try:
                self._container.seek(int(self._index.stamps[target]), stream=self._stream)
                packets = readable_packets(self._container, self._stream)
                landed = next(packets, None)
            except (av.FFmpegError, ValueError):
                landed = None
            number = self._index.find(landed) if landed is not None else None
            if landed is not None and landed.pts is not None and number is not None and number <= target:
                return number, int(self._index.stamps[number]) - landed.pts, chain([landed], packets)
        self._reopen(self._stream.index)
        return 0, 0, readable_packets(self._container, self._stream)

    def _reopen(self, index: int) -> None:
        """Go back to the very beginning, whatever the container makes of seeking."""
        self._container.close()
        self._container = _open_container(self._file)
        self._stream = next(track for track in self._container.streams.audio if track.index == index)

    def close(self) -> None:  # noqa: D102
        self._container.close()


def _open_container(file: BinaryIO) -> InputContainer:
    file.seek(0)
    try:
        return av.open(file, mode="r", container_options=AV_OPTIONS, metadata_errors="replace")
    except (av.FFmpegError, ValueError) as error:
        if begins_with_one_of(SIGNATURES, file):
            raise UndecodableAudio("The audio is damaged or incomplete. Send the whole file.") from error
        raise UnsupportedMedia(f"The file is not audio in a known format. Send {FORMATS}.") from error


def _is_decodable(track: av.AudioStream) -> bool:
    # PyAV has no context for a track whose codec FFmpeg does not know, though its types say otherwise.
    return bool(track.codec_context) and track.codec_context.codec_tag not in _ENCRYPTED


def _undecodable(file: BinaryIO) -> UnsupportedMedia:
    """The problem of a file whose tracks nothing here decodes, with the name that the file gives their codec."""
    file.seek(0)
    head = file.read(_NAME_BYTES)
    file.seek(max(len(head), file.seek(0, 2) - _NAME_BYTES))
    match = _CODEC_NAME.search(head + file.read())
    if not match:
        return UnsupportedMedia(f"The audio is encoded in a way that is not known here. Send {FORMATS}.")
    name = (match[1] or match[2]).decode("ascii").strip()
    if name in _ENCRYPTED:
        return UnsupportedMedia(f"The audio is encrypted ({name}). Send a copy without protection.")
    return UnsupportedMedia(f"The audio's codec, {name}, cannot be decoded. Send {FORMATS}.")
