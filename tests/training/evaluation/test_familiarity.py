"""Gaussians that are fitted to known ones: what they tell, and what their threshold promises."""

import numpy as np
import pytest

from training.evaluation.familiarity import Matrix, choose_threshold, distances, fit, measure
from training.evaluation.predictions import Labels

_FEATURES = 12


def _music(clips: int, seed: int) -> tuple[Matrix, Labels]:
    """Three genres around different means, each with correlations and scales of its own."""
    genres = np.arange(clips) % 3
    means = 20 * np.random.default_rng(0).standard_normal((3, _FEATURES))
    mixing = np.random.default_rng(1).standard_normal((3, _FEATURES, _FEATURES))
    noise = np.random.default_rng(seed).standard_normal((clips, _FEATURES))
    return (means[genres] + np.einsum("nf,nfi->ni", noise, mixing[genres])).astype(np.float32), genres


def test_known_music_has_a_distance_of_one() -> None:
    windows, genres = _music(3_000, seed=2)
    clips, own = _music(300, seed=3)
    to_own = distances(fit(windows, genres, clips), clips)[np.arange(300), own]
    # The mean square of independent values of variance 1, a little less as shrinkage adds to each variance.
    assert np.square(to_own).mean() == pytest.approx(1, abs=0.1)


def test_threshold_lets_one_in_twenty_of_other_known_music_pass_it() -> None:
    windows, genres = _music(3_000, seed=2)
    known = fit(windows, genres, _music(1_000, seed=3)[0])
    others = distances(known, _music(2_000, seed=4)[0]).min(axis=1)
    assert (others > known.threshold).mean() == pytest.approx(0.05, abs=0.02)
    far = distances(known, np.zeros((1, _FEATURES), np.float32))
    assert far.min() > known.threshold


def test_constant_feature_leaves_the_others_as_they_are() -> None:
    windows, genres = _music(300, seed=2)
    windows[:, 0] = 7
    assert np.isfinite(fit(windows, genres, windows).whitening).all()


@pytest.mark.parametrize(("clips", "rank"), [(19, 19), (50, 49), (99, 95)])
def test_threshold_is_the_distance_with_five_percent_beyond_it_on_average(clips: int, rank: int) -> None:
    threshold, beyond = choose_threshold(np.random.default_rng(0).permutation(np.arange(1.0, clips + 1)))
    assert threshold == rank
    assert beyond.value == pytest.approx((clips + 1 - rank) / (clips + 1))
    assert beyond.value <= 0.05 + 1e-9
    assert beyond.low < beyond.value < beyond.high
    assert beyond.n == clips


@pytest.mark.slow
def test_genre_that_is_left_out_is_told_by_as_much_as_it_differs() -> None:
    windows, genres = _music(600, seed=2)
    clips, own = _music(60, seed=3)
    figures = measure(fit(windows, genres, clips), clips, own[:, None] == np.arange(3))
    assert figures.auroc.value == 1
    assert figures.told.value == 1
    assert figures.auroc.n == 60
    # Genres that are one and the same cannot be told when one is left out.
    mixed = np.random.default_rng(0).permutation(genres)
    same = measure(fit(windows, mixed, clips), clips, own[:, None] == np.arange(3))
    assert same.auroc.value < 0.9
