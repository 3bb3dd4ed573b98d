"""Calibrates confidence: fits the temperature of the softmax, and the threshold of `uncertain`, on held-out clips."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar

from training.evaluation.metrics import negative_log_likelihood, risk_coverage
from training.evaluation.predictions import Labels, Predictions, Probabilities

TARGET = 0.95
"""Fraction of the reachable accuracy that accepted answers must have."""

LEAST_COVERAGE = 0.2
"""Accuracy counts as reachable when so many of the clips are accepted with it: one sure answer proves nothing."""

# Clips that are all answered rightly would ask for zero.
_TEMPERATURES = (0.2, 20.0)


@dataclass(frozen=True)
class Threshold:
    """Threshold of confidence: an answer of `uncertain_below` or more is `accepted`.

    accepted_share and accepted_accuracy: on the clips that it was chosen on. reachable_accuracy: the highest accuracy
    of the surest clips, at a coverage of at least 20 %.
    """

    uncertain_below: float
    accepted_share: float
    accepted_accuracy: float
    reachable_accuracy: float


def fit_temperature(predictions: Predictions) -> float:
    """The temperature, 0.2 to 20, with which the clips' probabilities are most likely (Guo et al. 2017)."""
    low, high = np.log(_TEMPERATURES)
    found = minimize_scalar(
        lambda log: negative_log_likelihood(predictions.probabilities(float(np.exp(log))), predictions.references),
        bounds=(low, high),
        method="bounded",
    )
    return float(np.exp(found.x))


def fit_threshold(probabilities: Probabilities, references: Labels) -> Threshold:
    """The lowest threshold at which accepted answers reach 95 % of the reachable accuracy."""
    thresholds, coverage, selective = risk_coverage(probabilities, references)
    reachable = float(selective[coverage >= LEAST_COVERAGE].max())
    lowest = int(np.flatnonzero((selective >= TARGET * reachable) & (coverage >= LEAST_COVERAGE))[-1])
    return Threshold(
        # Rounded down: the clips that it was chosen by stay accepted.
        uncertain_below=float(np.floor(thresholds[lowest] * 1e4) / 1e4),
        accepted_share=float(coverage[lowest]),
        accepted_accuracy=float(selective[lowest]),
        reachable_accuracy=reachable,
    )


def cross_fitted(predictions: Predictions, folds: int = 5) -> Probabilities:
    """Calibrated probabilities of clips whose own answers did not decide their temperature.

    Each fold takes the temperature of the others: for figures on the very clips that the temperature is fitted on.
    """
    clips = len(predictions.references)
    fold_of = np.random.default_rng(0).permutation(clips) % folds
    calibrated = np.empty((clips, predictions.logits.shape[1]))
    for fold in range(min(folds, clips)):
        inside = np.flatnonzero(fold_of == fold)
        outside = np.flatnonzero(fold_of != fold)
        temperature = fit_temperature(predictions.select(outside)) if len(outside) else 1.0
        calibrated[inside] = predictions.select(inside).probabilities(temperature)
    return calibrated
