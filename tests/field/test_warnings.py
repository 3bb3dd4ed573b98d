"""Warnings about recordings that are hard to judge: each where it belongs, none on clean music."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx2
import numpy as np
import pytest
import soxr
from scipy import signal

from service.audio import WindowSpec, read_recording
from service.audio.downmix import mix
from tests.field.recipes import stereo
from tests.support.audio_files import Waveform, encode
from tests.support.service_process import Start
from training.synthetic.render import GENRES, SAMPLING_RATE, render
from training.synthetic.render import encode as encode_clip

SPEC = WindowSpec(16_000, 3.0)


def codes(data: bytes, window_s: float = SPEC.length_s) -> set[str]:
    recording = read_recording(io.BytesIO(data), WindowSpec(SPEC.sampling_rate, window_s), max_windows=3)
    assert all(warning.detail.endswith(".") for warning in recording.warnings)
    return {warning.code for warning in recording.warnings}


@pytest.fixture(scope="module")
def clip() -> Waveform:
    return np.asarray(render("rock", 900, 9.0), np.float32)


def wav(waveform: Waveform, rate: int = SAMPLING_RATE) -> bytes:
    return encode(waveform, "wav", rate)


def _band(waveform: Waveform, low_hz: float, high_hz: float) -> Waveform:
    filter = signal.butter(6, [low_hz, high_hz], "bandpass", fs=SAMPLING_RATE, output="sos")
    filtered: Waveform = signal.sosfilt(filter, waveform).astype(np.float32)
    return filtered


def _clipped(waveform: Waveform, gain_db: float) -> Waveform:
    return np.asarray(np.clip(waveform * 10 ** (gain_db / 20), -1, 1), np.float32)


def _at_level(waveform: Waveform, dbfs: float) -> Waveform:
    return np.asarray(waveform / waveform.std() * 10 ** (dbfs / 20), np.float32)


def _with_pauses(waveform: Waveform) -> Waveform:
    """One second in three."""
    sounds = np.arange(len(waveform)) % (3 * SAMPLING_RATE) < SAMPLING_RATE
    return waveform * sounds.astype(np.float32)


WARNED: dict[str, tuple[Callable[[Waveform], bytes], str]] = {
    "clipped by 6 dB": (lambda clip: wav(_clipped(clip, 6)), "clipped"),
    "clipped by 12 dB, then quieter": (lambda clip: wav(_clipped(clip, 12) * np.float32(0.3)), "clipped"),
    "one channel clipped": (lambda clip: wav(stereo(clip, _clipped(clip, 12))), "clipped"),
    "at -50 dBFS": (lambda clip: wav(_at_level(clip, -50)), "quiet"),
    "at -60 dBFS as mp3": (lambda clip: encode(_at_level(clip, -60), "mp3", SAMPLING_RATE), "quiet"),
    "at 8 kHz": (lambda clip: wav(soxr.resample(clip, SAMPLING_RATE, 8_000), 8_000), "narrow-band"),
    "over a telephone": (lambda clip: wav(_band(clip, 300, 3_400)), "narrow-band"),
    "mostly pauses": (lambda clip: wav(_with_pauses(clip)), "mostly-silent"),
    "two thirds digital silence": (
        lambda clip: wav(np.concatenate([clip[: len(clip) // 3], np.zeros(2 * len(clip) // 3, np.float32)])),
        "mostly-silent",
    ),
    "inverted channel": (lambda clip: wav(stereo(clip, -clip)), "antiphase"),
    "cut off": (lambda clip: encode(clip, "flac", SAMPLING_RATE)[:150_000], "damaged"),
    "wav cut off": (lambda clip: wav(clip)[:200_000], "damaged"),
    "m4a with a hole": (lambda clip: _with_hole(encode(clip, "m4a", SAMPLING_RATE)), "damaged"),
    "mp3 with a hole": (lambda clip: _with_hole(encode(clip, "mp3", SAMPLING_RATE)), "damaged"),
    "of a second": (lambda clip: wav(clip[:SAMPLING_RATE]), "short"),
}


def _with_hole(data: bytes) -> bytes:
    """A file some of whose bytes were lost on the way."""
    at = len(data) // 8
    return data[:at] + np.random.default_rng(0).bytes(len(data) // 4) + data[at + len(data) // 4 :]


@pytest.mark.parametrize("name", WARNED)
def test_recording_is_answered_with_its_warning(name: str, clip: Waveform) -> None:
    recipe, code = WARNED[name]
    assert code in codes(recipe(clip))


@pytest.mark.parametrize("genres", [GENRES[:1], pytest.param(GENRES, marks=pytest.mark.thorough)], ids=["one", "all"])
@pytest.mark.parametrize("format", ["wav", "flac", "mp3", "m4a", "opus", "webm"])
def test_clean_synthetic_music_has_no_warning(format: str, genres: Sequence[str]) -> None:
    for genre in genres:
        clip = np.asarray(render(genre, 901, 6.0), np.float32)
        waveform = soxr.resample(clip, SAMPLING_RATE, 48_000)
        assert codes(encode(waveform, format, 48_000)) == set(), genre
        assert codes(encode_clip(clip, "flac"), window_s=6.0) == set(), genre


@pytest.mark.parametrize(("hz", "level"), [(440, 0.1), (110, 0.1), (55, 0.5), (440, 1.0)])
def test_a_clean_tone_is_not_called_clipped(hz: int, level: float) -> None:
    time_s = np.arange(4 * SAMPLING_RATE) / SAMPLING_RATE
    assert "clipped" not in codes(wav((level * np.sin(2 * np.pi * hz * time_s)).astype(np.float32)))


NOISE = np.random.default_rng(0).standard_normal((8, 44_100)).astype(np.float32)


@pytest.mark.parametrize(
    ("channels", "places"),
    [
        (NOISE[:1], ()),
        (NOISE[:2], ("FL", "FR")),
        (np.stack([NOISE[0], 0 * NOISE[0]]), ("FL", "FR")),
        (np.stack([NOISE[0], NOISE[0]]), ()),
        (np.stack([NOISE[0] + 0.3 * NOISE[1], NOISE[0] - 0.3 * NOISE[1]]), ()),
        (NOISE[:3], ()),
        (NOISE[:5], ("NONE",) * 5),
    ],
)
def test_channels_that_do_not_cancel_become_their_mean(channels: Waveform, places: tuple[str, ...]) -> None:
    mixed = mix(channels, places, 44_100)
    assert not mixed.antiphase
    assert np.abs(mixed.waveform - channels.mean(axis=0)).max() < 1e-6


@pytest.mark.parametrize(
    "channels",
    [
        np.stack([NOISE[0], -NOISE[0]]),
        np.stack([0.8 * NOISE[0], -NOISE[0]]),
        np.stack([NOISE[0] + 0.1 * NOISE[1], -NOISE[0] + 0.1 * NOISE[1]]),
        np.stack([NOISE[0], -NOISE[0], NOISE[0], -NOISE[0]]),
        np.stack([NOISE[0], np.concatenate([NOISE[0][:20_000], -NOISE[0][20_000:]])]),
    ],
)
def test_channels_that_cancel_leave_the_loudest(channels: Waveform) -> None:
    mixed = mix(channels, (), 44_100)
    assert mixed.antiphase
    assert any(np.array_equal(mixed.waveform, channel) for channel in channels)
    assert mixed.waveform.std() >= channels.std(axis=1).max() * 0.89


def test_first_of_two_inverted_channels_is_used() -> None:
    channels = np.stack([NOISE[0], -1.0001 * NOISE[0]])
    assert np.array_equal(mix(channels, (), 44_100).waveform, NOISE[0])


def test_antiphase_is_found_in_surround() -> None:
    silent = np.zeros_like(NOISE[0])
    channels = np.stack([NOISE[0], -NOISE[0], silent, silent, silent, silent])
    assert mix(channels, ("FL", "FR", "FC", "LFE", "BL", "BR"), 44_100).antiphase
    only_low = np.stack([silent, silent, silent, NOISE[0], silent, silent])
    assert mix(only_low, ("FL", "FR", "FC", "LFE", "BL", "BR"), 44_100).waveform.std() > 0.7


@pytest.mark.thorough
def test_service_warns_in_its_answer_and_counts_it(start: Start, model_folder: Path, clip: Waveform) -> None:
    service = start(MODEL_ID=str(model_folder))
    service.wait_for("/readyz")
    answers = [service.classify(data).json() for data in (wav(clip), wav(stereo(clip, -clip)))]
    # The windows of this model are longer than twice the clip.
    assert [[warning["code"] for warning in answer["warnings"]] for answer in answers] == [
        ["short"],
        ["antiphase", "short"],
    ]
    metrics = httpx2.get(f"{service.url}/metrics").text
    assert 'genre_warnings_total{code="short"} 2.0' in metrics
    assert 'genre_warnings_total{code="antiphase"} 1.0' in metrics
    assert 'genre_warnings_total{code="clipped"} 0.0' in metrics
