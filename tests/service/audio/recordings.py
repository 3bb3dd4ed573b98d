"""Recordings read by the front end, and their likeness to the source."""

import io
import math

import numpy as np
import soxr

from service.audio import (
    Recording,
    Waveform,
    WindowSpec,
    read_recording,
)

RATE = 16_000
WINDOW_S = 2.0
# Encoders put silence before the music, and some containers do not say how much.
CODEC_DELAY_S = 0.05
SWEEP_S = 12.0


def record(data: bytes, *, window_s: float = WINDOW_S, max_windows: int = 3) -> Recording:
    return read_recording(io.BytesIO(data), WindowSpec(RATE, window_s), max_windows=max_windows)


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
