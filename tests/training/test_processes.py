"""Several processes tell the same figures as one."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.hub_stand_in import HubStandIn
from tests.support.processes import run

# 30 held-out windows: neither a multiple of the batch of 8 nor of two processes' batches.
_MADE = ("--dataset", "synthetic", "--synthetic_clips_per_genre", "3", "--synthetic_duration_s", "3")
_SHORT = ("--max_duration_s", "1", "--per_device_train_batch_size", "4", "--use_cpu", "--no_robustness")
_TWO = ("torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m")


def _numbers(value: Any, path: str = "") -> dict[str, float]:
    """Each number of metrics.json by its path."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {name: number for key, part in items for name, number in _numbers(part, f"{path}/{key}").items()}
    return {path: value} if isinstance(value, int | float) else {}


@pytest.mark.slow
def test_two_processes_evaluate_as_one_and_one_of_them_writes(model_folder: Path, tmp_path: Path) -> None:
    def command(folder: str) -> tuple[str, ...]:
        base = ("--model_name_or_path", str(model_folder), "--output_dir", str(tmp_path / folder))
        return ("training", *_MADE, *_SHORT, *base, "--num_train_epochs", "1", "--learning_rate", "1e-3")

    alone = run(*command("one"))
    assert alone.returncode == 0, alone.stdout
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    shutil.rmtree(tmp_path / "two" / "model")
    together = run(*_TWO, *command("two"))
    assert together.returncode == 0, together.stdout
    assert together.stdout.count("The model is in") == 1
    figures = [
        _numbers(json.loads((tmp_path / name / "model" / "metrics.json").read_text())) for name in ("one", "two")
    ]
    assert figures[0] == pytest.approx(figures[1], abs=1e-6)
    assert figures[0]["/splits/0/accuracy/n"] == 10
    assert len(list((tmp_path / "two").glob("checkpoint-*"))) == 1, "no further step"


@pytest.mark.slow
def test_two_processes_share_a_stream_and_one_of_them_pushes(hub: HubStandIn, tmp_path: Path) -> None:
    base = ("--model_name_or_path", "tiny", "--output_dir", str(tmp_path), "--logging_steps", "1")
    push = ("--push_to_hub", "--hub_model_id", "you/together")
    command = ("training", *_MADE, *_SHORT, *base, "--streaming", "--num_train_epochs", "2", *push)
    result = run(*_TWO, *command, token="hf_write")
    assert result.returncode == 0, result.stdout
    assert len(list((tmp_path / "held-out").iterdir())) == 11, "ten clips and the index"
    # 20 clips, 8 a step in two processes: three steps an epoch.
    state = json.loads((tmp_path / "checkpoint-6" / "trainer_state.json").read_text())
    assert [entry["epoch"] for entry in state["log_history"] if "eval_accuracy" in entry] == [1, 2]
    first = next(entry["loss"] for entry in state["log_history"] if "loss" in entry)
    assert first == pytest.approx(math.log(10), abs=0.3), "of a guess among ten, not times two processes"
    assert json.loads((tmp_path / "model" / "metrics.json").read_text())["splits"][0]["clips"]["train"] == 20
    assert len(hub.history("you/together")) == 2, "the repo's first commit and one push"
    assert result.stdout.count("Pushed you/together") == 1
