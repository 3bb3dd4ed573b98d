"""Metrics of probabilities (clips, genres) against the true genres (clips,)."""

from collections.abc import Callable
from typing import Any

import datasets
import evaluate
import numpy as np
import numpy.typing as npt
import scipy.stats
import sklearn.metrics

from training.evaluation.predictions import Labels, Probabilities

Counts = npt.NDArray[np.int64]
"""int64 (genres, genres): rows are true genres, columns predicted ones."""

Curve = npt.NDArray[np.float64]

BINS = 15
"""Bins of confidence, as in Guo et al. 2017, "On Calibration of Modern Neural Networks"."""

RESAMPLES = 1_000
"""Bootstrap samples of an interval."""


class Accuracy(evaluate.Metric):
    """The share of right answers. `evaluate.load("accuracy")` would fetch the same few lines from the Hub."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Share of predictions that equal the reference.",
            citation="",
            features=datasets.Features({"predictions": datasets.Value("int32"), "references": datasets.Value("int32")}),
        )

    def _compute(self, *, predictions: list[int], references: list[int]) -> dict[str, float]:
        return {"accuracy": float(np.mean(np.asarray(predictions) == np.asarray(references)))}


def accuracy(probabilities: Probabilities, references: Labels) -> float:
    """The share of clips whose best genre is the true one, 0..1, by `evaluate`."""
    result: dict[str, Any] = Accuracy(keep_in_memory=True).compute(
        predictions=probabilities.argmax(axis=1), references=references
    )
    return float(result["accuracy"])


def accuracy_fast(probabilities: Probabilities, references: Labels) -> float:
    """`accuracy` without the bookkeeping of `evaluate`, for the thousand samples of a bootstrap."""
    return float(np.mean(probabilities.argmax(axis=1) == references))


def confusion_matrix(probabilities: Probabilities, references: Labels) -> Counts:
    """Confusion matrix: how often each genre was taken for each."""
    counts: Counts = sklearn.metrics.confusion_matrix(
        references, probabilities.argmax(axis=1), labels=np.arange(probabilities.shape[1])
    )
    return counts


def macro_f1(probabilities: Probabilities, references: Labels) -> float:
    """The unweighted mean over genres of 2TP / (2TP + FP + FN), 0 for a genre that is neither present nor predicted.

    As scikit-learn's `f1_score`, which takes a hundred times as long: a bootstrap computes a thousand.
    """
    genres, answers = probabilities.shape[1], probabilities.argmax(axis=1)
    hits = np.bincount(references[answers == references], minlength=genres)
    total = np.bincount(references, minlength=genres) + np.bincount(answers, minlength=genres)
    return float(np.mean(2 * hits / np.maximum(total, 1)))


def precision_and_recall(probabilities: Probabilities, references: Labels) -> tuple[Curve, Curve]:
    """Precision and recall by genre, each float64 (genres,); 0 for a genre that was never answered, or never occurs."""
    precision, recall, _, _ = sklearn.metrics.precision_recall_fscore_support(
        references, probabilities.argmax(axis=1), labels=np.arange(probabilities.shape[1]), zero_division=0
    )
    return precision, recall


def expected_calibration_error(probabilities: Probabilities, references: Labels) -> float:
    """ECE: the mean distance between confidence and accuracy in 15 bins of confidence, weighted by their clips."""
    confidence, right, bins = _binned(probabilities, references)
    gaps = np.bincount(bins, right - confidence, minlength=BINS)
    return float(np.abs(gaps).sum() / len(references))


def reliability(probabilities: Probabilities, references: Labels) -> list[tuple[float, float, int]]:
    """Reliability diagram: mean confidence, accuracy and number of clips of each bin that holds any."""
    confidence, right, bins = _binned(probabilities, references)
    return [
        (float(confidence[bins == index].mean()), float(right[bins == index].mean()), int((bins == index).sum()))
        for index in np.unique(bins)
    ]


def brier(probabilities: Probabilities, references: Labels) -> float:
    """The mean squared distance to the one-hot truth, summed over genres: 0 (sure and right) to 2 (Brier, 1950)."""
    truth = np.eye(probabilities.shape[1])[references]
    return float(np.mean(np.sum((probabilities - truth) ** 2, axis=1)))


def negative_log_likelihood(probabilities: Probabilities, references: Labels) -> float:
    """The mean of -log of the true genre's probability, in nats."""
    chosen = probabilities[np.arange(len(references)), references]
    return float(-np.mean(np.log(np.maximum(chosen, 1e-12))))


def risk_coverage(probabilities: Probabilities, references: Labels) -> tuple[Curve, Curve, Curve]:
    """Risk-coverage curve: the accuracy of the surest answers (El-Yaniv and Wiener, 2010).

    Returns thresholds of confidence, falling; the share of clips accepted at each (coverage); their share of right
    answers (1 - risk). Clips of equal confidence are accepted together.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == references
    order = np.argsort(-confidence, kind="stable")
    last = np.append(np.diff(confidence[order]) != 0, True)
    accepted = np.arange(1, len(order) + 1)[last]
    return confidence[order][last], accepted / len(order), np.cumsum(right[order])[last] / accepted


def bootstrap_interval(statistic: Callable[[Labels], float], count: int) -> tuple[float, float]:
    """The 95 % percentile interval of a figure of `count` clips drawn with replacement (Efron, 1979), 1,000 times.

    statistic: the figure of the clips with these indices. Clips are drawn whatever their genre, so that the interval
    holds for another test of the same size.
    """
    interval = scipy.stats.bootstrap(
        (np.arange(count),), statistic, vectorized=False, n_resamples=RESAMPLES, method="percentile", rng=0
    ).confidence_interval
    return float(interval.low), float(interval.high)


def _binned(probabilities: Probabilities, references: Labels) -> tuple[Curve, Curve, Labels]:
    confidence = probabilities.max(axis=1)
    right = (probabilities.argmax(axis=1) == references).astype(np.float64)
    # Bins are closed on the right, as Guo et al. define them.
    return confidence, right, np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
