import io

import numpy as np
import pytest
import soundfile

from service.audio import Waveform, WindowSpec, read_recording
from tests.support.audio_files import sweep
from training.evaluation.windows import windows_of

RATE = 16_000


def _served(waveform: Waveform, window_s: float, max_windows: int) -> np.ndarray:
    file = io.BytesIO()
    soundfile.write(file, waveform, RATE, format="WAV", subtype="FLOAT")
    return read_recording(file, WindowSpec(RATE, window_s), max_windows=max_windows).windows


@pytest.mark.parametrize(
    ("duration_s", "count"),
    [(0.7, 1), (1.99, 1), (2.0, 1), (2.1, 1), (2.3, 2), (4.1, 2), (5.00013, 3), (17.3, 3)],
)
def test_the_windows_are_those_of_the_service(duration_s: float, count: int) -> None:
    waveform = sweep(duration_s, RATE)
    windows = windows_of(waveform, WindowSpec(RATE, 2.0), max_windows=3)
    assert windows.shape == (count, 2 * RATE)
    np.testing.assert_array_equal(windows, _served(waveform, 2.0, 3))


def test_silent_windows_are_left_out_as_in_the_service() -> None:
    waveform = sweep(10, RATE)
    waveform[3 * RATE : 7 * RATE] = 0
    windows = windows_of(waveform, WindowSpec(RATE, 2.0), max_windows=3)
    assert len(windows) == 2
    np.testing.assert_array_equal(windows, _served(waveform, 2.0, 3))


@pytest.mark.parametrize("duration_s", [0.1, 5])
def test_recording_that_the_service_refuses_gives_one_window(duration_s: float) -> None:
    waveform = np.zeros(round(duration_s * RATE), np.float32)
    assert windows_of(waveform, WindowSpec(RATE, 2.0), max_windows=3).shape == (1, 2 * RATE)
