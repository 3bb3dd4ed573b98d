import numpy as np
import pytest
import sklearn.metrics

from training.evaluation import metrics
from training.evaluation.predictions import Predictions

# Three genres; the second of genre 1 is taken for genre 2, nothing is ever called genre 0 but itself.
_SURE = np.eye(3)[[0, 1, 2, 2]]
_REFERENCES = np.array([0, 1, 1, 2])


def test_accuracy_and_macro_f1_by_hand() -> None:
    assert metrics.accuracy(_SURE, _REFERENCES) == metrics.accuracy_fast(_SURE, _REFERENCES) == pytest.approx(3 / 4)
    # F1 = 2TP / (2TP + FP + FN): 1, 2/3, 2/3.
    assert metrics.macro_f1(_SURE, _REFERENCES) == pytest.approx((1 + 2 / 3 + 2 / 3) / 3)


def test_macro_f1_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    probabilities, references = rng.dirichlet(np.ones(5), 60), rng.integers(4, size=60)
    expected = sklearn.metrics.f1_score(
        references, probabilities.argmax(axis=1), labels=np.arange(5), average="macro", zero_division=0
    )
    assert metrics.macro_f1(probabilities, references) == pytest.approx(expected)


def test_precision_and_recall_come_from_columns_and_rows() -> None:
    counts = metrics.confusion_matrix(_SURE, _REFERENCES)
    assert counts.tolist() == [[1, 0, 0], [0, 1, 1], [0, 0, 1]]
    precision, recall = metrics.precision_and_recall(_SURE, _REFERENCES)
    assert precision.tolist() == [1, 1, 0.5]
    assert recall.tolist() == [1, 0.5, 1]


def test_a_genre_that_never_occurs_counts_as_zero() -> None:
    assert metrics.macro_f1(np.eye(2)[[0, 0]], np.array([0, 0])) == 0.5


def test_calibration_error_by_hand() -> None:
    # Four answers at 0.9, of which two are right: 0.4 off. Two at 0.6, both right: 0.4 off the other way.
    probabilities = np.array([[0.9, 0.1]] * 4 + [[0.6, 0.4]] * 2)
    references = np.array([0, 0, 1, 1, 0, 0])
    assert metrics.expected_calibration_error(probabilities, references) == pytest.approx(0.4)
    bins = metrics.reliability(probabilities, references)
    np.testing.assert_allclose(bins, [(0.6, 1.0, 2), (0.9, 0.5, 4)])


def test_a_bin_is_closed_on_the_right() -> None:
    """0.6 ends the ninth bin and 0.62 is in the tenth: together they would be less than 0.5 off."""
    probabilities = np.array([[0.6, 0.4], [0.62, 0.38]])
    error = metrics.expected_calibration_error(probabilities, np.array([0, 1]))
    assert error == pytest.approx((0.4 + 0.62) / 2)


def test_brier_and_likelihood_by_hand() -> None:
    probabilities = np.array([[0.8, 0.2], [0.5, 0.5]])
    references = np.array([0, 1])
    assert metrics.brier(probabilities, references) == pytest.approx((0.08 + 0.5) / 2)
    assert metrics.negative_log_likelihood(probabilities, references) == pytest.approx(-np.log(0.8 * 0.5) / 2)


def test_coverage_grows_and_equal_confidence_is_accepted_together() -> None:
    probabilities = np.array([[0.9, 0.1], [0.7, 0.3], [0.7, 0.3], [0.6, 0.4]])
    thresholds, coverage, right = metrics.risk_coverage(probabilities, np.array([0, 0, 1, 1]))
    assert thresholds.tolist() == [0.9, 0.7, 0.6]
    assert coverage.tolist() == [0.25, 0.75, 1.0]
    assert right.tolist() == [1.0, pytest.approx(2 / 3), 0.5]


def test_the_interval_of_a_share_is_that_of_the_binomial() -> None:
    """80 of 100: the normal approximation gives 0.80 +- 0.078."""
    correct = np.arange(100) < 80
    low, high = metrics.bootstrap_interval(lambda drawn: float(correct[drawn].mean()), 100)
    np.testing.assert_allclose([low, high], [0.722, 0.878], atol=0.02)


def test_a_clip_is_the_mean_of_its_windows() -> None:
    logits = np.log(np.array([[0.8, 0.2], [0.4, 0.6], [0.1, 0.9]], np.float32))
    predictions = Predictions(logits, np.array([0, 0, 1]), np.array([0, 1]))
    np.testing.assert_allclose(predictions.probabilities(), [[0.6, 0.4], [0.1, 0.9]], atol=1e-6)
    chosen = predictions.select(np.array([1]))
    np.testing.assert_allclose(chosen.probabilities(), [[0.1, 0.9]], atol=1e-6)
    assert chosen.references.tolist() == [1]
