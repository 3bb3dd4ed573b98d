"""The population stability index, and what chance makes of it."""

import numpy as np
import pytest

from service.metrics.drift import drift
from tests.support.processes import ROOT


def test_index_is_the_sum_over_the_bins() -> None:
    """(0.8 - 0.5) ln(0.8 / 0.5) + (0.2 - 0.5) ln(0.2 / 0.5), by Python's own arithmetic; the prior is small here."""
    found = drift([800_000, 200_000], [0.5, 0.5], 1_000_000)
    assert found.psi == pytest.approx(0.3 * np.log(1.6) + 0.3 * np.log(2.5), rel=1e-5)
    assert drift([500, 500], [0.5, 0.5], 1_000).psi == 0


def test_bin_that_only_one_side_has_counts_and_one_that_neither_has_does_not() -> None:
    assert 0.25 < drift([500, 500], [0.99, 0.01], 100).psi < 10
    assert 0.25 < drift([1_000, 0], [0.5, 0.5], 100).psi < 10
    assert drift([500, 500, 0, 0], [0.6, 0.4, 0.0, 0.0], 100) == drift([500, 500], [0.6, 0.4], 100)


def test_one_genre_alone_cannot_drift() -> None:
    found = drift([300, 0], [1.0, 0.0], 100)
    assert (found.psi, found.by_chance) == (0, 0)


@pytest.mark.parametrize(("clips", "told"), [(100, 0.24), (1_000, 0.04)])
def test_chance_is_what_the_documents_say(clips: int, told: float) -> None:
    """21.666 is the 99th percentile of the chi-squared distribution with nine degrees of freedom."""
    found = drift([100] * 10, [0.1] * 10, clips).by_chance
    assert found == pytest.approx(21.666 * (1 / 1_000 + 1 / clips), rel=0.002)
    assert round(found, 2) == told
    assert f"to {told}" in (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "shares",
    [np.full(10, 0.1), np.array([0, 0, 0.02, 0.05, 0.08, 0.1, 0.15, 0.2, 0.2, 0.2]), np.array([0.7, 0.3])],
    ids=["a balanced mix", "confidences", "two genres"],
)
@pytest.mark.parametrize(("answers", "clips"), [(200, 100), (1_000, 100), (1_000, 1_000)])
def test_chance_is_exceeded_about_once_in_a_hundred_times(
    shares: np.ndarray[tuple[int], np.dtype[np.float64]], answers: int, clips: int
) -> None:
    random = np.random.default_rng(0)
    references = random.multinomial(clips, shares, size=2_000) / clips
    samples = random.multinomial(answers, shares, size=2_000)
    found = [drift(list(sample), list(base), clips) for sample, base in zip(samples, references, strict=True)]
    assert 0.001 <= np.mean([one.psi > one.by_chance for one in found]) <= 0.02
