import logging
from pathlib import Path

import optuna
import pytest

from training.cli import parse
from training.errors import TrainingError
from training.search import search

_MADE = (
    *("--dataset", "synthetic", "--synthetic_clips_per_genre", "3", "--synthetic_duration_s", "2", "--use_cpu"),
    *("--max_duration_s", "1", "--model_name_or_path", "tiny", "--max_steps", "1", "--disable_tqdm", "True"),
)


@pytest.mark.slow
def test_trials_are_kept_and_the_best_is_told_as_options(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    options = parse("test", [*_MADE, "--split", "artist", "--recipe", "best", "--output_dir", str(tmp_path)])
    with caplog.at_level(logging.INFO):
        first = search(*options, n_trials=2)
        search(*options, n_trials=1)
    assert first.keys() == {"learning_rate", "warmup_steps", "weight_decay", "per_device_train_batch_size"}
    assert "Best accuracy on 10 validation clips" in caplog.text
    assert f"--learning_rate {first['learning_rate']:g}" in caplog.text
    (study,) = optuna.get_all_study_summaries(f"sqlite:///{tmp_path / 'trials.db'}")
    assert study.n_trials == 3
    assert list(tmp_path.rglob("checkpoint-*")) == []


def test_a_search_does_not_choose_by_the_test_clips(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="--split artist"):
        search(*parse("test", [*_MADE, "--output_dir", str(tmp_path)]), n_trials=1)
