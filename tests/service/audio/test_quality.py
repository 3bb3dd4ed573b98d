"""Short, silent and impossible audio."""

import io
import struct

import numpy as np
import pytest
import soundfile

from service.audio import (
    MIN_DURATION_S,
    Waveform,
)
from service.errors import AudioTooShort, SilentAudio, UndecodableAudio
from tests.service.audio.recordings import record
from tests.support.audio_files import FORMATS, encode, sweep


def float_wav(waveform: Waveform, sampling_rate: int = 48_000) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, waveform, sampling_rate, format="WAV", subtype="FLOAT")
    return file.getvalue()


def test_float_samples_over_full_scale_are_music() -> None:
    assert record(float_wav(1000 * sweep(3.0))).windows.std() > 100


@pytest.mark.parametrize("format", FORMATS)
def test_audio_of_ten_milliseconds_is_too_short(format: str) -> None:
    # The decoder of WMA keeps its first packet to itself, and there is no second.
    nothing = format == "wma"
    with pytest.raises(
        UndecodableAudio if nothing else AudioTooShort,
        match="No audio could be decoded" if nothing else f"at least {MIN_DURATION_S} s",
    ):
        record(encode(sweep(0.01), format))


def test_a_wav_without_samples_is_too_short() -> None:
    with pytest.raises(AudioTooShort):
        record(encode(sweep(0.0), "wav"))


@pytest.mark.parametrize("sampling_rate", [8_000, 16_000, 22_050, 44_100, 192_000])
@pytest.mark.parametrize("level", [0.0, 0.5, -1.0])
def test_silence_and_a_constant_are_silent(level: float, sampling_rate: int) -> None:
    with pytest.raises(SilentAudio):
        record(float_wav(np.full(3 * sampling_rate, level, np.float32), sampling_rate))


@pytest.mark.parametrize("sample", [np.nan, np.inf, -np.inf, 1e30, 3e38])
def test_samples_that_are_no_sound_are_undecodable(sample: float) -> None:
    waveform = sweep(3.0)
    waveform[1_000] = sample
    with pytest.raises(UndecodableAudio, match="samples"):
        record(float_wav(waveform))


def test_clipped_audio_is_heard_as_it_is() -> None:
    clipped = np.clip(10 * sweep(3.0), -1, 1)
    recording = record(encode(clipped, "wav"))
    assert np.abs(recording.windows).max() <= 1.2, "what the resampler overshoots at a corner, and no more"
    assert recording.analysed_s == pytest.approx(3.0, abs=0.01)


def test_20_ms_are_too_short() -> None:
    with pytest.raises(AudioTooShort, match=r"The audio has 0\.02 s"):
        record(encode(sweep(0.02), "wav"))


@pytest.mark.parametrize("sampling_rate", [10, 2_000_000])
def test_a_rate_that_no_recording_has_is_undecodable(sampling_rate: int) -> None:
    data = bytearray(encode(sweep(1.0), "wav"))
    data[24:28] = struct.pack("<I", sampling_rate)
    with pytest.raises(UndecodableAudio, match="Hz is not supported"):
        record(bytes(data))
