"""The training job in this process, on a few synthetic clips, with the small model, which has no dropout."""

import json
import logging
from pathlib import Path
from types import SimpleNamespace

import datasets
import numpy as np
import openvino
import pytest
import torch
from safetensors.torch import load_file

from service.model.graphs.core import CORE
from service.model.layout import GRAPH_FOLDER
from tests.support import gtzan
from tests.support.hub_stand_in import HubStandIn
from training.cli import parse
from training.data.splits import Split
from training.finetuning.trainer import GenreTrainer, class_weights
from training.train import train

_COMMON = (
    *("--dataset", "synthetic", "--synthetic_clips_per_genre", "2", "--synthetic_duration_s", "2"),
    *("--max_duration_s", "1", "--learning_rate", "1e-3", "--no_robustness", "--disable_tqdm", "True"),
    *("--logging_steps", "1"),
)


_THREE_CLIPS = ("--synthetic_clips_per_genre", "3")


def _train(output_dir: Path, *options: str) -> Path:
    command = [*_COMMON, "--model_name_or_path", "tiny", "--output_dir", str(output_dir), *options]
    return train(*parse("test", command))


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    weights: dict[str, torch.Tensor] = load_file(folder / "model.safetensors")
    return weights


def _losses(output_dir: Path) -> list[float]:
    state = json.loads((output_dir / "checkpoint-3" / "trainer_state.json").read_text())
    return [entry["loss"] for entry in state["log_history"] if "loss" in entry]


@pytest.mark.slow
def test_steps_gathered_from_small_batches_are_those_of_large_ones(tmp_path: Path) -> None:
    large = _train(tmp_path / "large", "--per_device_train_batch_size", "4", "--max_steps", "3")
    small = ("--per_device_train_batch_size", "1", "--gradient_accumulation_steps", "4", "--max_steps", "3")
    gathered = _weights(_train(tmp_path / "small", *small))
    for name, weight in _weights(large).items():
        torch.testing.assert_close(gathered[name], weight, atol=1e-4, rtol=1e-3)
    # AdamW hides a loss that is too large by a factor; the log does not.
    assert _losses(tmp_path / "small") == pytest.approx(_losses(tmp_path / "large"), rel=1e-3)


@pytest.mark.slow
def test_a_frozen_encoder_stays_and_the_rest_learns_cached_or_not(tmp_path: Path) -> None:
    start, frozen, cached = (
        _weights(_train(tmp_path / name, "--feature_encoder", encoder, "--max_steps", steps))
        for name, encoder, steps in (("start", "frozen", "1"), ("frozen", "frozen", "3"), ("cached", "cached", "3"))
    )
    assert frozen.keys() == cached.keys() == start.keys()
    for name, weight in frozen.items():
        assert torch.equal(weight, start[name]) == ("feature_extractor" in name), name
        # What the cache holds is rounded to bfloat16.
        torch.testing.assert_close(cached[name], weight, atol=5e-3, rtol=0)


@pytest.mark.thorough
def test_saved_weights_are_float32_whatever_training_computed_in(tmp_path: Path) -> None:
    folder = _train(tmp_path, "--max_steps", "1", "--bf16")
    for name in ("encoder.xml", "transformer.xml"):
        graph = CORE.compile_model(folder / GRAPH_FOLDER / name, "CPU")
        assert graph.input(0).element_type == openvino.Type.f32
    for file in folder.rglob("*"):
        assert file.stat().st_mode & 0o044 == 0o044, f"another user serves {file}"


