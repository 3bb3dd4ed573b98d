from collections.abc import Callable

import numpy as np
import pytest

from service.audio import Waveform
from tests.support.audio_files import sweep
from training.evaluation import distortions

RATE = 16_000


def _tone(frequency_hz: float, duration_s: float = 4.0) -> Waveform:
    time_s = np.arange(round(duration_s * RATE)) / RATE
    return (0.5 * np.sin(2 * np.pi * frequency_hz * time_s)).astype(np.float32)


def _peak_hz(waveform: Waveform) -> float:
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))
    return float(spectrum.argmax() * RATE / len(waveform))


def _level_db(waveform: Waveform) -> float:
    return float(10 * np.log10(np.mean(np.square(waveform, dtype=np.float64))))


def _rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("sampling_rate", [16_000, 44_100])
def test_mp3_is_aligned_and_lossy(sampling_rate: int) -> None:
    waveform = sweep(5.0123, sampling_rate)
    decoded = distortions.mp3(waveform, sampling_rate)
    assert decoded.shape == waveform.shape
    # Padded to twice the length, so that the correlation does not wrap; the second half holds the negative lags.
    spectra = [np.fft.rfft(each, 2 * len(waveform)) for each in (decoded, waveform)]
    lag = int(np.fft.irfft(spectra[0] * spectra[1].conj()).argmax())
    assert min(lag, 2 * len(waveform) - lag) <= 0.001 * sampling_rate
    assert 10 < _level_db(waveform) - _level_db(decoded - waveform) < 60


def test_mp3_with_fewer_bits_is_worse() -> None:
    waveform = sweep(3, RATE)
    fine, coarse = (_level_db(distortions.mp3(waveform, RATE, kbps) - waveform) for kbps in (64, 16))
    assert coarse > fine + 3


@pytest.mark.parametrize(
    ("frequency_hz", "least_db", "most_db"), [(100, 40, 200), (1_000, -0.5, 0.5), (6_000, 40, 200)]
)
def test_phone_band_attenuates_what_lies_outside(frequency_hz: float, least_db: float, most_db: float) -> None:
    tone = _tone(frequency_hz)
    # The first moments hold the filter's own settling.
    passed = distortions.phone_band(tone, RATE)[RATE:]
    assert least_db < _level_db(tone) - _level_db(passed) < most_db


@pytest.mark.parametrize("snr_db", [0, 10, 40])
def test_noise_has_the_ratio_asked_for(snr_db: float) -> None:
    waveform = _tone(440)
    added = distortions.noise(waveform, snr_db, _rng()) - waveform
    assert _level_db(waveform) - _level_db(added) == pytest.approx(snr_db, abs=0.1)


@pytest.mark.parametrize("semitones", [-2, 2, 7])
def test_pitch_shift_moves_a_tone_and_keeps_its_length(semitones: int) -> None:
    tone = _tone(440)
    shifted = distortions.pitch_shift(tone, RATE, semitones)
    assert shifted.shape == tone.shape
    assert _peak_hz(shifted) == pytest.approx(440 * 2 ** (semitones / 12), rel=0.003)


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_tempo_changes_the_length_and_keeps_the_pitch(factor: float) -> None:
    tone = _tone(440)
    stretched = distortions.tempo(tone, RATE, factor)
    assert len(stretched) == round(len(tone) / factor)
    assert _peak_hz(stretched) == pytest.approx(440, rel=0.003)


def test_tempo_moves_events_in_proportion() -> None:
    waveform = np.concatenate([_tone(440, 2), np.zeros(2 * RATE, np.float32)])
    for factor in (0.9, 1.1):
        loud = np.abs(distortions.tempo(waveform, RATE, factor)) > 0.1
        assert np.flatnonzero(loud)[-1] / RATE == pytest.approx(2 / factor, abs=0.05)


@pytest.mark.parametrize(
    "distort",
    [
        lambda waveform: distortions.mp3(waveform, RATE),
        lambda waveform: distortions.phone_band(waveform, RATE),
        lambda waveform: distortions.noise(waveform, 10, _rng()),
        lambda waveform: distortions.pitch_shift(waveform, RATE, 2),
        lambda waveform: distortions.tempo(waveform, RATE, 1.1),
    ],
    ids=["mp3", "phone_band", "noise", "pitch_shift", "tempo"],
)
def test_every_distortion_is_repeatable_float32_and_leaves_its_input_alone(
    distort: Callable[[Waveform], Waveform],
) -> None:
    waveform = sweep(2, RATE)
    before = waveform.copy()
    first, again = distort(waveform), distort(waveform)
    assert first.dtype == np.float32
    assert first.ndim == 1
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(waveform, before)
