"""Draws the plots of the model card. Each title names the split and the number of clips."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.evaluation.report import SplitReport

CONFUSION = "confusion_matrix.png"
CALIBRATION = "calibration.png"
CURVE = "training_curve.png"


def draw(folder: Path, report: SplitReport) -> None:
    """Write confusion_matrix.png, calibration.png and training_curve.png."""
    _confusion(report).savefig(folder / CONFUSION)
    _calibration(report).savefig(folder / CALIBRATION)
    _curve(report).savefig(folder / CURVE)


def _figure(width: float, height: float) -> Figure:
    """A figure without pyplot, which would keep global state and need a display."""
    return Figure(figsize=(width, height), dpi=120, layout="constrained")


def _on(report: SplitReport) -> str:
    return f"{report.split} split, n = {report.accuracy.n}"


def _confusion(report: SplitReport) -> Figure:
    figure = _figure(7, 6)
    axes = figure.subplots()
    counts = np.asarray(report.confusion)
    axes.imshow(counts, cmap="Blues")
    ticks = np.arange(len(report.genres))
    axes.set_xticks(ticks, list(report.genres), rotation=45, ha="right")
    axes.set_yticks(ticks, list(report.genres))
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(f"Confusion matrix, {_on(report)}, accuracy {report.accuracy.value:.3f}")
    dark = counts.max() / 2
    for (row, column), count in np.ndenumerate(counts):
        if count:
            axes.text(column, row, str(count), ha="center", va="center", color="white" if count > dark else "black")
    return figure


def _calibration(report: SplitReport) -> Figure:
    figure = _figure(10, 4.5)
    left, right = figure.subplots(1, 2)
    left.plot([0, 1], [0, 1], color="grey", linestyle=":", label="ideal")
    for bins, ece, name in (
        (report.reliability, report.ece, "as trained"),
        (report.calibrated_reliability, report.calibrated_ece, f"temperature {report.temperature:.2f}"),
    ):
        confidence, accuracy, _ = zip(*bins, strict=True)
        left.plot(confidence, accuracy, marker="o", label=f"{name}, ECE {ece.value:.3f}")
    _unit(left, "confidence", "accuracy", f"Reliability, {_on(report)}")
    coverage, selective = zip(*report.risk_coverage, strict=True)
    right.plot(coverage, selective)
    right.axvline(report.threshold.accepted_share, color="grey", linestyle=":", label="accepted answers")
    _unit(right, "share of clips answered", "accuracy of these", f"Risk and coverage, {_on(report)}")
    return figure


def _unit(axes: Axes, x: str, y: str, title: str) -> None:
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_title(title)
    axes.legend()


def _curve(report: SplitReport) -> Figure:
    figure = _figure(7, 4)
    axes = figure.subplots()
    beside = axes.twinx()
    for on, name, color in ((axes, "loss", "tab:red"), (beside, "accuracy", "tab:blue")):
        points = [(entry["epoch"], entry[name]) for entry in report.curve if name in entry]
        on.plot(*zip(*points, strict=True), marker=".", color=color) if points else None
        on.set_ylabel(f"training {name}" if name == "loss" else f"validation {name}", color=color)
    axes.set_xlabel("epoch")
    axes.set_title(f"Training, {report.split} split, n = {report.clips['train']}")
    return figure
