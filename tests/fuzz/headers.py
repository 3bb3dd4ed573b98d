"""Hypothesis strategies: headers of wav, aiff, au and flac with any number in every field, before some samples."""

import struct

import numpy as np
from hypothesis import strategies as st

from tests.support.audio_files import encode, sweep

_SAMPLES = np.random.default_rng(0).bytes(40_000)
_FLAC = encode(sweep(1.0, 16_000), "flac", 16_000)


def _number(bits: int, *usual: int) -> st.SearchStrategy[int]:
    """Mostly what files have, so that the other fields are reached too."""
    most = (1 << bits) - 1
    edges = [0, 1, 2, most, most - 1, most >> 1, (most >> 1) + 1]
    return st.sampled_from(usual or edges) | st.sampled_from(edges) | st.integers(0, most)


@st.composite
def wavs(draw: st.DrawFn) -> bytes:
    tag, channels = draw(_number(16, 1, 3, 6, 7, 0x11, 0x55, 0xFFFE)), draw(_number(16, 1, 2, 8))
    rate, bits = draw(_number(32, 16_000, 44_100)), draw(_number(16, 8, 16, 24, 32))
    fields = struct.pack("<HHIIHH", tag, channels, rate, draw(_number(32, 32_000)), draw(_number(16, 2, 4)), bits)
    fields += draw(st.binary(max_size=24))
    chunk = b"fmt " + struct.pack("<I", draw(st.just(len(fields)) | _number(32))) + fields
    extra = draw(st.sampled_from([b"", b"LIST", b"fact", b"cue ", b"smpl", b"bext", b"id3 "]))
    if extra:
        body = draw(st.binary(max_size=64))
        chunk += extra + struct.pack("<I", draw(st.just(len(body)) | _number(32))) + body
    size = draw(_number(32, len(_SAMPLES)))
    kind = draw(st.sampled_from([b"RIFF", b"RIFX", b"RF64"]))
    return (
        kind
        + struct.pack("<I", draw(_number(32, 60_000)))
        + b"WAVE"
        + chunk
        + b"data"
        + struct.pack("<I", size)
        + _SAMPLES
    )


@st.composite
def aiffs(draw: st.DrawFn) -> bytes:
    compressed = draw(st.booleans())
    rate = draw(st.just(bytes.fromhex("400cfa00000000000000")) | st.binary(min_size=10, max_size=10))
    common = (
        struct.pack(">HIH", draw(_number(16, 1, 2)), draw(_number(32, 20_000)), draw(_number(16, 8, 16, 24))) + rate
    )
    if compressed:
        common += draw(st.sampled_from([b"NONE", b"sowt", b"fl32", b"ulaw", b"ima4", b"GSM "]) | st.binary(max_size=12))
    chunk = b"COMM" + struct.pack(">I", draw(st.just(len(common)) | _number(32))) + common
    sound = b"SSND" + struct.pack(
        ">III", draw(_number(32, len(_SAMPLES) + 8)), draw(_number(32, 0)), draw(_number(32, 0))
    )
    form = b"AIFC" if compressed else b"AIFF"
    return b"FORM" + struct.pack(">I", draw(_number(32, 60_000))) + form + chunk + sound + _SAMPLES


@st.composite
def aus(draw: st.DrawFn) -> bytes:
    fields = [_number(32, 24, 28), _number(32, len(_SAMPLES)), _number(32, 1, 3, 6, 23, 27)]
    fields += [_number(32, 8_000, 44_100), _number(32, 1, 2)]
    return draw(st.sampled_from([b".snd", b"dns."])) + struct.pack(">5I", *map(draw, fields)) + _SAMPLES


@st.composite
def flacs(draw: st.DrawFn) -> bytes:
    """STREAMINFO: block and frame sizes, rate, channels, bits, samples; then perhaps a block of another kind."""
    sizes = struct.pack(">HH", draw(_number(16, 4_096)), draw(_number(16, 4_096)))
    sizes += draw(_number(24, 0)).to_bytes(3, "big") + draw(_number(24, 0)).to_bytes(3, "big")
    packed = draw(_number(20, 16_000)) << 44 | draw(_number(3, 0)) << 41 | draw(_number(5, 15)) << 36
    info = sizes + struct.pack(">Q", packed | draw(_number(36, 16_000))) + draw(st.binary(min_size=16, max_size=16))
    blocks = b"fLaC" + bytes([draw(st.sampled_from([0, 0x80]))]) + draw(_number(24, 34)).to_bytes(3, "big") + info
    other = draw(st.binary(max_size=64))
    blocks += bytes([0x80 | draw(_number(7, 1, 3, 4, 5, 6))]) + draw(_number(24, len(other))).to_bytes(3, "big") + other
    return blocks + _FLAC[42:]


HEADERS: st.SearchStrategy[bytes] = wavs() | aiffs() | aus() | flacs()
