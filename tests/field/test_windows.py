"""Every window equals the same seconds of a plain decode from the start: 300 generated files, none downloaded."""

import io
import struct
from contextlib import suppress

import av
import numpy as np
import pytest
import soundfile
import soxr

from service.audio import open_audio
from service.errors import AudioError
from tests.support.audio_files import Waveform, encode_av
from tests.support.variants import usual

FILES = 3
MANY_FILES = 50
WINDOW_S = 0.7
RATE = 16_000

# Container, codec, rates of its encoder, and how close a decoder that starts in the middle comes to one that does not:
# AAC draws noise in place of noise, and Opus predicts from what was before.
FORMATS: dict[str, tuple[str, str, tuple[int, ...], float]] = {
    "wav": ("wav", "pcm_s16le", (8_000, 11_025, 44_100, 96_000), 1e-6),
    "wav24": ("wav", "pcm_s24le", (22_050, 48_000), 1e-6),
    "flac": ("flac", "flac", (8_000, 22_050, 44_100, 96_000), 1e-6),
    "mp3": ("mp3", "libmp3lame", (8_000, 16_000, 22_050, 44_100, 48_000), 1e-4),
    "aac": ("adts", "aac", (8_000, 22_050, 44_100, 96_000), 2e-3),
    "m4a": ("ipod", "aac", (8_000, 16_000, 44_100, 48_000), 2e-3),
    "mka": ("matroska", "aac", (16_000, 44_100, 48_000), 2e-3),
    "flv": ("flv", "aac", (22_050, 44_100), 2e-3),
    "ts": ("mpegts", "aac", (44_100, 48_000), 2e-3),
    "opus": ("ogg", "libopus", (48_000,), 2e-3),
    "webm": ("webm", "libopus", (48_000,), 2e-3),
    "wma": ("asf", "wmav2", (22_050, 44_100), 1e-4),
}


def tones(seconds: float, rate: int, channels: int, draw: np.random.Generator) -> Waveform:
    """Tones that rise, without noise: AAC replaces noise by another, which a decoder draws anew after a seek.

    Channels have tones of their own, as those of one pitch may cancel each other, and are not mixed then.
    """
    time_s = np.arange(round(seconds * rate)) / rate
    parts = [
        0.2 * np.sin(2 * np.pi * (base + draw.uniform(5, 15) * time_s) * time_s + channel)
        for channel in range(channels)
        for base in draw.uniform(100, 400, 2) + 500 * channel
    ]
    waveform: Waveform = np.asarray(parts, np.float32).reshape(channels, 2, -1).sum(axis=1).T
    return waveform[:, 0] if channels == 1 else waveform


def plain_decode(data: bytes) -> tuple[Waveform, int]:
    """All samples from the first to the last, mono, as FFmpeg's decoder gives them, and their rate."""
    frames, rate = [], 0
    with av.open(io.BytesIO(data), "r") as container:
        planar = av.AudioResampler(format="fltp")
        # An Ogg file that is cut in the middle of a page ends with an error.
        with suppress(av.EOFError):
            for packet in container.demux(audio=0):
                for frame in _decoded(packet):
                    rate = frame.sample_rate
                    frames += [part.to_ndarray().mean(axis=0) for part in planar.resample(frame)]
    return np.concatenate(frames), rate


def _decoded(packet: "av.Packet[av.AudioStream]") -> list[av.AudioFrame]:
    try:
        return packet.decode()
    except av.InvalidDataError:
        return []


def generate(format: str, draw: np.random.Generator) -> bytes:
    """A file of the format with a drawn rate, length, number of channels and size of blocks; some are cut, and some
    headers name another length."""
    container, codec, rates, _ = FORMATS[format]
    rate = int(draw.choice(rates))
    waveform = tones(draw.uniform(2.0, 7.0), rate, int(draw.integers(1, 3)), draw)
    options = {"write_xing": str(draw.integers(0, 2))} if format == "mp3" else {}
    data = encode_av(waveform, container, codec, rate, **options)
    if format == "flac" and draw.random() < 0.5:
        file = io.BytesIO()
        soundfile.write(file, waveform, rate, format="FLAC", subtype="PCM_16")
        data = file.getvalue()
    if format == "flac" and draw.random() < 0.5:
        (streaminfo,) = struct.unpack(">Q", data[18:26])
        samples = int(draw.integers(0, 1 << 30))
        data = data[:18] + struct.pack(">Q", streaminfo & ~((1 << 36) - 1) | samples) + data[26:]
    if draw.random() < 0.3 and container != "ipod":
        data = data[: round(len(data) * draw.uniform(0.7, 1.0))]
    return data


@pytest.mark.parametrize("files", [FILES, pytest.param(MANY_FILES, marks=pytest.mark.thorough)])
@pytest.mark.parametrize("format", usual("mp3", "opus", "m4a", "flac", of=FORMATS))
def test_every_window_equals_a_plain_decode(format: str, files: int) -> None:
    draw = np.random.default_rng(list(format.encode()))
    for number in range(files):
        data = generate(format, draw)
        expected, rate = plain_decode(data)
        with open_audio(io.BytesIO(data)) as audio:
            assert audio.sampling_rate == rate
            # A packet of FLAC that is cut in the middle is whole to the parser and broken to the decoder.
            assert audio.duration_s == pytest.approx(len(expected) / rate, abs=0.15)
            for start_s in draw.uniform(0, max(0.1, audio.duration_s - WINDOW_S), 3):
                assert (
                    _difference(audio.read(start_s, WINDOW_S, RATE).waveform, expected, rate, start_s)
                    < (FORMATS[format][3])
                ), f"file {number}, {start_s} s"


def _difference(window: Waveform, expected: Waveform, rate: int, start_s: float) -> float:
    """The largest difference from the same seconds, cut and resampled as windows are."""
    start = round(start_s * rate)
    same = expected[start : start + int(np.ceil((WINDOW_S + 0.05) * rate))]
    if rate != RATE:
        same = soxr.resample(same, rate, RATE, quality="HQ")
    same = same[: len(window)]
    assert len(same) == len(window)
    return float(np.abs(window - same).max(initial=0.0))


def test_windows_are_the_same_read_in_reverse_order() -> None:
    draw = np.random.default_rng(0)
    for format in FORMATS:
        data = generate(format, draw)
        try:
            audio = open_audio(io.BytesIO(data))
        except AudioError:
            continue
        with audio:
            starts = np.linspace(0, max(0.0, audio.duration_s - WINDOW_S), 4)
            forward = [audio.read(start_s, WINDOW_S, RATE).waveform for start_s in starts]
            backward = [audio.read(start_s, WINDOW_S, RATE).waveform for start_s in reversed(starts)]
            for one, other in zip(forward, reversed(backward), strict=True):
                assert np.abs(one - other).max() < FORMATS[format][3]
