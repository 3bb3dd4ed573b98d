"""The audio front end: what each kind of file becomes, how much of it is read, and what is refused."""

import io
import math
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from service.audio import (
    MIN_DURATION_S,
    TAIL_TOLERANCE,
    Recording,
    Waveform,
    WindowSpec,
    open_audio,
    pad_to_length,
    read_recording,
    window_starts,
)
from service.errors import AudioTooShort, SilentAudio, UndecodableAudio, UnsupportedMedia
from tests.support.audio_files import FORMATS, encode, encode_av, sweep

RATE = 16_000
WINDOW_S = 2.0
# Encoders put silence before the music, and some containers do not say how much.
CODEC_DELAY_S = 0.05
SWEEP_S = 12.0


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


def record(data: bytes, *, window_s: float = WINDOW_S, max_windows: int = 3) -> Recording:
    return read_recording(io.BytesIO(data), WindowSpec(RATE, window_s), max_windows=max_windows)


def float_wav(waveform: Waveform, sampling_rate: int = 48_000) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, waveform, sampling_rate, format="WAV", subtype="FLOAT")
    return file.getvalue()


def correlation(window: Waveform, source: Waveform, start_s: float) -> tuple[float, float]:
    """The best correlation of the window with the source around `start_s`, and at which lag in seconds."""
    wanted = soxr.resample(source, 48_000, RATE)[round(start_s * RATE) :][: len(window)]
    window = window[: len(wanted)]
    size = 2 * len(window)
    products = np.fft.irfft(np.fft.rfft(window, size) * np.conj(np.fft.rfft(wanted, size)), size)
    most = round(CODEC_DELAY_S * RATE)
    products = np.concatenate([products[-most:], products[:most]])
    best = int(products.argmax())
    return float(products[best] / math.sqrt(float(window @ window) * float(wanted @ wanted))), (best - most) / RATE


@pytest.mark.parametrize("channels", [1, 2])
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


