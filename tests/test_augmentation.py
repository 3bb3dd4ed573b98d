from typing import get_args

import numpy as np
import pytest
import torch

from service.audio import Waveform
from tests.audio_files import sweep
from training import distortions
from training.augmentation import Augmentation, Kind

RATE = 16_000
KINDS: tuple[Kind, ...] = get_args(Kind)


def _draws(augmentation: Augmentation, waveform: Waveform, count: int) -> list[Waveform]:
    torch.manual_seed(0)
    return [augmentation(waveform, RATE) for _ in range(count)]


def test_no_kinds_change_nothing() -> None:
    waveform = sweep(1, RATE)
    np.testing.assert_array_equal(Augmentation(())(waveform, RATE), waveform)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_alone_follows_the_seed_of_torch_and_keeps_the_shape(kind: Kind) -> None:
    waveform = sweep(1, RATE)
    first, again = (_draws(Augmentation((kind,)), waveform, 12) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert {(draw.shape, draw.dtype.name) for draw in first} == {(waveform.shape, "float32")}
    assert len({draw.tobytes() for draw in first}) > 2


@pytest.mark.parametrize("kind", ["noise", "eq", "codec"])
def test_about_half_of_the_clips_stay_as_they_were(kind: Kind) -> None:
    waveform = sweep(0.6, RATE)
    same = sum(np.array_equal(draw, waveform) for draw in _draws(Augmentation((kind,)), waveform, 40))
    assert 10 <= same <= 30


def test_gain_stays_within_six_decibels() -> None:
    waveform = 0.1 * sweep(1, RATE)
    levels = [20 * np.log10(np.std(draw) / np.std(waveform)) for draw in _draws(Augmentation(["gain"]), waveform, 100)]
    assert -6.01 < min(levels) < -4
    assert 4 < max(levels) < 6.01


def test_noise_lies_10_to_40_decibels_below() -> None:
    waveform = sweep(1, RATE)
    added = [draw - waveform for draw in _draws(Augmentation(["noise"]), waveform, 100)]
    ratios = [20 * np.log10(np.std(waveform) / np.std(noise)) for noise in added if noise.any()]
    assert 9.5 < min(ratios) < 18
    assert 32 < max(ratios) < 40.5


def test_a_codec_is_mp3_or_the_telephone() -> None:
    waveform = sweep(1, RATE)
    draws = {draw.tobytes() for draw in _draws(Augmentation(["codec"]), waveform, 20)}
    expected = (waveform, distortions.mp3(waveform, RATE), distortions.phone_band(waveform, RATE))
    assert draws == {each.tobytes() for each in expected}


def test_all_kinds_together_keep_sound_finite() -> None:
    waveform = sweep(1, RATE)
    assert all(np.isfinite(draw).all() for draw in _draws(Augmentation(KINDS), waveform, 20))
