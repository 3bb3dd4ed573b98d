from pathlib import Path

import pytest

from tests.support.hub_stand_in import HubStandIn
from training import hub as training_hub
from training.errors import TrainingError


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
@pytest.mark.parametrize("fault", [{"status": 503}, {"status": 429}, {"drop": True}])
def test_a_push_survives_passing_faults(hub: HubStandIn, folder: Path, fault: dict[str, object]) -> None:
    name = "you/flaky-" + "-".join(map(str, fault.values()))
    training_hub.preflight(name, private=None)
    hub.fail("POST .*/commit/", times=1, **fault)  # type: ignore[arg-type]
    training_hub.push(folder, name)
    assert "model.safetensors" in hub.files(name)


@pytest.mark.usefixtures("write_token")
def test_what_an_earlier_push_left_is_removed(hub: HubStandIn, folder: Path) -> None:
    training_hub.preflight("you/renewed", private=None)
    hub.commit("you/renewed", {"model-00001-of-00002.safetensors": b"old", "notes.txt": b"somebody's"})
    training_hub.push(folder, "you/renewed")
    assert sorted(hub.files("you/renewed")) == [".gitattributes", "config.json", "model.safetensors", "notes.txt"]
