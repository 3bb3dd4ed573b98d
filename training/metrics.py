"""What is measured: accuracy through `evaluate`, macro-F1, and the confusion matrix behind both."""

from typing import Any

import datasets
import evaluate
import numpy as np
import numpy.typing as npt
from transformers import EvalPrediction

Counts = npt.NDArray[np.int64]
"""int64 (genres, genres): rows are true genres, columns predicted ones."""


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


def compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
    """accuracy and macro_f1, each in 0..1, of logits (clips, genres) against label_ids (clips,)."""
    logits = np.asarray(prediction.predictions)
    references = np.asarray(prediction.label_ids)
    result: dict[str, Any] = Accuracy(keep_in_memory=True).compute(
        predictions=logits.argmax(axis=-1), references=references
    )
    return {**result, "macro_f1": macro_f1(confusion_matrix(logits, references))}


def confusion_matrix(logits: npt.NDArray[np.float32], references: npt.NDArray[np.int64]) -> Counts:
    """Counts of logits (clips, genres) against references (clips,)."""
    counts = np.zeros((logits.shape[-1],) * 2, np.int64)
    np.add.at(counts, (references, logits.argmax(axis=-1)), 1)
    return counts


def accuracy(counts: Counts) -> float:
    """The share of the diagonal."""
    return float(counts.trace() / counts.sum())


def macro_f1(counts: Counts) -> float:
    """The unweighted mean over genres of 2TP / (2TP + FP + FN), 0 for a genre that is neither present nor predicted."""
    right = counts.diagonal()
    involved = counts.sum(axis=0) + counts.sum(axis=1)
    return float(np.mean(np.divide(2 * right, involved, out=np.zeros(len(counts)), where=involved > 0)))
