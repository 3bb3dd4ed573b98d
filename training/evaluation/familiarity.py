"""Fits the Gaussians and the threshold of familiarity, and measures how well they tell unfamiliar clips."""

import numpy as np
import numpy.typing as npt
import scipy.stats
import sklearn.metrics

from service.model.familiarity import Familiarity
from training.evaluation.metrics import bootstrap_interval
from training.evaluation.predictions import Labels
from training.evaluation.report import Estimate, FamiliarityFigures

FALSE_ALARMS = 0.05
"""Share of familiar recordings that may be called unfamiliar."""

MIN_HELD_OUT = 19
"""Fewer clips do not show what 95 % of recordings do."""

# Of each covariance, towards the variances within all genres. From 0.001 to 0.1 the AUROC of real against
# synthetic music is 0.96 to 0.97 (`python -m tests.benchmarks.familiarity` with the model of `make demo`).
_SHRINKAGE = 0.01

Matrix = npt.NDArray[np.float32]
"""float32 (n, features): the features of windows, or their means over the windows of clips."""

Distances = npt.NDArray[np.float64]
"""float64 (clips, genres)."""


def fit(windows: Matrix, genres: Labels, held_out: Matrix) -> Familiarity:
    """The Gaussian of each genre in the training windows, and the threshold that `held_out` clips put.

    Features are scaled by their deviation within the genres, so that shrinkage treats them alike.
    """
    present, columns = np.unique(genres, return_inverse=True)
    means = np.stack([windows[genres == genre].mean(axis=0, dtype=np.float64) for genre in present])
    deviations = windows - means[columns]
    scale = deviations.std(axis=0)
    scale[scale == 0] = 1.0
    whitening = np.stack([_whitening(deviations[genres == genre] / scale) for genre in present])
    known = Familiarity(means.astype(np.float32), (whitening / scale[:, None]).astype(np.float32), threshold=np.inf)
    threshold, _ = choose_threshold(distances(known, held_out).min(axis=1))
    return Familiarity(known.means, known.whitening, threshold)


def _whitening(deviations: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """float64 (features, features): turns deviations (n, features) into independent values of variance 1."""
    count, features = deviations.shape
    covariance = (1 - _SHRINKAGE) * deviations.T @ deviations / count + _SHRINKAGE * np.eye(features)
    variances, directions = np.linalg.eigh(covariance)
    whitening: npt.NDArray[np.float64] = directions / np.sqrt(variances)
    return whitening


def distances(known: Familiarity, clips: Matrix) -> Distances:
    """The distance of each clip to each genre."""
    return np.stack([known.distances(features) for features in clips])


def choose_threshold(nearest: npt.NDArray[np.float64]) -> tuple[float, Estimate]:
    """The threshold, and the share of familiar recordings that lie beyond it, with its 95 % interval.

    nearest: the distances of held-out clips to the nearest genre. The k-th smallest of n, with k = 0.95 (n + 1) rounded
    up, has so many familiar recordings beyond it as Beta(n + 1 - k, k) says, whatever their distances are distributed
    like (Vovk, "Conditional validity of inductive conformal predictors", 2012): 5 % on average at most.
    """
    count = len(nearest)
    rank = int(np.ceil((1 - FALSE_ALARMS) * (count + 1)))
    assert rank <= count, f"called with at least {MIN_HELD_OUT} clips"
    beyond = scipy.stats.beta(count + 1 - rank, rank)
    low, high = beyond.interval(0.95)
    return float(np.sort(nearest)[rank - 1]), Estimate(float(beyond.mean()), float(low), float(high), count)


def measure(known: Familiarity, held_out: Matrix, is_own: npt.NDArray[np.bool_]) -> FamiliarityFigures:
    """Figures on held-out clips: each counts as familiar, and again, without the Gaussian of its own genre, as one of a
    genre that training left out. The embedding has learnt that genre all the same.

    is_own: bool (clips, genres of `known`).
    """
    to_genres = distances(known, held_out)
    nearest = to_genres.min(axis=1)
    without_own = np.where(is_own, np.inf, to_genres).min(axis=1)

    def auroc(drawn: Labels) -> float:
        scores = np.concatenate([nearest[drawn], without_own[drawn]])
        return float(sklearn.metrics.roc_auc_score(np.repeat([0, 1], len(drawn)), scores))

    def told(drawn: Labels) -> float:
        return float((without_own[drawn] > known.threshold).mean())

    count = len(held_out)
    _, false_alarms = choose_threshold(nearest)
    estimates = [
        Estimate(figure(np.arange(count)), *bootstrap_interval(figure, count), count) for figure in (auroc, told)
    ]
    return FamiliarityFigures(known.threshold, false_alarms, *estimates)
