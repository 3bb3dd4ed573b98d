import numpy as np
import pytest
from transformers import EvalPrediction

from training.metrics import accuracy, compute_metrics, confusion_matrix, macro_f1

# Three genres; the second of genre 1 is taken for genre 2, nothing is ever called genre 0 but itself.
_LOGITS = np.eye(3, dtype=np.float32)[[0, 1, 2, 2]]
_REFERENCES = np.array([0, 1, 1, 2])


def test_compute_metrics_by_hand() -> None:
    metrics = compute_metrics(EvalPrediction(predictions=_LOGITS, label_ids=_REFERENCES))
    assert metrics["accuracy"] == pytest.approx(3 / 4)
    # F1 = 2TP / (2TP + FP + FN): 1, 2/3, 2/3.
    assert metrics["macro_f1"] == pytest.approx((1 + 2 / 3 + 2 / 3) / 3)


def test_confusion_matrix_has_true_genres_in_rows() -> None:
    counts = confusion_matrix(_LOGITS, _REFERENCES)
    assert counts.tolist() == [[1, 0, 0], [0, 1, 1], [0, 0, 1]]
    assert accuracy(counts) == 0.75


def test_a_genre_that_never_occurs_counts_as_zero() -> None:
    assert macro_f1(np.array([[2, 0], [0, 0]])) == 0.5
