"""Which windows of a recording are heard, and how short ones are filled."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.audio import (
    TAIL_TOLERANCE,
    pad_to_length,
    window_starts,
)
from tests.service.audio.recordings import RATE, WINDOW_S, record
from tests.support.audio_files import encode, sweep


def test_a_gtzan_clip_of_slightly_more_than_a_window_costs_one() -> None:
    recording = record(encode(sweep(30.6, 8_000), "wav", 8_000), window_s=30.0)
    assert len(recording.windows) == 1
    assert recording.duration_s == pytest.approx(30.6)
    assert recording.analysed_s == pytest.approx(30.0)


def test_short_audio_is_repeated_until_it_fills_the_window() -> None:
    source = sweep(0.75, RATE)
    recording = record(encode(source, "wav", RATE))
    assert (recording.duration_s, recording.analysed_s) == (0.75, 0.75)
    whole_frames = source[: 37 * 320]
    assert np.abs(recording.windows[0] - np.resize(whole_frames, 2 * RATE)).max() < 1e-3


def test_a_silent_window_is_left_out_while_another_is_audible() -> None:
    waveform = np.concatenate([np.zeros(RATE * 4, np.float32), sweep(4.0, RATE)])
    recording = record(encode(waveform, "wav", RATE), max_windows=2)
    assert len(recording.windows) == 1
    assert recording.analysed_s == WINDOW_S
    assert recording.windows.std() > 0.1


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


@given(st.integers(1, 2_000), st.integers(1, 5_000))
@settings(deadline=None)
def test_fill_repeats_whole_frames_or_cuts_to_exactly_the_length(length: int, samples: int) -> None:
    waveform = np.arange(length, dtype=np.float32)
    filled = pad_to_length(waveform, samples)
    assert filled.dtype == np.float32
    repeated = length if length >= samples or length < 320 else length - length % 320
    assert filled.tolist() == [index % repeated for index in range(samples)]
