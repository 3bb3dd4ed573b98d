"""Headers of uncompressed files that other programs write: what is read behind and between them."""

import io
import struct
import wave

import numpy as np
import pytest

from service.audio import Waveform, open_audio
from tests.support.audio_files import encode_soundfile

RATE = 16_000
SECONDS = 5
# An odd number of samples, so that the samples of a mono file in 8 or 24 bits have an odd number of bytes.
TONE: Waveform = (0.05 * np.sin(2 * np.pi * 440 * np.arange(SECONDS * RATE + 1) / RATE)).astype(np.float32)
LEVEL = float(TONE.std())


def python_wave(waveform: Waveform, sampling_rate: int, bytes_per_sample: int) -> bytes:
    """A WAV of Python's `wave`, which pads no chunk."""
    file = io.BytesIO()
    samples = (waveform.astype(np.float64) * 2**31).astype("<i4").view(np.uint8).reshape(-1, 4)
    with wave.open(file, "wb") as output:
        output.setnchannels(1)
        output.setsampwidth(bytes_per_sample)
        output.setframerate(sampling_rate)
        output.writeframes(samples[:, 4 - bytes_per_sample :].tobytes())
    return file.getvalue()


def levels(data: bytes) -> list[float]:
    """The levels of a file's halves of 5 s, which must last 10 s together."""
    with open_audio(io.BytesIO(data)) as audio:
        assert audio.duration_s == pytest.approx(2 * SECONDS, abs=0.01)
        return [float(audio.read(at, SECONDS - 0.1, RATE).waveform.std()) for at in (0.0, SECONDS + 0.05)]


@pytest.mark.parametrize("second", [(TONE, RATE, 3), (TONE[: SECONDS * 8_000], 8_000, 2)])
def test_joined_wavs_without_a_pad_byte_are_each_heard(second: tuple[Waveform, int, int]) -> None:
    assert levels(python_wave(TONE, RATE, 3) + python_wave(*second)) == pytest.approx([LEVEL, LEVEL], rel=0.02)


def test_joined_wavs_behind_a_tag_of_an_odd_size_are_each_heard() -> None:
    tag = b"ID3\x03\0\0\0\0\0\x0b" + bytes(11)
    joined = tag + python_wave(TONE[:-1], RATE, 2) + python_wave(TONE[: SECONDS * 8_000], 8_000, 2)
    assert levels(joined) == pytest.approx([LEVEL, LEVEL], rel=0.02)


def test_joined_aus_are_each_heard_at_their_own_rates() -> None:
    parts = (encode_soundfile(TONE, "AU", "PCM_16", rate) for rate in (RATE, RATE // 2))
    with open_audio(io.BytesIO(b"".join(parts))) as audio:
        assert audio.duration_s == pytest.approx(3 * SECONDS, abs=0.01)


@pytest.mark.parametrize("saved_s", [0, 7])
def test_long_silence_behind_a_size_that_is_wrong_does_not_end_the_recording(saved_s: int) -> None:
    # Over a megabyte of zeros.
    parts = [TONE[: saved_s * RATE], np.zeros(35 * RATE, np.float32), TONE]
    data = bytearray(python_wave(np.concatenate(parts), RATE, 2))
    struct.pack_into("<I", data, 40, 2 * RATE * saved_s)
    with open_audio(io.BytesIO(bytes(data))) as audio:
        assert audio.duration_s == pytest.approx(sum(map(len, parts)) / RATE)
