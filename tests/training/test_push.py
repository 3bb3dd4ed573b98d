from pathlib import Path

import pytest
from huggingface_hub import HfApi

from tests.support.hub_stand_in import HubStandIn
from training import hub as training_hub
from training.errors import TrainingError
from training.evaluation.gate import Verdict
from training.publishing.release import release


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    return tmp_path


@pytest.fixture
def write_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_write")


@pytest.mark.usefixtures("write_token")
def test_preflight_creates_the_repo_or_finds_it(hub: HubStandIn) -> None:
    assert training_hub.preflight("you/created", private=None) == "you/created"
    assert training_hub.preflight("you/created", private=None) == "you/created"


def test_preflight_refuses_a_token_that_may_only_read(hub: HubStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.create_repo("you/readable")
    monkeypatch.setenv("HF_TOKEN", "hf_read")
    with pytest.raises(TrainingError, match="Set HF_TOKEN to one with write access"):
        training_hub.preflight("you/readable", private=None)


@pytest.mark.parametrize("token", ["hf_unknown", None])
def test_preflight_without_a_good_token(hub: HubStandIn, monkeypatch: pytest.MonkeyPatch, token: str | None) -> None:
    if token is not None:
        monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(TrainingError, match="Set HF_TOKEN"):
        training_hub.preflight("you/never-created", private=None)


@pytest.mark.usefixtures("write_token")
def test_a_push_is_one_commit_of_the_whole_folder(hub: HubStandIn, folder: Path) -> None:
    training_hub.preflight("you/pushed", private=None)
    before = len(hub.history("you/pushed"))
    commit = training_hub.push(folder, "you/pushed")
    assert commit == hub.head("you/pushed")
    assert len(hub.history("you/pushed")) == before + 1
    assert hub.files("you/pushed")["model.safetensors"] == b"weights"


@pytest.mark.usefixtures("write_token")
@pytest.mark.parametrize(
    "fault",
    [
        {"status": 503},
        pytest.param({"status": 429}, marks=pytest.mark.thorough),
        pytest.param({"drop": True}, marks=pytest.mark.thorough),
    ],
)
def test_a_push_survives_passing_faults(hub: HubStandIn, folder: Path, fault: dict[str, object]) -> None:
    name = "you/flaky-" + "-".join(map(str, fault.values()))
    training_hub.preflight(name, private=None)
    hub.fail("POST .*/commit/", times=1, **fault)  # type: ignore[arg-type]
    training_hub.push(folder, name)
    assert "model.safetensors" in hub.files(name)


@pytest.mark.usefixtures("write_token")
def test_leftovers_of_an_earlier_push_are_removed(hub: HubStandIn, folder: Path) -> None:
    training_hub.preflight("you/renewed", private=None)
    hub.commit("you/renewed", {"model-00001-of-00002.safetensors": b"old", "notes.txt": b"somebody's"})
    training_hub.push(folder, "you/renewed")
    assert sorted(hub.files("you/renewed")) == [".gitattributes", "config.json", "model.safetensors", "notes.txt"]


@pytest.mark.usefixtures("write_token")
def test_each_commit_of_the_main_branch_gets_the_next_tag(hub: HubStandIn, folder: Path) -> None:
    repo = training_hub.preflight("you/tagged", private=None)
    first = training_hub.push(folder, repo)
    assert training_hub.tag_release(repo, first) == "v1"
    assert training_hub.tag_release(repo, first) == "v1"
    (folder / "config.json").write_text('{"changed": true}')
    assert training_hub.tag_release(repo, training_hub.push(folder, repo)) == "v2"
    tags = {tag.name: tag.target_commit for tag in HfApi().list_repo_refs(repo).tags}
    assert tags == {"v1": first, "v2": hub.head(repo)}


@pytest.mark.usefixtures("write_token")
def test_a_tag_that_the_hub_refuses_leaves_the_push(
    hub: HubStandIn, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    repo = training_hub.preflight("you/untagged", private=None)
    commit = training_hub.push(folder, repo)
    hub.fail("POST .*/tag/", status=403, times=None)
    assert training_hub.tag_release(repo, commit) is None
    assert f"The commit {commit} of you/untagged is pushed, and has no tag" in caplog.text


def _verdict(high: float) -> Verdict:
    return Verdict("c" * 40, n=100, new_accuracy=0.7, current_accuracy=0.8, low=-0.2, high=high)


@pytest.mark.usefixtures("write_token")
def test_a_model_that_is_worse_is_pushed_beside_the_branch(
    hub: HubStandIn, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    repo = training_hub.preflight("you/gated", private=None)
    before = hub.head(repo)
    release(folder, repo, _verdict(high=-0.01))
    assert hub.head(repo) == before
    (branch,) = [ref.name for ref in HfApi().list_repo_refs(repo).branches if ref.name != "main"]
    assert branch.startswith("refused-")
    assert hub.files(repo, revision=branch)["model.safetensors"] == b"weights"
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "accuracy 0.700 against 0.800 of the current model" in warning
    assert branch in warning
    release(folder, repo, _verdict(high=0.0))
    assert hub.head(repo) != before


@pytest.mark.usefixtures("write_token")
def test_the_gate_stays_shut_while_the_hub_does_not_deliver(
    hub: HubStandIn, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = training_hub.preflight("you/current", private=None)
    assert training_hub.current_model(repo) is None
    training_hub.push(folder, repo)
    monkeypatch.setattr(training_hub, "_PULL_DEADLINE_S", 1)
    hub.fail("GET /.*/model.safetensors", status=503, times=None)
    with pytest.raises(TrainingError, match="compare with cannot be had"):
        training_hub.current_model(repo)


@pytest.mark.usefixtures("write_token")
def test_a_refused_model_that_cannot_be_pushed_is_not_recommended(hub: HubStandIn, folder: Path) -> None:
    repo = training_hub.preflight("you/refused", private=None)
    hub.fail("POST .*/branch/", status=403, times=None)
    with pytest.raises(TrainingError, match="the gate refused it"):
        release(folder, repo, _verdict(high=-0.01))
