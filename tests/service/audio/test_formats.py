"""What each kind of audio file becomes, and how much of it is read."""

import io

import numpy as np
import pytest
import soxr

from service.audio import (
    WindowSpec,
    open_audio,
    read_recording,
    window_starts,
)
from tests.service.audio.recordings import CODEC_DELAY_S, RATE, SWEEP_S, WINDOW_S, correlation, record
from tests.support.audio_files import FORMATS, encode, encode_av, encode_soundfile, sweep


class CountingFile(io.BytesIO):
    """A file that knows how much of it was read."""

    bytes_read = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.bytes_read += len(data)
        return data

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        size = super().readinto(buffer)
        self.bytes_read += size
        return size


@pytest.mark.parametrize("channels", [2, pytest.param(1, marks=pytest.mark.thorough)])
@pytest.mark.parametrize("format", FORMATS)
def test_every_format_gives_the_right_samples_at_the_right_windows(format: str, channels: int) -> None:
    source = sweep(SWEEP_S)
    # The second channel is quieter, so that taking one of them instead of their mean shows in the level.
    waveform = source if channels == 1 else np.stack([source, source / 2], axis=1)
    recording = record(encode(waveform, format))
    assert recording.windows.shape == (3, WINDOW_S * RATE)
    assert recording.windows.dtype == np.float32
    assert recording.duration_s == pytest.approx(SWEEP_S, abs=CODEC_DELAY_S)
    assert recording.analysed_s == pytest.approx(3 * WINDOW_S, abs=CODEC_DELAY_S)
    for start_s, window in zip(window_starts(SWEEP_S, WINDOW_S, 3), recording.windows, strict=True):
        similarity, lag_s = correlation(window, source, start_s)
        # A delay of 50 ms leaves 0.975 in common; a window at another place has less than 0.2.
        assert similarity > 0.96, f"window at {start_s} s, lag {lag_s * 1e3:.0f} ms"
        level = float(window.std()) / float(source.std())
        assert level == pytest.approx(1.0 if channels == 1 else 0.75, rel=0.08)


@pytest.mark.parametrize("format", ["wav", "flac", "ogg", "mp3", "au", "aiff"])
def test_formats_that_say_their_length_are_cut_to_the_sample(format: str) -> None:
    source = sweep(SWEEP_S)
    recording = record(encode(source, format))
    for start_s, window in zip(window_starts(SWEEP_S, WINDOW_S, 3), recording.windows, strict=True):
        similarity, lag_s = correlation(window, source, start_s)
        assert (similarity > 0.99, lag_s) == (True, 0.0)


@pytest.mark.parametrize(
    ("format", "subtype"),
    [("WAV", "GSM610"), ("WAV", "G721_32"), ("WAV", "NMS_ADPCM_16"), ("AIFF", "GSM610"), ("AU", "G723_24")],
)
def test_windows_of_files_in_which_nobody_can_seek_are_at_their_places(format: str, subtype: str) -> None:
    source = sweep(SWEEP_S, 8_000)
    recording = record(encode_soundfile(source, format, subtype, 8_000))
    for start_s, window in zip(window_starts(recording.duration_s, WINDOW_S, 3), recording.windows, strict=True):
        assert correlation(window, soxr.resample(source, 8_000, 48_000), start_s)[0] > 0.9


def test_a_file_in_which_nobody_can_seek_is_read_once_for_all_its_windows() -> None:
    file = CountingFile(encode_soundfile(sweep(60.0, 8_000), "WAV", "GSM610", 8_000))
    recording = read_recording(file, WindowSpec(RATE, WINDOW_S), max_windows=20)
    assert len(recording.windows) == 20
    assert file.bytes_read < 3 * len(file.getvalue())


@pytest.mark.parametrize("sampling_rate", [8_000, 16_000, 22_050, 44_100, 96_000, 192_000])
def test_any_rate_becomes_the_models(sampling_rate: int) -> None:
    tone = sweep(3.0, sampling_rate)
    window = record(encode(tone, "wav", sampling_rate), max_windows=1).windows[0]
    expected = soxr.resample(tone, sampling_rate, RATE)[: len(window)]
    inside = slice(RATE // 10, -RATE // 10)
    assert np.abs(window - expected)[inside].max() < 2e-3


def test_surround_channels_become_the_standard_downmix() -> None:
    source = sweep(3.0)
    # Front left and right, centre, low frequencies, back left and right, as WAV orders them.
    channels = np.stack([source * gain for gain in (1.0, 0.5, 0.25, 1.0, 0.5, 0.5)], axis=1)
    window = record(encode(channels, "wav"), max_windows=1).windows[0]
    weights = np.asarray([1, 1, np.sqrt(2), 0, np.sqrt(0.5), np.sqrt(0.5)])
    gain = weights @ (1.0, 0.5, 0.25, 1.0, 0.5, 0.5) / weights.sum()
    expected = gain * soxr.resample(source, 48_000, RATE)[: len(window)]
    assert np.abs(window - expected)[: -RATE // 10].max() < 2e-3


# Compressed files are read once for joined recordings, and once to count their packets.
@pytest.mark.thorough
@pytest.mark.parametrize(("format", "times"), [("wav", 0.5), ("flac", 2.5), ("mp3", 2.5), ("m4a", 2.5), ("webm", 2.5)])
def test_long_recording_is_read_a_bounded_number_of_times(format: str, times: float) -> None:
    file = CountingFile(encode(sweep(200.0, 16_000), format, 16_000))
    recording = read_recording(file, WindowSpec(RATE, WINDOW_S), max_windows=2)
    assert len(recording.windows) == 2
    assert file.bytes_read < times * len(file.getvalue())


def test_a_browsers_live_webm_has_its_length_measured() -> None:
    source = sweep(SWEEP_S)
    recording = record(encode_av(source, "webm", "libopus", live="1"))
    assert recording.duration_s == pytest.approx(SWEEP_S, abs=CODEC_DELAY_S)
    for start_s, window in zip(window_starts(SWEEP_S, WINDOW_S, 3), recording.windows, strict=True):
        assert correlation(window, source, start_s)[0] > 0.98


def test_an_mp3_without_a_length_in_its_header_is_read() -> None:
    recording = record(encode_av(sweep(SWEEP_S), "mp3", "mp3", write_xing="0"))
    assert recording.duration_s == pytest.approx(SWEEP_S, abs=0.1)
    assert len(recording.windows) == 3


def test_the_file_stays_open() -> None:
    for format in ("wav", "m4a"):
        file = io.BytesIO(encode(sweep(1.0), format))
        with open_audio(file) as audio:
            assert audio.duration_s == pytest.approx(1.0, abs=CODEC_DELAY_S)
        assert not file.closed
