"""The training job as a process of its own, two steps long."""

import hashlib
import json
import math
import signal
import time
from pathlib import Path

import openvino
import pytest
import yaml
from huggingface_hub import ModelCard

from tests import gtzan
from tests.hub_stand_in import HubStandIn
from tests.processes import run, started
from tests.test_model import push_base_model

_SHORT = ("--max_duration_s", "1", "--per_device_train_batch_size", "4")
_MADE = ("--dataset", "synthetic", "--synthetic_clips_per_genre", "2", "--synthetic_duration_s", "2")


@pytest.fixture(scope="module")
def pushed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[tuple[str, ...], str]:
    """The command of a finished run that pushed you/genre, and what it said."""
    hub = request.getfixturevalue("session_hub")
    folder = tmp_path_factory.mktemp("training")
    hub.create_repo("you/gtzan", repo_type="dataset")
    hub.commit("you/gtzan", gtzan.files(3), repo_type="dataset")
    push_base_model(hub, "you/distil", folder / "base")
    command = (
        *("training", "--dataset", "you/gtzan", "--model_name_or_path", "you/distil", *_SHORT, "--max_steps", "2"),
        *("--output_dir", str(folder / "run"), "--push_to_hub", "--hub_model_id", "you/genre"),
    )
    result = run(*command, token="hf_write")
    assert result.returncode == 0, result.stdout
    return command, result.stdout


def test_the_commit_is_printed_and_holds_the_contract_and_no_more(
    hub: HubStandIn, pushed: tuple[tuple[str, ...], str]
) -> None:
    _, output = pushed
    files = hub.files("you/genre")
    assert f"Pushed you/genre, commit {hub.head('you/genre')}" in output
    assert sorted(files) == [
        ".gitattributes",
        "README.md",
        "calibration.png",
        "config.json",
        "confusion_matrix.png",
        "metrics.json",
        "model.safetensors",
        "openvino/model.bin",
        "openvino/model.xml",
        "preprocessor_config.json",
        "serving.json",
        "training_curve.png",
    ]
    assert [name for name, content in files.items() if b"hf_write" in content] == []
    assert "hf_write" not in output
    serving = json.loads(files["serving.json"])
    assert serving.pop("graphs") == {
        name: hashlib.sha256(files[name]).hexdigest() for name in ("openvino/model.bin", "openvino/model.xml")
    }
    measured = json.loads(files["metrics.json"])["splits"][0]
    assert list(measured["robustness"])[:2] == ["mp3 at 64 kb/s", "phone band"]
    assert serving.pop("temperature") == measured["temperature"]
    assert serving.pop("uncertain_below") == measured["threshold"]["uncertain_below"]
    assert serving == {"schema_version": 1, "window_s": 1.0, "fill": "repeat"}
    assert json.loads(files["preprocessor_config.json"])["max_length"] == 16_000
    assert files["confusion_matrix.png"].startswith(b"\x89PNG")


def test_the_card_says_what_was_trained_on_what(hub: HubStandIn, pushed: tuple[tuple[str, ...], str]) -> None:
    card = ModelCard(hub.files("you/genre")["README.md"].decode())
    data = yaml.safe_load(card.data.to_yaml())
    assert data["pipeline_tag"] == "audio-classification"
    assert data["base_model"] == "you/distil"
    assert data["datasets"] == ["you/gtzan"]
    metrics = data["model-index"][0]["results"][0]["metrics"]
    assert {metric["type"] for metric in metrics} == {"accuracy", "f1"}
    assert hub.head("you/gtzan", repo_type="dataset") in card.text
    assert "20 clips trained on, 10 held out" in card.text
    assert "lr_scheduler_type linear" in card.text
    assert gtzan.CORRUPT in card.text
    assert "![Confusion matrix](confusion_matrix.png)" in card.text


def test_a_corrupt_clip_costs_one_warning(pushed: tuple[tuple[str, ...], str]) -> None:
    _, output = pushed
    assert [gtzan.CORRUPT in line for line in output.splitlines() if "WARNING Skipped" in line] == [True]


def test_the_same_command_again_resumes_and_changes_nothing(
    hub: HubStandIn, pushed: tuple[tuple[str, ...], str]
) -> None:
    command, _ = pushed
    before = hub.files("you/genre")
    result = run(*command, token="hf_write")
    assert result.returncode == 0, result.stdout
    assert "Resuming at" in result.stdout
    assert hub.files("you/genre") == before


def test_other_settings_in_the_same_folder_are_refused(pushed: tuple[tuple[str, ...], str]) -> None:
    command, _ = pushed
    result = run(*command, "--learning_rate", "1", token="hf_write")
    assert result.returncode == 1
    assert "learning_rate was 5e-05, now 1.0" in result.stdout


def test_a_push_that_fails_at_the_end_is_repeated_from_the_folder(
    hub: HubStandIn, pushed: tuple[tuple[str, ...], str]
) -> None:
    command, _ = pushed
    output_dir = command[command.index("--output_dir") + 1]
    hub.fail("POST .*/you/late/commit/", status=403, times=None)
    failed = run(*command[:-1], "you/late", token="hf_write")
    assert failed.returncode == 1
    assert f"python -m training.push {output_dir} --hub_model_id you/late" in failed.stdout
    assert "Traceback" not in failed.stdout
    hub.clear_faults()
    again = run("training.push", output_dir, "--hub_model_id", "you/late", token="hf_write")
    assert again.stdout.split()[-1] == hub.head("you/late")
    assert hub.files("you/late")["model.safetensors"] == hub.files("you/genre")["model.safetensors"]


