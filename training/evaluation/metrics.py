"""What is measured of probabilities (clips, genres) against the true genres (clips,)."""

from collections.abc import Callable
from typing import Any

import datasets
import evaluate
import numpy as np
import numpy.typing as npt

from training.evaluation.predictions import Labels, Probabilities

Counts = npt.NDArray[np.int64]
"""int64 (genres, genres): rows are true genres, columns predicted ones."""

Curve = npt.NDArray[np.float64]

BINS = 15
"""Of confidence, as in Guo et al. 2017, "On Calibration of Modern Neural Networks"."""

RESAMPLES = 1_000


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


def confusion_matrix(probabilities: Probabilities, references: Labels) -> Counts:
    """How often each genre was taken for each."""
    counts = np.zeros((probabilities.shape[1],) * 2, np.int64)
    np.add.at(counts, (references, probabilities.argmax(axis=1)), 1)
    return counts


def macro_f1(probabilities: Probabilities, references: Labels) -> float:
    """The unweighted mean over genres of 2TP / (2TP + FP + FN), 0 for a genre that is neither present nor predicted."""
    counts = confusion_matrix(probabilities, references)
    return float(np.mean(_share(2 * counts.diagonal(), counts.sum(axis=0) + counts.sum(axis=1))))


def precision(counts: Counts) -> Curve:
    """float64 (genres,): of the clips answered with a genre, the share that has it; 0 when none was."""
    return _share(counts.diagonal(), counts.sum(axis=0))


def recall(counts: Counts) -> Curve:
    """float64 (genres,): of a genre's clips, the share answered with it; 0 when there is none."""
    return _share(counts.diagonal(), counts.sum(axis=1))


def expected_calibration_error(probabilities: Probabilities, references: Labels) -> float:
    """ECE: the mean distance between confidence and accuracy in 15 bins of confidence, weighted by their clips."""
    confidence, right, bins = _binned(probabilities, references)
    gaps = np.bincount(bins, right - confidence, minlength=BINS)
    return float(np.abs(gaps).sum() / len(references))


def reliability(probabilities: Probabilities, references: Labels) -> list[tuple[float, float, int]]:
    """Of each bin that holds clips: their mean confidence, their accuracy, how many they are."""
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
    """What is gained by answering only when sure (El-Yaniv and Wiener, 2010).

    Returns thresholds of confidence, falling; the share of clips accepted at each (coverage); their share of right
    answers (1 - risk). Clips of equal confidence are accepted together.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == references
    order = np.argsort(-confidence, kind="stable")
    last = np.append(np.diff(confidence[order]) != 0, True)
    accepted = np.arange(1, len(order) + 1)[last]
    return confidence[order][last], accepted / len(order), np.cumsum(right[order])[last] / accepted


def bootstrap_interval(
    measure: Callable[[Probabilities, Labels], float], probabilities: Probabilities, references: Labels
) -> tuple[float, float]:
    """The 95 % percentile interval over clips drawn with replacement (Efron, 1979), 1,000 times."""
    rng = np.random.default_rng(0)
    draws = rng.integers(len(references), size=(RESAMPLES, len(references)))
    values = [measure(probabilities[draw], references[draw]) for draw in draws]
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def share_right(probabilities: Probabilities, references: Labels) -> float:
    """`accuracy` without the library's bookkeeping, for what is computed a thousand times."""
    return float(np.mean(probabilities.argmax(axis=1) == references))


def _binned(probabilities: Probabilities, references: Labels) -> tuple[Curve, Curve, Labels]:
    confidence = probabilities.max(axis=1)
    right = (probabilities.argmax(axis=1) == references).astype(np.float64)
    # Bins are closed on the right, as Guo et al. define them.
    return confidence, right, np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)


def _share(part: Counts, whole: Counts) -> Curve:
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)
