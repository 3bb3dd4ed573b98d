"""Recordings as people have them, made on the spot: each is a function that writes a file's bytes."""

import io
import struct

import av
import numpy as np

from tests.support.audio_files import Waveform, encode, encode_av, sweep

SECONDS = 9.0
RATE = 44_100


def music(seconds: float = SECONDS, rate: int = RATE) -> Waveform:
    """A rising tone over noise, so that a misplaced window is told from the right one."""
    return sweep(seconds, rate)


def stereo(left: Waveform, right: Waveform) -> Waveform:
    """float32 (samples, 2)."""
    return np.stack([left, right], axis=1)


def of_length(header: str, samples: int) -> bytes:
    """A FLAC whose STREAMINFO names another number of samples, or a WAV, AIFF or AU whose header does."""
    data = bytearray(encode(music(), header, RATE))
    if header == "flac":
        (streaminfo,) = struct.unpack(">Q", data[18:26])
        data[18:26] = struct.pack(">Q", streaminfo & ~((1 << 36) - 1) | samples)
    elif header == "wav":
        at = data.index(b"data")
        data[at + 4 : at + 8] = struct.pack("<I", samples)
    elif header == "aiff":
        at = data.index(b"SSND")
        data[at + 4 : at + 8] = struct.pack(">I", samples)
        at = data.index(b"COMM")
        data[at + 10 : at + 14] = struct.pack(">I", samples // 2)
    else:
        data[8:12] = struct.pack(">I", samples)
    return bytes(data)


def unfinished_wav(riff_size: int) -> bytes:
    """A WAV of a recorder that lost power: no size of its data, and a RIFF size of its header or of nothing."""
    data = bytearray(of_length("wav", 0))
    data[4:8] = struct.pack("<I", riff_size)
    return bytes(data)


def stale_wav() -> bytes:
    """A WAV whose sizes are those of its first second, when its recorder last saved them."""
    return of_length("wav", RATE * 2)


def with_chunk(name: bytes, size: int) -> bytes:
    """A WAV with a chunk behind its samples, such as tags with a picture."""
    data = encode(music(), "wav", RATE)
    return data + name + struct.pack("<I", size) + bytes(range(1, 251)) * (size // 250)


def id3(size: int) -> bytes:
    """An ID3v2 tag that is mostly a picture."""
    return b"ID3\4\0\0" + bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0)) + b"\xff\xfb\x90" * (size // 3 + 1)


def tagged(format: str, size: int = 1_500_000) -> bytes:
    """A file behind an ID3v2 tag."""
    rate = 48_000 if format in ("opus", "webm") else RATE
    return id3(size)[: size + 10] + encode(music(rate=rate), format, rate)


def ape_tagged(format: str) -> bytes:
    """A file behind an APEv2 tag."""
    picture = b"\xff\xd8" * 700_000
    return (
        b"APETAGEX"
        + struct.pack("<IIII8x", 2000, len(picture), 1, 0xA000_0000)
        + picture
        + encode(music(), format, RATE)
    )


def joined(*parts: bytes) -> bytes:
    """Files joined byte by byte, as `cat` does."""
    return b"".join(parts)


def default_track(data: bytes, number: int) -> bytes:
    """A Matroska file with one of its tracks marked as the default (element FlagDefault, RFC 9559)."""
    flag = b"\x88\x81\x00"
    *before, rest = data.split(flag, number + 1)
    return flag.join(before) + flag[:2] + b"\x01" + rest


def tracks(*waveforms: Waveform, container: str = "mp4", codec: str = "aac") -> bytes:
    """A file with a track for each waveform."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        streams = [output.add_stream(codec, rate=RATE, layout="mono") for _ in waveforms]
        for stream, waveform in zip(streams, waveforms, strict=True):
            assert isinstance(stream, av.AudioStream)
            frame = av.AudioFrame.from_ndarray(waveform[None], format="fltp", layout="mono")
            frame.sample_rate = RATE
            split = av.AudioResampler(stream.codec_context.format, "mono", RATE, stream.codec_context.frame_size)
            for part in (*split.resample(frame), *split.resample(None)):
                output.mux(stream.encode(part))
            output.mux(stream.encode(None))
    return file.getvalue()


def unknown_codec(data: bytes, name: bytes, track: int = 0) -> bytes:
    """An MP4 one of whose tracks is encoded in a way that nobody decodes."""
    renamed = bytearray(data)
    at = -1
    for _ in range(track + 1):
        at = renamed.index(b"stsd", at + 1)
    renamed[at + 16 : at + 20] = name
    at = renamed.index(b"esds", at)
    renamed[at : at + 4] = b"free"
    return bytes(renamed)


def silence(seconds: float = SECONDS) -> Waveform:
    """Nothing to hear."""
    return np.zeros(round(seconds * RATE), np.float32)


def without_length_frame(format: str = "mp3") -> bytes:
    """An mp3 of an encoder that writes no frame with its length."""
    return encode_av(music(), format, "libmp3lame", RATE, write_xing="0", id3v2_version="0")


def chunk_list(kind: bytes, form: bytes) -> bytes:
    """A RIFF or FORM file of another kind: a picture, a film, the track list of a disc."""
    order = "<" if kind == b"RIFF" else ">"
    content = form + b"VP8 " + struct.pack(f"{order}I", 400) + bytes(range(200)) * 2
    return kind + struct.pack(f"{order}I", len(content)) + content