def test_a_token_that_may_only_read_is_noticed_before_any_data_work(hub: HubStandIn, tmp_path: Path) -> None:
    hub.create_repo("you/read-only")
    hub.forget_requests()
    result = run(
        *("training", "--dataset", "you/gtzan", "--model_name_or_path", "tiny", "--output_dir", str(tmp_path)),
        *("--push_to_hub", "--hub_model_id", "you/read-only"),
        token="hf_read",
    )
    assert result.returncode == 1
    assert "write access" in result.stdout
    assert [request.path for request in hub.requests if "gtzan" in request.path] == []


def test_a_token_on_the_command_line_is_refused(tmp_path: Path) -> None:
    result = run("training", "--output_dir", str(tmp_path), "--hub_token", "hf_write")
    assert result.returncode == 2
    assert "HF_TOKEN" in result.stdout


def test_a_killed_run_resumes_at_its_last_checkpoint(model_folder: Path, tmp_path: Path) -> None:
    command = (
        *(
            "training",
            *_MADE,
            "--model_name_or_path",
            str(model_folder),
            *_SHORT,
            "--output_dir",
            str(tmp_path / "run"),
        ),
        *("--num_train_epochs", "4", "--random_crop", "--bf16", "--use_cpu"),
    )
    with started(*command, log=tmp_path / "log") as process:
        first = tmp_path / "run" / "checkpoint-3" / "trainer_state.json"
        deadline = time.monotonic() + 120
        while not first.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    result = run(*command)
    assert result.returncode == 0, result.stdout
    assert "Resuming at" in result.stdout
    graph = openvino.Core().compile_model(tmp_path / "run" / "model" / "openvino" / "model.xml", "CPU")
    assert graph.input(0).element_type == openvino.Type.f32, "no trace of the mixed precision of training"
    weights = tmp_path / "run" / "model" / "model.safetensors"
    assert weights.stat().st_mode & 0o044 == 0o044, "another user serves it"
    state = json.loads((tmp_path / "run" / "checkpoint-12" / "trainer_state.json").read_text())
    assert [entry["epoch"] for entry in state["log_history"] if "eval_accuracy" in entry] == [1, 2, 3, 4]
    assert (tmp_path / "run" / "model" / "serving.json").is_file()


def test_two_processes_train_one_model_and_one_pushes(hub: HubStandIn, tmp_path: Path) -> None:
    result = run(
        *("torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "training", *_MADE, *_SHORT),
        *("--model_name_or_path", "tiny", "--max_steps", "2", "--use_cpu", "--output_dir", str(tmp_path)),
        *("--logging_steps", "1", "--no_robustness"),
        *("--push_to_hub", "--hub_model_id", "you/together"),
        token="hf_write",
    )
    assert result.returncode == 0, result.stdout
    assert len(hub.history("you/together")) == 2, "the repo's first commit and one push"
    assert result.stdout.count("Pushed you/together") == 1
    state = json.loads((tmp_path / "checkpoint-2" / "trainer_state.json").read_text())
    losses = [entry["loss"] for entry in state["log_history"] if "loss" in entry]
    assert losses == pytest.approx([math.log(10)] * 2, abs=0.3), "of a guess among ten, not times two processes"


def test_both_splits_are_trained_and_the_model_is_that_of_artist(model_folder: Path, tmp_path: Path) -> None:
    made = ("--dataset", "synthetic", "--synthetic_clips_per_genre", "3", "--synthetic_duration_s", "2", *_SHORT)
    command = (*("training", *made, "--model_name_or_path", str(model_folder), "--max_steps", "1"), "--split", "both")
    result = run(*command, "--output_dir", str(tmp_path))
    assert result.returncode == 0, result.stdout
    measured = json.loads((tmp_path / "model" / "metrics.json").read_text())["splits"]
    assert [(split["split"], split["clips"]["test"]) for split in measured] == [("artist", 10), ("random", 10)]
    assert "Measured on made music" in result.stdout
    assert "points against artists" in (tmp_path / "model" / "README.md").read_text()


def test_folds_are_measured_and_leave_no_model(model_folder: Path, tmp_path: Path) -> None:
    made = ("--dataset", "synthetic", "--synthetic_clips_per_genre", "3", "--synthetic_duration_s", "2", *_SHORT)
    command = ("training", *made, "--model_name_or_path", str(model_folder), "--max_steps", "1", "--folds", "3")
    result = run(*command, "--augment", "noise", "codec", "--output_dir", str(tmp_path))
    assert result.returncode == 0, result.stdout
    measured = json.loads((tmp_path / "metrics.json").read_text())["splits"]
    assert [split["split"] for split in measured] == ["fold 1 of 3", "fold 2 of 3", "fold 3 of 3"]
    assert not (tmp_path / "model").exists()


def test_an_unknown_augmentation_is_refused() -> None:
    result = run("training", "--augment", "echo")
    assert result.returncode == 2
    assert "--augment takes gain, noise, eq, codec, not echo" in result.stdout


def test_help_explains_every_option_of_ours() -> None:
    output = run("training", "--help").stdout
    for option in ("--dataset", "--dataset_revision", "--split", "--max_duration_s", "--model_name_or_path"):
        assert option in output
    assert "made music" in output
