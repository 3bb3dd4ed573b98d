"""Report of a run, as it is written to metrics.json: each figure with its n and interval."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from service.model.serving_file import Reference
from training.data.clips import WarningCounts
from training.data.splits import Split
from training.evaluation import metrics
from training.evaluation.calibration import Threshold, cross_fitted, fit_temperature, fit_threshold
from training.evaluation.gate import Verdict
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
    """Test figures of one genre. n: its clips in the test."""

    precision: float
    recall: float
    n: int


@dataclass(frozen=True)
class SplitReport:
    """Figures of a model on one split.

    caution: how the split flatters, None when it does not. clips: how many in train, validation and test.
    ece and brier: of the probabilities as trained; calibrated_ece and calibrated_brier: with the temperature.
    confusion: rows are true genres. risk_coverage: (coverage, accuracy of the accepted). curve: one entry an epoch.
    reference: the calibrated answers to the test clips, in short. robustness: accuracy under each distortion.
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
    reference: Reference
    robustness: dict[str, Estimate] = field(default_factory=dict)


@dataclass(frozen=True)
class FamiliarityFigures:
    """How well the model repo tells unfamiliar recordings, on held-out clips.

    threshold: the distance from which on a recording is unfamiliar. false_alarms: the share of familiar recordings that
    are called so. auroc: clips measured against a description that lacks their genre, compared with the same clips
    measured against the whole description. told: the share of the former that is called unfamiliar.
    """

    threshold: float
    false_alarms: Estimate
    auroc: Estimate
    told: Estimate


@dataclass(frozen=True)
class Report:
    """Report of a training run.

    dataset_id and base_model_id: Hub ids, None for what is not on the Hub. dataset_revision: commit. skipped: clips
    that could not be used. warnings: clips that are hard to judge, by genre and code. splits: the first is that of the
    model in the folder. gate: None where the push did not depend on one, or there was no model to compare with.
    familiarity: None where too few clips are held out.
    """

    dataset: str
    dataset_id: str | None
    dataset_revision: str | None
    base_model: str
    base_model_id: str | None
    recipe: dict[str, Any]
    seed: int
    skipped: tuple[str, ...]
    warnings: WarningCounts
    window_s: float
    parameters: int
    splits: tuple[SplitReport, ...]
    gate: Verdict | None = None
    familiarity: FamiliarityFigures | None = None

    @property
    def main(self) -> SplitReport:
        """The split of the model in the folder."""
        return self.splits[0]

    def write(self, folder: Path) -> None:
        """Write metrics.json."""
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False, default=Reference.model_dump)
        (folder / METRICS).write_text(text + "\n", encoding="utf-8")


def measure(
    test: Predictions,
    validation: Predictions | None,
    split: Split,
    genres: list[str],
    *,
    curve: list[dict[str, float]],
    robustness: Mapping[str, npt.NDArray[np.bool_]],
) -> SplitReport:
    """The figures of a model on its test clips, calibrated on its validation clips.

    validation: None when the test clips are the validation clips; the calibration's figures are then measured on other
    clips than it was fitted on (`cross_fitted`). robustness: correct answers, bool (clips,), by distortion.
    """
    references = test.references
    uncalibrated = test.probabilities()
    fitted_on = test if validation is None else validation
    temperature = fit_temperature(fitted_on)
    calibrated = cross_fitted(test) if validation is None else test.probabilities(temperature)
    return SplitReport(
        split=split.name,
        caution=split.caution,
        clips=split.sizes,
        chosen_on_test=validation is None,
        accuracy=_estimate(metrics.accuracy_fast, uncalibrated, references),
        macro_f1=_estimate(metrics.macro_f1, uncalibrated, references),
        ece=_estimate(metrics.expected_calibration_error, uncalibrated, references),
        brier=_estimate(metrics.brier, uncalibrated, references),
        calibrated_ece=_estimate(metrics.expected_calibration_error, calibrated, references),
        calibrated_brier=_estimate(metrics.brier, calibrated, references),
        genres=_by_genre(uncalibrated, references, genres),
        confusion=metrics.confusion_matrix(uncalibrated, references).tolist(),
        temperature=temperature,
        threshold=fit_threshold(fitted_on.probabilities(temperature), fitted_on.references),
        reliability=metrics.reliability(uncalibrated, references),
        calibrated_reliability=metrics.reliability(calibrated, references),
        risk_coverage=_risk_coverage(calibrated, references),
        curve=curve,
        reference=_reference(calibrated, genres),
        robustness={name: _estimate_share(correct) for name, correct in robustness.items()},
    )


def _reference(probabilities: Probabilities, genres: list[str]) -> Reference:
    """The shares of best genres and of confidences in tenths, where 1.0 belongs to the last."""
    count = len(probabilities)
    best = np.bincount(probabilities.argmax(axis=1), minlength=len(genres)) / count
    tenths, _ = np.histogram(np.minimum(probabilities.max(axis=1), 1.0), bins=10, range=(0.0, 1.0))
    return Reference(
        clips=count,
        genres={genre: round(float(share), 6) for genre, share in zip(genres, best, strict=True)},
        confidence=[round(float(share), 6) for share in tenths / count],
    )


def _risk_coverage(probabilities: Probabilities, references: Labels) -> list[tuple[float, float]]:
    _, coverage, accuracy = metrics.risk_coverage(probabilities, references)
    return list(zip(coverage.tolist(), accuracy.tolist(), strict=True))


def _by_genre(probabilities: Probabilities, references: Labels, genres: list[str]) -> dict[str, Genre]:
    precision, recall = metrics.precision_and_recall(probabilities, references)
    clips = np.bincount(references, minlength=len(genres))
    return {
        name: Genre(float(precision[index]), float(recall[index]), int(clips[index]))
        for index, name in enumerate(genres)
    }


def _estimate(
    measure: Callable[[Probabilities, Labels], float], probabilities: Probabilities, references: Labels
) -> Estimate:
    count = len(references)
    low, high = metrics.bootstrap_interval(lambda drawn: measure(probabilities[drawn], references[drawn]), count)
    return Estimate(measure(probabilities, references), low, high, count)


def _estimate_share(correct: npt.NDArray[np.bool_]) -> Estimate:
    """An estimate of the share of correct answers."""
    low, high = metrics.bootstrap_interval(lambda drawn: float(correct[drawn].mean()), len(correct))
    return Estimate(float(correct.mean()), low, high, len(correct))
