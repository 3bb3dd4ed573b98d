"""Cross-validation in this process, on a few synthetic clips."""

import json
from pathlib import Path

import pytest

from training.cli import parse
from training.crossvalidate import crossvalidate
from training.errors import TrainingError
from training.finetuning.model import TINY

pytestmark = pytest.mark.thorough

_OPTIONS = (
    *("--dataset", "synthetic", "--synthetic_clips_per_genre", "3", "--synthetic_duration_s", "1"),
    *("--max_duration_s", "1", "--model_name_or_path", TINY, "--max_steps", "1", "--feature_encoder", "cached"),
    *("--no_robustness", "--use_cpu"),
)


def test_folds_are_measured_and_leave_no_model(tmp_path: Path) -> None:
    folder = crossvalidate(*parse("test", ["--output_dir", str(tmp_path), *_OPTIONS]), folds=3)
    measured = json.loads((folder / "metrics.json").read_text())["splits"]
    assert [split["split"] for split in measured] == ["fold 1 of 3", "fold 2 of 3", "fold 3 of 3"]
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("option", [("--push_to_hub", "--hub_model_id", "you/x"), ("--streaming",)])
def test_options_that_need_a_model_or_all_clips_are_refused(tmp_path: Path, option: tuple[str, ...]) -> None:
    with pytest.raises(TrainingError):
        crossvalidate(*parse("test", ["--output_dir", str(tmp_path), *_OPTIONS, *option]), folds=3)
