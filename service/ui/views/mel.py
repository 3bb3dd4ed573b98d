"""Mel spectrogram of a waveform, in numpy: the service draws pictures of sound without importing transformers."""

import numpy as np
import numpy.typing as npt

from service.audio import Waveform

Decibels = npt.NDArray[np.float32]
"""float32 (mels, frames): decibels under the loudest, at least -`RANGE_DB`."""

_FLOOR = 1e-10


RANGE_DB = 80
"""Decibels under the loudest that are told apart."""

MIN_HZ = 30.0
"""The lower edge of the lowest band."""


def mel_decibels(waveform: Waveform, sampling_rate: int, *, frame: int, hop: int, mels: int) -> Decibels:
    """Power in `mels` bands of a waveform, float32 (samples,), by Hann windows of `frame` samples every `hop` samples.

    As transformers' `audio_utils.spectrogram` with Slaney-normalised filters on the HTK mel scale.
    """
    half = frame // 2
    padded = np.pad(waveform.astype(np.float64), half, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, frame)[::hop]
    hann = np.hanning(frame + 1)[:-1]
    fft = 1 << (frame - 1).bit_length()
    power = np.abs(np.fft.rfft(frames * hann, fft)) ** 2
    bands = np.maximum(_FLOOR, _filters(fft, sampling_rate, mels) @ power.T)
    decibels = 10 * np.log10(bands)
    relative: Decibels = np.maximum(decibels - decibels.max(), -RANGE_DB).astype(np.float32)
    return relative


def hertz_to_mel(hertz: float) -> float:
    """The HTK formula."""
    return float(2595 * np.log10(1 + hertz / 700))


def _filters(fft: int, sampling_rate: int, mels: int) -> npt.NDArray[np.float64]:
    """float64 (mels, fft // 2 + 1): triangles between neighbouring mel frequencies, each of area one."""
    edges_mel = np.linspace(hertz_to_mel(MIN_HZ), hertz_to_mel(sampling_rate / 2), mels + 2)
    edges = 700 * (10 ** (edges_mel / 2595) - 1)
    bins = np.linspace(0, sampling_rate / 2, fft // 2 + 1)
    widths = np.diff(edges)[:, None]
    rising = (bins - edges[:-2, None]) / widths[:-1]
    falling = (edges[2:, None] - bins) / widths[1:]
    areas = 2 / (edges[2:] - edges[:-2])
    filters: npt.NDArray[np.float64] = np.maximum(0, np.minimum(rising, falling)) * areas[:, None]
    return filters
