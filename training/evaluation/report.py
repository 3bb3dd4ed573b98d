"""Everything that one run measured, as it is written to metrics.json: each figure with its n and interval."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from training.evaluation import metrics
from training.evaluation.calibration import Threshold, cross_fitted, fit_temperature, fit_threshold
from training.evaluation.predictions import Labels, Predictions, Probabilities

METRICS = "metrics.json"


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % bootstrap interval over n clips."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class Genre:
    """How well one genre is told. n: its clips in the test."""

    precision: float
    recall: float
    n: int


@dataclass(frozen=True)
class SplitReport:
    """One model on one split.

    caution: how the split flatters, None when it does not. clips: how many in train, validation and test.
    ece and brier: of the probabilities as trained; calibrated_ece and calibrated_brier: with the temperature.
    confusion: rows are true genres. risk_coverage: (coverage, accuracy of the accepted). curve: one entry an epoch.
    robustness: accuracy under each distortion.
    """

    split: str
    caution: str | None
    clips: dict[str, int]
    chosen_on_test: bool
    accuracy: Estimate
    macro_f1: Estimate
    ece: Estimate
    brier: Estimate
    calibrated_ece: Estimate
    calibrated_brier: Estimate
    genres: dict[str, Genre]
    confusion: list[list[int]]
    temperature: float
    threshold: Threshold
    reliability: list[tuple[float, float, int]]
    calibrated_reliability: list[tuple[float, float, int]]
    risk_coverage: list[tuple[float, float]]
    curve: list[dict[str, float]]
    robustness: dict[str, Estimate] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """What one training run amounts to.

    dataset_id and base_model_id: Hub ids, None for what is not on the Hub. dataset_revision: commit. skipped: clips
    that could not be decoded. splits: the first is that of the model in the folder.
    """

    dataset: str
    dataset_id: str | None
    dataset_revision: str | None
    base_model: str
    base_model_id: str | None
    recipe: dict[str, Any]
    seed: int
    skipped: tuple[str, ...]
    window_s: float
    parameters: int
    splits: tuple[SplitReport, ...]

    @property
    def main(self) -> SplitReport:
        return self.splits[0]

    def write(self, folder: Path) -> None:
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False)
        (folder / METRICS).write_text(text + "\n", encoding="utf-8")


def measure(
    test: Predictions,
    validation: Predictions | None,
    genres: list[str],
    *,
    split: str,
    caution: str | None,
    clips: dict[str, int],
    curve: list[dict[str, float]],
    robustness: Mapping[str, npt.NDArray[np.bool_]],
) -> SplitReport:
    """The figures of a model on its test clips, calibrated on its validation clips.

    validation: None when the test clips are the validation clips: what is then said of the calibration is measured on
    other clips than it was fitted on (`cross_fitted`). robustness: right or wrong, bool (clips,), by distortion.
    """
    references = test.references
    plain = test.probabilities()
    fitted_on = test if validation is None else validation
    temperature = fit_temperature(fitted_on)
    threshold = fit_threshold(fitted_on.probabilities(temperature), fitted_on.references)
    calibrated = cross_fitted(test) if validation is None else test.probabilities(temperature)
    counts = metrics.confusion_matrix(plain, references)
    per_genre = zip(metrics.precision(counts), metrics.recall(counts), counts.sum(axis=1), strict=True)
    _, coverage, selective = metrics.risk_coverage(calibrated, references)
    return SplitReport(
        split=split,
        caution=caution,
        clips=clips,
        chosen_on_test=validation is None,
        accuracy=_figure(metrics.share_right, plain, references, value=metrics.accuracy(plain, references)),
        macro_f1=_figure(metrics.macro_f1, plain, references),
        ece=_figure(metrics.expected_calibration_error, plain, references),
        brier=_figure(metrics.brier, plain, references),
        calibrated_ece=_figure(metrics.expected_calibration_error, calibrated, references),
        calibrated_brier=_figure(metrics.brier, calibrated, references),
        genres={
            name: Genre(float(precision), float(recall), int(n))
            for name, (precision, recall, n) in zip(genres, per_genre, strict=True)
        },
        confusion=counts.tolist(),
        temperature=temperature,
        threshold=threshold,
        reliability=metrics.reliability(plain, references),
        calibrated_reliability=metrics.reliability(calibrated, references),
        risk_coverage=list(zip(coverage.tolist(), selective.tolist(), strict=True)),
        curve=curve,
        robustness={name: _share_figure(right) for name, right in robustness.items()},
    )


def _figure(
    measure: Callable[[Probabilities, Labels], float],
    probabilities: Probabilities,
    references: Labels,
    *,
    value: float | None = None,
) -> Estimate:
    low, high = metrics.bootstrap_interval(measure, probabilities, references)
    found = measure(probabilities, references) if value is None else value
    return Estimate(found, low, high, len(references))


def _share_figure(right: npt.NDArray[np.bool_]) -> Estimate:
    """Of yes-or-no answers, as the accuracy of two classes."""
    answers = np.eye(2)[right.astype(np.int64)]
    return _figure(metrics.share_right, answers, np.ones(len(right), np.int64))
