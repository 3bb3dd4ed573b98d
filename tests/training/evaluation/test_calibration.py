import numpy as np
import pytest

from training.evaluation import metrics
from training.evaluation.calibration import cross_fitted, fit_temperature, fit_threshold
from training.evaluation.predictions import Predictions


def _predictions(temperature: float, clips: int = 2_000) -> Predictions:
    """Answers whose logits are `temperature` times too large, two windows a clip."""
    rng = np.random.default_rng(0)
    honest = rng.standard_normal((clips, 4)) * 2
    powers = np.exp(honest)
    references = np.array([rng.choice(4, p=row / row.sum()) for row in powers])
    logits = np.repeat(honest * temperature, 2, axis=0).astype(np.float32)
    return Predictions(logits, np.repeat(np.arange(clips), 2), references)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_fit_recovers_the_temperature(temperature: float) -> None:
    assert fit_temperature(_predictions(temperature)) == pytest.approx(temperature, rel=0.1)


def test_calibration_reduces_overconfidence() -> None:
    predictions = _predictions(3.0)
    before = metrics.expected_calibration_error(predictions.probabilities(), predictions.references)
    after = metrics.expected_calibration_error(cross_fitted(predictions), predictions.references)
    assert before > 0.1
    assert after < 0.03


def test_cross_fitting_leaves_out_the_clip_itself() -> None:
    """With two clips and five folds, each takes the temperature of the other."""
    logits = np.array([[2.0, 0.0], [2.0, 0.0]], np.float32)
    predictions = Predictions(logits, np.array([0, 1]), np.array([0, 1]))
    right, wrong = cross_fitted(predictions)[:, 0]
    assert right == pytest.approx(0.5, abs=0.03), "the other was wrong: be unsure"
    assert wrong > 0.99, "the other was right: be sure"


def test_the_threshold_accepts_as_much_as_its_rule_allows() -> None:
    # The surest five are right, then every second: 5/5, 5/6, 6/7, 6/8 ...
    right = np.array([1, 1, 1, 1, 1, 0, 1, 0, 1, 0])
    confidence = np.linspace(0.95, 0.55, 10)
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    threshold = fit_threshold(probabilities, 1 - right)
    assert threshold.reachable_accuracy == 1.0
    assert threshold.accepted_share == 0.5
    assert threshold.accepted_accuracy == 1.0
    assert confidence[5] < threshold.uncertain_below <= confidence[4]


def test_all_are_accepted_when_all_are_right() -> None:
    threshold = fit_threshold(np.array([[0.9, 0.1], [0.6, 0.4]]), np.array([0, 0]))
    assert threshold.accepted_share == 1.0
    assert threshold.uncertain_below <= 0.6
