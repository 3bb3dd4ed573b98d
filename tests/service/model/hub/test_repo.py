"""Pulling the model: passing faults are retried, lasting ones are told apart, the cache stands in for the Hub."""

import shutil
import time
from pathlib import Path

import pytest
from huggingface_hub import get_session

from service.errors import StartupError
from service.model.artefact import read_artefact
from service.model.hub.repo import Snapshot, fetch, head, remember
from tests.support.hub_stand_in import HubStandIn
from tests.support.variants import usual

WEIGHTS = r"GET /.*/model.safetensors"


@pytest.fixture
def repo(hub: HubStandIn, model_folder: Path, request: pytest.FixtureRequest) -> str:
    """A public model repo of its own for each test, so that the cache is cold."""
    repo_id = f"you/{request.node.originalname.removeprefix('test_')[:60]}{abs(hash(request.node.name)) % 10**6}"
    hub.create_repo(repo_id)
    hub.commit(repo_id, {path.name: path.read_bytes() for path in model_folder.iterdir()})
    hub.forget_requests()
    return repo_id


def pull(repo_id: str, revision: str = "main", *, deadline_s: float = 30) -> Snapshot:
    return fetch(repo_id, revision, deadline_s=deadline_s)


def test_a_branch_becomes_the_folder_of_its_commit(hub: HubStandIn, repo: str, model_folder: Path) -> None:
    snapshot = pull(repo)
    assert snapshot.commit == hub.head(repo)
    weights = (snapshot.folder / "model.safetensors").read_bytes()
    assert weights == (model_folder / "model.safetensors").read_bytes()
    assert read_artefact(snapshot.folder, model_id=repo, revision=snapshot.commit).window.sampling_rate == 16_000


def test_a_tag_and_a_commit_name_a_revision(hub: HubStandIn, repo: str) -> None:
    first = hub.head(repo)
    hub.create_tag(repo, "v1")
    hub.commit(repo, {"serving.json": b"{}"})
    assert pull(repo, "v1").commit == pull(repo, first).commit == first
    assert pull(repo).commit == hub.head(repo) != first


def test_only_what_serving_reads_is_fetched(hub: HubStandIn, repo: str) -> None:
    others = ("README.md", "plots/confusion.png", "pytorch_model.bin", "checkpoint-9/model.safetensors", "run.py")
    hub.commit(repo, dict.fromkeys(others, b"large and unused") | {"serving.json": b"{}"})
    folder = pull(repo).folder
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*")} == {
        "config.json",
        "preprocessor_config.json",
        "model.safetensors",
        "serving.json",
    }


def test_a_local_folder_is_used_as_it_is(hub: HubStandIn, model_folder: Path) -> None:
    hub.forget_requests()
    assert pull(str(model_folder)) == Snapshot(model_folder, None)
    assert hub.requests == []


def test_a_repo_of_pickles_only_is_refused_without_fetching_them(hub: HubStandIn, repo: str, tmp_path: Path) -> None:
    hub.create_repo(f"{repo}-pickled")
    files = {name: data for name, data in hub.files(repo).items() if not name.endswith(".safetensors")}
    hub.commit(f"{repo}-pickled", files | {"pytorch_model.bin": b"\x80\x04"})
    snapshot = pull(f"{repo}-pickled")
    with pytest.raises(StartupError, match="holds no model.safetensors"):
        read_artefact(snapshot.folder, model_id="you/pickled", revision=snapshot.commit)
    assert not any("pytorch_model.bin" in request.path for request in hub.requests)


@pytest.mark.parametrize("where", ["GET /api/models", WEIGHTS], ids=["api", "weights"])
@pytest.mark.parametrize("fault", usual("503", of=["503", "429", "dropped", "cut off"]))
def test_a_passing_fault_is_retried(hub: HubStandIn, repo: str, fault: str, where: str) -> None:
    if fault == "cut off":
        hub.truncate(where, keep=100)
    else:
        hub.fail(where, status=int(fault) if fault.isdigit() else 503, drop=fault == "dropped")
    assert pull(repo).commit == hub.head(repo)


@pytest.mark.thorough
@pytest.mark.parametrize("where", ["GET /api/models", WEIGHTS], ids=["api", "weights"])
def test_a_stalled_connection_is_given_up_and_retried(hub: HubStandIn, repo: str, where: str) -> None:
    hub.stall(where, delay_s=60)
    started = time.monotonic()
    assert pull(repo, deadline_s=15).commit == hub.head(repo)
    assert time.monotonic() - started < 50


def test_another_deadline_leaves_the_connections_alone(repo: str) -> None:
    fetch(repo, "main", deadline_s=20)
    client = get_session()
    head(repo, "main")
    fetch(repo, "main", deadline_s=10)
    # A request under way on a client that is closed loses its socket, or leaves it open for ever.
    assert get_session() is client
    assert not client.is_closed


def test_the_deadline_ends_the_tries(hub: HubStandIn, repo: str) -> None:
    hub.fail("", status=503, times=None)
    started = time.monotonic()
    with pytest.raises(StartupError, match=r"did not deliver you/.* within 5 s .*HF_ENDPOINT"):
        pull(repo, deadline_s=5)
    assert 0.5 < time.monotonic() - started < 50
    assert len(hub.requests) >= 2


def test_a_corrupt_download_is_noticed_and_fetched_again(hub: HubStandIn, repo: str, model_folder: Path) -> None:
    for name in ("model.safetensors", "config.json"):
        hub.corrupt(f"GET /.*/{name}")
    folder = pull(repo).folder
    for name in ("model.safetensors", "config.json"):
        assert (folder / name).read_bytes() == (model_folder / name).read_bytes()