@pytest.mark.parametrize("format", ["wav", "flac", "ogg", "opus", "mp3", "au", "aiff", "aac", "webm", "wma", "mka"])
def test_a_file_cut_off_in_the_middle_is_classified_by_what_is_there(format: str) -> None:
    data = encode(sweep(SWEEP_S), format)
    recording = record(data[: len(data) // 2])
    # Headers know the length that was planned; what is reported must be what was found.
    assert 0.4 * SWEEP_S < recording.duration_s < 0.65 * SWEEP_S
    assert WINDOW_S * 0.9 < recording.analysed_s <= recording.duration_s


@pytest.mark.parametrize("format", ["m4a", "mp4"])
def test_a_file_cut_off_before_its_index_is_called_damaged_rather_than_unknown(format: str) -> None:
    data = encode(sweep(SWEEP_S), format)
    with pytest.raises(UndecodableAudio, match="damaged"):
        record(data[: len(data) // 2])


@pytest.mark.parametrize("format", ["flac", "ogg", "opus", "m4a", "webm", "wma", "mka"])
def test_a_file_of_a_header_only_is_called_damaged(format: str) -> None:
    with pytest.raises(UndecodableAudio):
        record(encode(sweep(3.0), format)[:100])


def test_a_wav_header_that_lies_about_its_length_is_not_believed() -> None:
    data = bytearray(encode(sweep(5.0), "wav"))
    at = data.index(b"data")
    data[at + 4 : at + 8] = struct.pack("<I", 0x7FFF_FFF0)
    recording = record(bytes(data))
    assert recording.duration_s == pytest.approx(5.0)
    assert len(recording.windows) == 3


def test_a_flac_header_that_lies_about_its_length_is_not_believed() -> None:
    data = bytearray(encode(sweep(5.0), "flac"))
    # The low 36 bits of these eight bytes of STREAMINFO are the number of samples.
    (streaminfo,) = struct.unpack(">Q", data[18:26])
    data[18:26] = struct.pack(">Q", streaminfo & ~((1 << 36) - 1) | 48_000 * 3600)
    recording = record(bytes(data))
    assert recording.duration_s < 10
    assert correlation(recording.windows[0], sweep(5.0), 0.0)[0] > 0.99


def test_a_gtzan_clip_of_slightly_more_than_a_window_costs_one() -> None:
    recording = record(encode(sweep(30.6, 8_000), "wav", 8_000), window_s=30.0)
    assert len(recording.windows) == 1
    assert recording.duration_s == pytest.approx(30.6)
    assert recording.analysed_s == pytest.approx(30.0)


def test_short_audio_is_repeated_until_it_fills_the_window() -> None:
    source = sweep(0.75, RATE)
    recording = record(encode(source, "wav", RATE))
    assert (recording.duration_s, recording.analysed_s) == (0.75, 0.75)
    assert np.abs(recording.windows[0] - np.resize(source, 2 * RATE)).max() < 1e-3


def test_a_silent_window_is_left_out_while_another_is_audible() -> None:
    waveform = np.concatenate([np.zeros(RATE * 4, np.float32), sweep(4.0, RATE)])
    recording = record(encode(waveform, "wav", RATE), max_windows=2)
    assert len(recording.windows) == 1
    assert recording.analysed_s == WINDOW_S
    assert recording.windows.std() > 0.1


def test_float_samples_over_full_scale_are_music() -> None:
    assert record(float_wav(1000 * sweep(3.0))).windows.std() > 100


def test_what_is_no_audio_is_unsupported() -> None:
    png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\2\0\0\0" + bytes(1000)
    for data in (b"hello world " * 100, png, bytes(10_000), np.random.default_rng(0).bytes(100_000)):
        with pytest.raises(UnsupportedMedia, match="mp3, m4a"):
            record(data)


def test_a_video_without_sound_is_unsupported() -> None:
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as output:
        stream = output.add_stream("mpeg4", rate=10)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        output.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")))
        output.mux(stream.encode(None))
    with pytest.raises(UnsupportedMedia, match="no audio track"):
        record(file.getvalue())


def test_an_empty_file_is_undecodable() -> None:
    with pytest.raises(UndecodableAudio, match="empty"):
        record(b"")


@pytest.mark.parametrize(
    "playlist",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{path}\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{path}\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n{path}\n",
        "ffconcat version 1.0\nfile '{path}'\n",
        "[playlist]\nFile1={path}\nNumberOfEntries=1\nVersion=2\n",
        "<ASX VERSION='3.0'><ENTRY><REF HREF='{path}'/></ENTRY></ASX>",
    ],
)
def test_a_playlist_is_refused_and_opens_nothing(playlist: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret.wav"
    secret.write_bytes(encode(sweep(3.0), "wav"))
    # Reading a file sets its access time when that is older than the last change.
    os.utime(secret, (secret.stat().st_mtime - 60,) * 2)
    before = secret.stat().st_atime_ns
    with pytest.raises(UnsupportedMedia):
        record(playlist.format(path=secret).encode())
    assert secret.stat().st_atime_ns == before


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


def test_the_file_stays_open() -> None:
    for format in ("wav", "m4a"):
        file = io.BytesIO(encode(sweep(1.0), format))
        with open_audio(file) as audio:
            assert audio.duration_s == pytest.approx(1.0, abs=CODEC_DELAY_S)
        assert not file.closed


DURATIONS = st.floats(0, 1e6, allow_nan=False)
WINDOWS = st.floats(0.5, 600)
COUNTS = st.integers(1, 50)


@given(DURATIONS, WINDOWS, COUNTS)
@settings(deadline=None)
def test_windows_are_few_ordered_evenly_spread_and_inside(duration_s: float, window_s: float, most: int) -> None:
    starts = window_starts(duration_s, window_s, most)
    assert 1 <= len(starts) <= most
    assert starts[0] == 0.0
    assert starts == sorted(starts)
    assert starts[-1] + window_s <= max(duration_s, window_s) * (1 + 1e-12)
    if len(starts) > 1:
        assert starts[-1] + window_s == pytest.approx(duration_s)
        assert np.diff(starts) == pytest.approx(starts[1])


@given(DURATIONS, WINDOWS)
@settings(deadline=None)
def test_enough_windows_cover_all_but_the_slack(duration_s: float, window_s: float) -> None:
    starts = window_starts(duration_s, window_s, 10_000_000)
    assert len(starts) == max(1, math.ceil(duration_s / window_s - TAIL_TOLERANCE))
    assert duration_s <= (len(starts) + TAIL_TOLERANCE) * window_s * (1 + 1e-12)


@given(st.integers(1, 500), st.integers(1, 2_000))
@settings(deadline=None)
def test_fill_repeats_or_cuts_to_exactly_the_length(length: int, samples: int) -> None:
    waveform = np.arange(length, dtype=np.float32)
    filled = pad_to_length(waveform, samples)
    assert filled.dtype == np.float32
    assert filled.tolist() == [index % length for index in range(samples)]
