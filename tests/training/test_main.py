"""The training job as a process of its own, two steps long."""

import hashlib
import json
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard

from tests.support import golden_model, gtzan, tiny_model
from tests.support.hub_stand_in import HubStandIn
from tests.support.processes import run
from tests.training.finetuning.test_model import push_base_model
from training import push
from training.__main__ import main

pytestmark = pytest.mark.thorough

_SHORT = ("--max_duration_s", "1", "--per_device_train_batch_size", "4")
_GRAPHS = [
    f"openvino/{name}"
    for name in ("encoder.bin", "encoder.xml", "tiling.safetensors", "transformer.bin", "transformer.xml")
]
_GOLDEN = [f"golden/{style}.flac" for style in ("classical", "hiphop", "metal")]
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
        *_GOLDEN,
        "metrics.json",
        "model.safetensors",
        *_GRAPHS,
        "preprocessor_config.json",
        "serving.json",
        "training_curve.png",
    ]
    assert [name for name, content in files.items() if b"hf_write" in content] == []
    assert "hf_write" not in output
    serving = json.loads(files["serving.json"])
    assert serving.pop("graphs") == {name: hashlib.sha256(files[name]).hexdigest() for name in _GRAPHS}
    golden = serving.pop("golden")
    reference = serving.pop("reference")
    assert reference == json.loads(files["metrics.json"])["splits"][0]["reference"]
    assert reference["clips"] == 10
    assert sum(reference["genres"].values()) == pytest.approx(1) == sum(reference["confidence"])
    assert {clip["file"]: clip["sha256"] for clip in golden["clips"]} == {
        name: hashlib.sha256(files[name]).hexdigest() for name in _GOLDEN
    }
    measured = json.loads(files["metrics.json"])["splits"][0]
    assert list(measured["robustness"])[:2] == ["mp3 at 64 kb/s", "phone band"]
    assert serving.pop("temperature") == measured["temperature"]
    assert serving.pop("uncertain_below") == measured["threshold"]["uncertain_below"]
    assert serving == {
        "schema_version": 1,
        "window_s": 1.0,
        "trained_on": {"name": "you/gtzan", "synthetic": False},
    }
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
    """In a process of its own, as OpenVINO numbers the nodes of all graphs of a process."""
    command, _ = pushed
    before = hub.files("you/genre")
    result = run(*command, token="hf_write")
    assert result.returncode == 0, result.stdout
    assert "Resuming at" in result.stdout
    assert hub.files("you/genre") == before


def test_other_settings_in_the_same_folder_are_refused(
    pushed: tuple[tuple[str, ...], str], capsys: pytest.CaptureFixture[str]
) -> None:
    (_, *options), _ = pushed
    assert main([*options, "--learning_rate", "1"]) == 1
    assert "learning_rate was 5e-05, now 1.0" in capsys.readouterr().err


@pytest.mark.slow
def test_a_push_that_fails_at_the_end_is_repeated_from_the_folder(
    hub: HubStandIn,
    pushed: tuple[tuple[str, ...], str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command, _ = pushed
    output_dir = command[command.index("--output_dir") + 1]
    hub.fail("POST .*/you/late/commit/", status=403, times=None)
    failed = run(*command[:-1], "you/late", token="hf_write")
    assert failed.returncode == 1
    assert f"python -m training.push {output_dir} --hub_model_id you/late" in failed.stdout
    assert "Traceback" not in failed.stdout
    hub.clear_faults()
    monkeypatch.setenv("HF_TOKEN", "hf_write")
    assert push.main([output_dir, "--hub_model_id", "you/late"]) == 0
    assert capsys.readouterr().out.split()[-1] == hub.head("you/late")
    assert hub.files("you/late")["model.safetensors"] == hub.files("you/genre")["model.safetensors"]


def test_a_token_that_may_only_read_is_noticed_before_any_data_work(
    hub: HubStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.create_repo("you/read-only")
    hub.forget_requests()
    monkeypatch.setenv("HF_TOKEN", "hf_read")
    options = ("--dataset", "you/gtzan", "--model_name_or_path", "tiny", "--output_dir", str(tmp_path))
    assert main([*options, "--push_to_hub", "--hub_model_id", "you/read-only"]) == 1
    assert "write access" in capsys.readouterr().err
    assert [request.path for request in hub.requests if "gtzan" in request.path] == []


def test_the_gate_compares_with_the_model_on_the_branch(
    hub: HubStandIn,
    model_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_write")
    before = {}
    for repo, content in (("you/gate", model_folder), ("you/gate-others", tmp_path / "others")):
        if not content.exists():
            tiny_model.save(content, ("polka", "waltz"))
        hub.create_repo(repo)
        before[repo] = hub.commit(repo, golden_model.files(content))
    options = ("--model_name_or_path", "tiny", *_MADE, *_SHORT, "--max_steps", "1", "--no_robustness", "--use_cpu")
    gate = ("--push_to_hub", "--push_gate", "--hub_model_id")
    assert main([*options, *gate, "you/gate-others", "--output_dir", str(tmp_path / "refused")]) == 1
    assert (
        "--push_gate compares models of the same genres. you/gate-others tells polka, waltz" in capsys.readouterr().err
    )
    assert not (tmp_path / "refused" / "model").exists()
    assert main([*options, *gate, "you/gate", "--output_dir", str(tmp_path / "run")]) == 0
    (row,) = [
        line
        for line in hub.files("you/gate")["README.md"].decode().splitlines()
        if line.startswith("| Against the model")
    ]
    assert f"of the current model, commit {before['you/gate'][:12]}" in row
    assert json.loads(hub.files("you/gate")["metrics.json"])["gate"]["current"] == before["you/gate"]


def test_help_explains_every_option_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    output = capsys.readouterr().out
    for option in ("--dataset", "--dataset_revision", "--split", "--max_duration_s", "--model_name_or_path"):
        assert option in output
    assert "synthetic music" in output