def test_a_hub_that_keeps_sending_corrupt_bytes_is_not_believed(hub: HubStandIn, repo: str) -> None:
    hub.corrupt(WEIGHTS, times=None)
    with pytest.raises(StartupError, match="model.safetensors arrived corrupt"):
        pull(repo, deadline_s=2)


def test_a_cached_file_that_rotted_is_fetched_again(hub: HubStandIn, repo: str, model_folder: Path) -> None:
    weights = pull(repo, hub.head(repo)).folder / "model.safetensors"
    weights.resolve().write_bytes(b"rotten")
    assert (pull(repo, hub.head(repo)).folder / weights.name).read_bytes() == (model_folder / weights.name).read_bytes()


def test_a_pinned_commit_with_a_warm_cache_makes_no_request(hub: HubStandIn, repo: str) -> None:
    commit = hub.head(repo)
    folder = pull(repo, commit).folder
    hub.forget_requests()
    assert pull(repo, commit) == Snapshot(folder, commit)
    assert hub.requests == []


def test_a_pinned_commit_whose_download_broke_off_is_completed(hub: HubStandIn, repo: str) -> None:
    hub.fail(WEIGHTS, times=None)
    with pytest.raises(StartupError, match="did not deliver"):
        pull(repo, hub.head(repo), deadline_s=1)
    hub.clear_faults()
    assert (pull(repo, hub.head(repo)).folder / "model.safetensors").is_file()


@pytest.mark.thorough
@pytest.mark.parametrize("fault", ["refused", "503", "stalled"])
def test_with_the_hub_down_a_warm_cache_serves_a_branch(hub: HubStandIn, repo: str, fault: str) -> None:
    before = pull(repo)
    remember(before, "main")
    hub.commit(repo, {"serving.json": b"{}"})
    if fault == "refused":
        hub.stop()
    elif fault == "503":
        hub.fail("", status=503, times=None)
    else:
        hub.stall("", delay_s=60, times=None)
    started = time.monotonic()
    try:
        assert pull(repo, deadline_s=10) == before
    finally:
        if fault == "refused":
            hub.start()
    assert time.monotonic() - started < 50
    hub.clear_faults()
    assert pull(repo).commit == hub.head(repo) != before.commit


@pytest.mark.parametrize("fault", ["503", "corrupt"])
def test_a_commit_that_does_not_arrive_leaves_the_remembered_one(hub: HubStandIn, repo: str, fault: str) -> None:
    before = pull(repo)
    remember(before, "main")
    hub.commit(repo, {"model.safetensors": b"other weights"})
    if fault == "503":
        hub.fail(WEIGHTS, times=None)
    else:
        hub.corrupt(WEIGHTS, times=None)
    assert pull(repo, deadline_s=1) == before
    hub.clear_faults()
    hub.fail("", status=503, times=None)
    assert pull(repo, deadline_s=1) == before


def test_a_commit_that_was_not_remembered_is_not_served_without_the_hub(hub: HubStandIn, repo: str) -> None:
    pull(repo)
    hub.fail("", status=503, times=None)
    with pytest.raises(StartupError, match="did not deliver"):
        pull(repo, deadline_s=1)


def test_a_missing_repo_is_refused_at_once(hub: HubStandIn) -> None:
    with pytest.raises(
        StartupError, match="you/missing does not exist on the Hub, or is private. Check MODEL_ID, or set HF_TOKEN"
    ):
        pull("you/missing")


def test_a_private_repo_needs_a_token(
    hub: HubStandIn, repo: str, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.create_repo("you/hidden", private=True)
    hub.commit("you/hidden", {"config.json": b"{}"})
    with pytest.raises(StartupError, match="you/hidden does not exist on the Hub, or is private"):
        pull("you/hidden")
    monkeypatch.setenv("HF_TOKEN", "hf_read")
    assert pull("you/hidden").commit == hub.head("you/hidden")


def test_a_gated_repo_says_so(hub: HubStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.create_repo("another/gated", gated="manual")
    hub.commit("another/gated", {"config.json": b"{}"})
    monkeypatch.setenv("HF_TOKEN", "hf_read")
    with pytest.raises(StartupError, match="another/gated is gated. Ask for access"):
        pull("another/gated")


def test_a_token_that_the_hub_does_not_know_is_refused(
    hub: HubStandIn, repo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_unknown")
    with pytest.raises(StartupError, match="does not accept the token") as refused:
        pull(repo)
    assert "hf_unknown" not in str(refused.value)


def test_a_missing_revision_is_named(repo: str) -> None:
    with pytest.raises(StartupError, match=f"{repo} has no revision v9. Set MODEL_REVISION"):
        pull(repo, "v9")


@pytest.mark.parametrize("model_id", ["./no/such/folder", "a b", "you/genre/model", "--", "x" * 200])
def test_model_id_that_is_no_id_and_no_folder_is_refused(model_id: str) -> None:
    with pytest.raises(StartupError, match="neither a Hub id like you/genre nor"):
        pull(model_id)


def test_a_damaged_cache_without_the_hub_is_not_served(hub: HubStandIn, repo: str) -> None:
    snapshot = pull(repo)
    remember(snapshot, "main")
    (snapshot.folder / "model.safetensors").resolve().write_bytes(b"rotten")
    hub.stop()
    try:
        with pytest.raises(StartupError, match="did not deliver"):
            pull(repo, deadline_s=1)
    finally:
        hub.start()
    shutil.rmtree(snapshot.folder)
