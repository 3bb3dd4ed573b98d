"""The card and metrics.json, from the answers of two made-up models."""

import json
from dataclasses import replace
from pathlib import Path

import datasets
import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard

from training.data.splits import Split
from training.evaluation.predictions import Predictions
from training.evaluation.report import Estimate, FamiliarityFigures, Report, SplitReport, measure
from training.publishing import model_card

pytestmark = pytest.mark.thorough

_GENRES = ["jazz", "metal"]


def _split(name: str, right: int, *, caution: str | None = None) -> SplitReport:
    """Of 20 clips the first `right` are answered rightly, surer of the first than of the last."""
    references = np.arange(20) % 2
    answers = np.where(np.arange(20) < right, references, 1 - references)
    logits = (np.eye(2)[answers] * np.linspace(3, 1, 20)[:, None]).astype(np.float32)
    predictions = Predictions(logits, np.arange(20), references)
    return measure(
        predictions,
        None if name == "random" else predictions,
        Split(
            name,
            datasets.Dataset.from_dict({}),
            {"train": list(range(160)), "validation": list(range(20)), "test": list(range(20))},
            chosen_on_test=name == "random",
            caution=caution,
        ),
        _GENRES,
        curve=[{"epoch": 1.0, "loss": 0.7}, {"epoch": 1.0, "accuracy": 0.5}],
        robustness={"phone band": np.arange(20) < 10},
    )


def _report(*splits: SplitReport) -> Report:
    return Report(
        dataset="marsyas/gtzan",
        dataset_id="marsyas/gtzan",
        dataset_revision="c" * 40,
        base_model="`ntu-spml/distilhubert`",
        base_model_id="ntu-spml/distilhubert",
        recipe={"learning_rate": 5e-5},
        seed=42,
        skipped=("jazz.00054: broken",),
        warnings={"jazz": {"clipped": 3, "short": 1}},
        window_s=30.0,
        parameters=23_700_000,
        splits=splits,
    )


def test_every_figure_has_its_interval_and_its_n(tmp_path: Path) -> None:
    report = _report(_split("artist", 14))
    model_card.write(tmp_path, report, "you/genre")
    written = json.loads((tmp_path / "metrics.json").read_text())["splits"][0]
    for name in ("accuracy", "macro_f1", "ece", "brier", "calibrated_ece", "calibrated_brier"):
        assert written[name]["n"] == 20
        assert written[name]["low"] <= written[name]["value"] <= written[name]["high"] or "ece" in name
    assert written["accuracy"]["value"] == 0.7
    assert written["confusion"] == [[7, 3], [3, 7]]
    assert written["robustness"]["phone band"]["value"] == 0.5
    text = (tmp_path / "README.md").read_text()
    assert f"{report.main.accuracy} on 20 test clips" in text
    assert "160 clips trained on, 20 to choose the epoch, 20 tested once" in text
    assert "| jazz | 0.700 | 0.700 | 10 |" in text
    assert "- jazz: 3 clipped, 1 short" in text
    for picture in ("confusion_matrix.png", "calibration.png", "training_curve.png"):
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")
        assert f"]({picture})" in text


def test_two_splits_tell_their_gap(tmp_path: Path) -> None:
    report = _report(_split("artist", 14), _split("random", 18, caution="it flatters."))
    model_card.write(tmp_path, report, "you/genre")
    text = (tmp_path / "README.md").read_text()
    assert "reads +20.0 points against artists that were never heard" in text
    assert "The model in this repo is that of the `artist` split." in " ".join(text.split())
    assert "`random` split: it flatters." in text
    assert "each calibrated on others of them" not in text, "that is said of the model's own split alone"
    results = yaml.safe_load(ModelCard(text).data.to_yaml())["model-index"][0]["results"]
    figures = [metric for result in results for metric in result["metrics"]]
    assert [metric["value"] for metric in figures if metric["type"] == "accuracy"] == [0.7, 0.9]


def test_the_summary_names_split_and_n() -> None:
    lines = model_card.summary(_report(_split("artist", 14), _split("random", 18))).splitlines()
    assert lines[0].startswith("artist (n = 20): accuracy 0.700 [")
    assert lines[1].startswith("random (n = 20): accuracy 0.900 [")


@pytest.mark.parametrize("name", ["random", "artist"])
def test_calibration_says_what_it_was_measured_on(tmp_path: Path, name: str) -> None:
    model_card.write(tmp_path, _report(_split(name, 14)), "you/genre")
    assert ("each calibrated on others of them" in (tmp_path / "README.md").read_text()) is (name == "random")


def test_unfamiliar_recordings_are_reported_where_they_are_told(tmp_path: Path) -> None:
    report = _report(_split("artist", 14))
    model_card.write(tmp_path, report, "you/genre")
    assert "Unfamiliar recordings" not in (tmp_path / "README.md").read_text()
    figures = FamiliarityFigures(
        threshold=0.625,
        false_alarms=Estimate(0.048, 0.02, 0.09, 40),
        auroc=Estimate(0.91, 0.85, 0.96, 40),
        told=Estimate(0.7, 0.6, 0.8, 40),
    )
    model_card.write(tmp_path, replace(report, familiarity=figures), "you/genre")
    text = (tmp_path / "README.md").read_text()
    assert "a distance of\n0.625 from it" in text
    assert "Measured on 40 held-out clips" in text
    assert "| 0.910 [0.850, 0.960] |" in text
    assert json.loads((tmp_path / "metrics.json").read_text())["familiarity"]["told"]["n"] == 40
