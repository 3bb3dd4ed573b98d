"""A run that was killed and started again ends as one that was not."""

import hashlib
import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import run, started

_MADE = ("--dataset", "synthetic", "--synthetic_clips_per_genre", "3", "--synthetic_duration_s", "2")
# The last epochs must matter, or a fault there would not show: the learning rate moves the model, the last one is kept.
_RECIPE = (
    "--random_crop",
    "--learning_rate",
    "1e-3",
    "--load_best_model_at_end",
    "False",
)
_BY_STEP = ("--save_strategy", "steps", "--save_steps", "3", "--eval_strategy", "steps", "--eval_steps", "3")
_SHORT = ("--max_duration_s", "1", "--per_device_train_batch_size", "4", "--num_train_epochs", "3", "--no_robustness")


def _command(base: Path, output_dir: Path) -> tuple[str, ...]:
    base_model = ("--model_name_or_path", str(base), "--use_cpu", "--output_dir", str(output_dir))
    return ("training", *_MADE, *base_model, *_SHORT, *_RECIPE, *_BY_STEP)


def _kill_when(path: Path, command: tuple[str, ...], log: Path) -> None:
    with started(*command, log=log) as process:
        deadline = time.monotonic() + 120
        while not path.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, log.read_text()


def _outcome(output_dir: Path) -> tuple[dict[str, Any], str]:
    """All figures, and the hash of the weights."""
    weights = (output_dir / "model" / "model.safetensors").read_bytes()
    figures: dict[str, Any] = json.loads((output_dir / "model" / "metrics.json").read_text())
    return figures, hashlib.sha256(weights).hexdigest()


@pytest.mark.slow
def test_a_killed_run_ends_as_an_unbroken_one(model_folder: Path, tmp_path: Path) -> None:
    """The model has dropout; crops are drawn; the order is shuffled."""
    unbroken = run(*_command(model_folder, tmp_path / "unbroken"))
    assert unbroken.returncode == 0, unbroken.stdout
    command = _command(model_folder, tmp_path / "killed")
    # Amid the writing of the second checkpoint, then after it; five steps are an epoch.
    for moment in ("checkpoint-6", "checkpoint-6/trainer_state.json"):
        _kill_when(tmp_path / "killed" / moment, command, tmp_path / "log")
    resumed = run(*command)
    assert resumed.returncode == 0, resumed.stdout
    assert "Resuming at" in resumed.stdout
    assert _outcome(tmp_path / "killed") == _outcome(tmp_path / "unbroken")