@pytest.mark.thorough
def test_both_splits_are_trained_and_the_model_is_that_of_artist(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        folder = _train(tmp_path, *_THREE_CLIPS, "--max_steps", "1", "--split", "both")
    measured = json.loads((folder / "metrics.json").read_text())["splits"]
    assert [(split["split"], split["clips"]["test"]) for split in measured] == [("artist", 10), ("random", 10)]
    assert "Measured on synthetic music" in caplog.text
    assert "points against artists" in (folder / "README.md").read_text()


def test_rare_genres_weigh_more_when_asked(tmp_path: Path) -> None:
    """One of two genres has a clip in four: its mistakes count twice as much as the mean clip's."""
    rows = [{"audio": {"bytes": b"", "path": f"{genre}/{n}"}, "genre": genre} for n, genre in enumerate((0, 0, 0, 1))]
    split = Split("random", datasets.Dataset.from_list(rows), {"train": [0, 1, 2, 3]}, True, None)
    torch.testing.assert_close(class_weights(split), torch.tensor([2 / 3, 2.0]))


class _Constant(torch.nn.Module):
    """Answers all clips the same."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = torch.nn.Parameter(torch.tensor([0.5, -0.5]))

    def forward(self, input_values: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=self.logits.expand(len(input_values), 2))


def test_weights_of_genres_count_whatever_the_batch(tmp_path: Path) -> None:
    """The loss of a batch is the mean of those of its clips, so that steps may be gathered from small batches."""
    off = ("--eval_strategy", "no", "--save_strategy", "no", "--load_best_model_at_end", "False")
    _, _, arguments = parse("test", ["--output_dir", str(tmp_path), *off])
    model = _Constant()
    trainer = GenreTrainer(model=model, args=arguments, class_weights=torch.tensor([0.5, 2.0]))

    def loss(*labels: int) -> float:
        inputs = {"input_values": torch.zeros(len(labels), 1), "labels": torch.tensor(labels)}
        return float(trainer.compute_loss(model, inputs).detach())

    assert loss(0, 1) == pytest.approx((loss(0) + loss(1)) / 2)
    assert loss(1) == pytest.approx(2.0 * np.log1p(np.e))


@pytest.mark.parametrize(
    ("metric", "greater"), [("accuracy", True), ("macro_f1", True), ("loss", False), ("eval_loss", False)]
)
def test_the_best_epoch_has_the_lowest_loss_or_the_highest_of_others(metric: str, greater: bool) -> None:
    _, _, arguments = parse("test", ["--metric_for_best_model", metric])
    assert arguments.greater_is_better is greater


def test_a_metric_that_nobody_measures_is_refused_before_the_training(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse("test", ["--metric_for_best_model", "f1"])
    assert "must be one of accuracy, macro_f1, loss" in capsys.readouterr().err


@pytest.mark.thorough
def test_a_dry_run_of_few_clips(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for genre in ("jazz", "metal"):
        (tmp_path / "clips" / genre).mkdir(parents=True)
        for seed in range(2):
            (tmp_path / "clips" / genre / f"{seed}.wav").write_bytes(gtzan.clip(genre, seed))
    with caplog.at_level(logging.INFO):
        _train(tmp_path / "run", "--dataset", str(tmp_path / "clips"), "--dry_run")
    assert "2 train, 2 validation, 2 test" in caplog.text


def test_a_token_on_the_command_line_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse("test", ["--hub_token", "hf_write"])
    assert "HF_TOKEN" in capsys.readouterr().err


def test_a_dry_run_tells_the_work_and_leaves_nothing(
    hub: HubStandIn, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hub.forget_requests()
    push = ("--push_to_hub", "--hub_model_id", "you/dry")
    with caplog.at_level(logging.INFO):
        _train(tmp_path / "run", "--recipe", "best", "--num_train_epochs", "5", "--dry_run", *push)
    assert hub.requests == []
    for line in ("20 of synthetic music, 10 genres", "10 train, 10 validation, 10 test", "steps", "10 of 8 clips"):
        assert line in caplog.text
    assert "encoder cache" in caplog.text
    assert not (tmp_path / "run").exists()


def test_a_recipe_gives_defaults_that_an_option_overrules() -> None:
    _, base, arguments = parse("test", ["--recipe", "best"])
    assert (base.feature_encoder, base.attention_dropout, arguments.auto_precision) == ("cached", 0.0, "all")
    _, base, arguments = parse("test", ["--recipe", "best", "--feature_encoder", "frozen", "--auto_precision", "none"])
    assert (base.feature_encoder, base.attention_dropout, arguments.bf16) == ("frozen", 0.0, False)
    _, base, arguments = parse("test", [])
    assert (base.feature_encoder, base.attention_dropout, arguments.learning_rate) == ("trained", None, 5e-5)
