"""The stand-in for the Hub, spoken to by the clients it is for."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import huggingface_hub
import pytest
from huggingface_hub import CommitOperationDelete, HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile, RepoFolder

from tests.support.hub_stand_in import HubStandIn, Token

# What the client itself does with a large file's upload.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")

WEIGHTS = bytes(range(256)) * 8_000
CARD = b"---\nlicense: apache-2.0\npipeline_tag: audio-classification\ntags:\n- music\n---\n# A model\n"
FILES = {
    "README.md": CARD,
    "config.json": b'{"model_type": "hubert"}',
    "model.safetensors": WEIGHTS,
    "plots/confusion.png": b"\x89PNG small, and yet large file storage",
}


@pytest.fixture
def hub() -> Iterator[HubStandIn]:
    with HubStandIn() as hub:
        yield hub
    assert hub.unknown_requests == []


@pytest.fixture(autouse=True)
def client_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    # As the environment variables of these names do, which count only before the client's first import: there is
    # no Xet storage here, and telemetry would ask the real Hub, whatever the endpoint.
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_TELEMETRY", True)


def writer(hub: HubStandIn) -> HfApi:
    return HfApi(endpoint=hub.endpoint, token="hf_write")


def reader(hub: HubStandIn) -> HfApi:
    return HfApi(endpoint=hub.endpoint, token="hf_read")


def anonymous(hub: HubStandIn) -> HfApi:
    return HfApi(endpoint=hub.endpoint, token=False)


def pull(hub: HubStandIn, cache: Path, token: str | bool = False) -> Path:
    return Path(snapshot_download("you/model", endpoint=hub.endpoint, cache_dir=cache, token=token))


def pull_file(
    hub: HubStandIn,
    path: str,
    cache: Path,
    *,
    repo_id: str = "you/model",
    revision: str | None = None,
    token: str | bool = False,
) -> bytes:
    found = hf_hub_download(repo_id, path, revision=revision, endpoint=hub.endpoint, cache_dir=cache, token=token)
    return Path(found).read_bytes()


def write_files(folder: Path, files: dict[str, bytes]) -> Path:
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def read_files(folder: str | Path) -> dict[str, bytes]:
    found = [path for path in Path(folder).rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def served(hub: HubStandIn, pattern: str) -> list[int | None]:
    """The statuses of the requests that match."""
    return [each.status for each in hub.requests if re.search(pattern, f"{each.method} {each.path}")]


def status_of(error: pytest.ExceptionInfo[HfHubHTTPError]) -> int:
    status: int = error.value.response.status_code
    return status


# Pushing and pulling


def test_a_pushed_folder_is_pulled_byte_for_byte(hub: HubStandIn, tmp_path: Path) -> None:
    url = writer(hub).create_repo("you/model", private=True)
    folder = write_files(tmp_path / "pushed", FILES)
    commit = writer(hub).upload_folder(repo_id="you/model", folder_path=folder, commit_message="First model")

    pulled = pull(hub, tmp_path / "hub", token="hf_read")

    assert (url.repo_id, url.repo_type, commit.repo_url.repo_id) == ("you/model", "model", "you/model")
    assert pulled.name == commit.oid == hub.head("you/model")
    assert read_files(pulled) == hub.files("you/model")
    assert {path: data for path, data in hub.files("you/model").items() if path != ".gitattributes"} == FILES
    assert [each.message for each in hub.history("you/model")] == ["First model", "initial commit"]
    assert hub.history("you/model")[0].changed == tuple(sorted(FILES))
    assert len(served(hub, "^PUT /lfs/")) == 2


def test_an_unchanged_folder_makes_no_commit_and_a_changed_file_makes_one(hub: HubStandIn, tmp_path: Path) -> None:
    hub.create_repo("you/model")
    folder = write_files(tmp_path, FILES)
    first = writer(hub).upload_folder(repo_id="you/model", folder_path=folder)
    again = writer(hub).upload_folder(repo_id="you/model", folder_path=folder)
    (folder / "config.json").write_bytes(b"{}")
    changed = writer(hub).upload_folder(
        repo_id="you/model", folder_path=folder, delete_patterns="plots/*", commit_message="Smaller"
    )

    assert again.oid == first.oid != changed.oid
    assert hub.history("you/model")[0].changed == ("config.json",)
    assert len(served(hub, "^PUT /lfs/")) == 2


def test_files_are_deleted_and_a_stale_parent_is_refused(hub: HubStandIn) -> None:
    hub.create_repo("you/model")
    stale = hub.head("you/model")
    hub.commit("you/model", FILES)
    delete = [CommitOperationDelete("plots/", is_folder=True), CommitOperationDelete("config.json")]

    with pytest.raises(HfHubHTTPError) as refused:
        writer(hub).create_commit("you/model", delete, commit_message="Tidy", parent_commit=stale)
    writer(hub).create_commit("you/model", delete, commit_message="Tidy")
    with pytest.raises(RemoteEntryNotFoundError, match="doesn't exist"):
        writer(hub).create_commit("you/model", [CommitOperationDelete("config.json")], commit_message="Tidy again")

    assert status_of(refused) == 412
    assert hub.files("you/model").keys() == {".gitattributes", "README.md", "model.safetensors"}


def test_a_revision_is_pinned_by_hash_tag_and_branch(hub: HubStandIn, tmp_path: Path) -> None:
    hub.create_repo("you/model")
    old = hub.commit("you/model", {"config.json": b"old"})
    hub.create_tag("you/model", "v1")
    writer(hub).create_branch("you/model", branch="try/one", revision=old)
    new = hub.commit("you/model", {"config.json": b"new"})
    writer(hub).create_tag("you/model", tag="v2", revision=new)

    def pulled(revision: str | None) -> bytes:
        return pull_file(hub, "config.json", tmp_path, revision=revision)

    refs = reader(hub).list_repo_refs("you/model")
    assert [pulled(revision) for revision in (old, "v1", "try/one")] == [b"old"] * 3
    assert [pulled(revision) for revision in (new, "v2", "main", None)] == [b"new"] * 4
    assert {ref.name: ref.target_commit for ref in refs.branches} == {"main": new, "try/one": old}
    assert {ref.name: ref.target_commit for ref in refs.tags} == {"v1": old, "v2": new}


def test_repos_are_described_and_listed_in_pages(hub: HubStandIn) -> None:
    hub.create_repo("you/model")
    oid = hub.commit("you/model", FILES, message="All")
    hub.page_size = 2
    info = reader(hub).model_info("you/model", files_metadata=True)
    tree = {entry.path: entry for entry in reader(hub).list_repo_tree("you/model", recursive=True)}
    paths = reader(hub).get_paths_info("you/model", ["plots", "model.safetensors", "none"], expand=True)
    [file, folder] = paths

    assert (info.sha, info.private, info.gated, info.tags) == (oid, False, False, ["music"])
    assert info.card_data is not None
    assert info.card_data["license"] == "apache-2.0"
    assert {each.rfilename for each in info.siblings or []} == hub.files("you/model").keys()
    assert tree.keys() == {*hub.files("you/model"), "plots"}
    assert isinstance(folder, RepoFolder)
    assert folder.path == "plots"
    assert isinstance(file, RepoFile)
    assert file.lfs is not None
    assert file.last_commit is not None
    assert (file.path, file.size, file.last_commit.title) == ("model.safetensors", len(WEIGHTS), "All")
    assert [each.title for each in reader(hub).list_repo_commits("you/model")] == ["All", "initial commit"]
    assert len(served(hub, "/tree/")) == 3


def test_repos_are_created_once_changed_and_deleted(hub: HubStandIn) -> None:
    writer(hub).create_repo("you/data", repo_type="dataset")
    writer(hub).create_repo("you/data", repo_type="dataset", exist_ok=True)
    with pytest.raises(HfHubHTTPError, match="already created"):
        writer(hub).create_repo("you/data", repo_type="dataset")
    writer(hub).update_repo_settings("you/data", repo_type="dataset", gated="auto", private=True)
    info = writer(hub).dataset_info("you/data")
    writer(hub).delete_repo("you/data", repo_type="dataset")

    assert (info.gated, info.private) == ("auto", True)
    assert not writer(hub).repo_exists("you/data", repo_type="dataset")


def test_a_card_without_metadata_is_warned_of_and_a_broken_one_refused(hub: HubStandIn) -> None:
    hub.create_repo("you/model")
    upload = writer(hub).upload_file
    with pytest.warns(UserWarning, match="empty or missing yaml metadata"):
        upload(path_or_fileobj=b"# A model", path_in_repo="README.md", repo_id="you/model")
    with pytest.raises(ValueError, match="Invalid metadata"):
        upload(path_or_fileobj=b"---\na: [\n---\n", path_in_repo="README.md", repo_id="you/model")


# Who may do what


def test_missing_repos_revisions_and_files_are_told_apart(hub: HubStandIn, tmp_path: Path) -> None:
    hub.create_repo("you/model")

    with pytest.raises(RepositoryNotFoundError) as missing:
        pull_file(hub, "a.json", tmp_path, repo_id="you/none", token="hf_read")
    with pytest.raises(RepositoryNotFoundError) as hidden:
        pull_file(hub, "a.json", tmp_path, repo_id="you/none")
    with pytest.raises(RevisionNotFoundError):
        pull_file(hub, "a.json", tmp_path, revision="v9")
    with pytest.raises(RemoteEntryNotFoundError):
        pull_file(hub, "a.json", tmp_path)

    assert (status_of(missing), status_of(hidden)) == (404, 401)


def test_private_repos_look_missing_to_others(hub: HubStandIn) -> None:
    hub.tokens["hf_other"] = Token("other", "write")
    hub.create_repo("you/model", private=True)

    reader(hub).auth_check("you/model")
    for api in (anonymous(hub), HfApi(endpoint=hub.endpoint, token="hf_other")):
        with pytest.raises(RepositoryNotFoundError):
            api.auth_check("you/model")


def test_gated_repos_show_themselves_and_keep_their_files(hub: HubStandIn, tmp_path: Path) -> None:
    hub.tokens["hf_other"] = Token("other", "read")
    hub.create_repo("you/model", gated="manual")
    hub.commit("you/model", FILES)

    with pytest.raises(GatedRepoError) as unknown:
        pull_file(hub, "config.json", tmp_path)
    with pytest.raises(GatedRepoError) as other:
        pull_file(hub, "config.json", tmp_path, token="hf_other")
    assert (status_of(unknown), status_of(other)) == (401, 403)
    assert anonymous(hub).model_info("you/model").gated == "manual"
    assert pull_file(hub, "config.json", tmp_path, token="hf_read") == FILES["config.json"]


def test_a_bad_token_is_refused_even_where_none_is_needed(hub: HubStandIn) -> None:
    hub.create_repo("you/model")
    with pytest.raises(HfHubHTTPError, match="Invalid credentials") as refused:
        HfApi(endpoint=hub.endpoint, token="hf_revoked").model_info("you/model")

    assert status_of(refused) == 401
    assert not isinstance(refused.value, RepositoryNotFoundError)
    assert anonymous(hub).model_info("you/model").id == "you/model"


def test_a_read_token_is_known_and_may_not_write(hub: HubStandIn, tmp_path: Path) -> None:
    hub.create_repo("you/model")
    folder = write_files(tmp_path, FILES)
    attempts: list[Callable[[], Any]] = [
        lambda: reader(hub).auth_check("you/model", write=True),
        lambda: reader(hub).create_repo("you/another"),
        lambda: reader(hub).upload_folder(repo_id="you/model", folder_path=folder),
        lambda: reader(hub).delete_repo("you/model"),
    ]
    for attempt in attempts:
        with pytest.raises(HfHubHTTPError, match="rights") as refused:
            attempt()
        assert status_of(refused) == 403

    writer(hub).auth_check("you/model", write=True)
    assert reader(hub).whoami()["auth"]["accessToken"]["role"] == "read"
    assert [each.message for each in hub.history("you/model")] == ["initial commit"]
    assert {each.user for each in hub.requests} == {"you"}


def test_an_organisation_is_written_to_by_its_members(hub: HubStandIn) -> None:
    hub.tokens["hf_member"] = Token("member", "write", orgs=("band",))
    hub.create_repo("band/model")

    HfApi(endpoint=hub.endpoint, token="hf_member").auth_check("band/model", write=True)
    with pytest.raises(HfHubHTTPError, match="rights"):
        writer(hub).auth_check("band/model", write=True)


# Faults


def test_a_failure_strikes_as_often_as_asked(hub: HubStandIn) -> None:
    hub.create_repo("you/model")
    hub.fail(r"^GET /api/models/you/model$", status=500, times=2, headers={"Retry-After": "7"})
    statuses = [httpx2.get(f"{hub.endpoint}/api/models/you/model").status_code for _ in range(3)]
    hub.fail("/api/models/", times=None)
    always = [httpx2.get(f"{hub.endpoint}/api/models/you/model") for _ in range(3)]
    hub.clear_faults()

    assert statuses == [500, 500, 200]
    assert [answer.status_code for answer in always] == [503] * 3
    assert httpx2.get(f"{hub.endpoint}/api/models/you/model").status_code == 200
    assert served(hub, "/api/models/you/model") == [500, 500, 200, 503, 503, 503, 200]


def test_the_client_rides_out_a_failed_upload(hub: HubStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    hub.create_repo("you/model")
    hub.fail("^PUT /lfs/", status=500, times=2)
    hub.fail("^POST .*/preupload/", drop=True)
    writer(hub).upload_file(path_or_fileobj=WEIGHTS, path_in_repo="model.safetensors", repo_id="you/model")

    assert served(hub, "^PUT /lfs/") == [500, 500, 200]
    assert served(hub, "/preupload/") == [None, 200]
    assert hub.files("you/model")["model.safetensors"] == WEIGHTS


def test_a_large_file_is_uploaded_in_parts(hub: HubStandIn) -> None:
    hub.create_repo("you/model")
    hub.part_size = 1_000_000
    writer(hub).upload_file(path_or_fileobj=WEIGHTS, path_in_repo="model.safetensors", repo_id="you/model")

    assert served(hub, "^PUT /lfs/.*/parts/") == [200] * 3
    assert hub.files("you/model")["model.safetensors"] == WEIGHTS


def test_a_broken_download_is_resumed(hub: HubStandIn, tmp_path: Path) -> None:
    hub.create_repo("you/model")
    # The client keeps what came in whole chunks of 10 MiB, and asks for the rest.
    hub.commit("you/model", {"model.safetensors": WEIGHTS * 6})
    hub.truncate("^GET .*/model.safetensors", keep=11_000_000)

    assert pull_file(hub, "model.safetensors", tmp_path) == WEIGHTS * 6
    assert served(hub, "^GET .*/model.safetensors") == [200, 206]


def test_ranges_are_cut_to_the_file(hub: HubStandIn) -> None:
    hub.create_repo("you/model")
    hub.commit("you/model", {"letters.txt": b"abcdefgh"})

    def asked(value: str) -> tuple[int, bytes]:
        url = f"{hub.endpoint}/you/model/resolve/main/letters.txt"
        answer = httpx2.get(url, headers={"Range": value})
        return answer.status_code, answer.content

    assert asked("bytes=2-3") == (206, b"cd")
    assert asked("bytes=6-99") == (206, b"gh")
    assert asked("bytes=-3") == (206, b"fgh")
    assert asked("bytes=8-") == (416, b"")
    assert asked("lines=1-2") == (200, b"abcdefgh")


def test_bytes_are_corrupted_on_demand(hub: HubStandIn, tmp_path: Path) -> None:
    hub.create_repo("you/model")
    hub.commit("you/model", FILES)
    hub.corrupt("^GET .*/config.json")
    pulled = pull_file(hub, "config.json", tmp_path)

    assert len(pulled) == len(FILES["config.json"])
    assert pulled != FILES["config.json"]


def test_an_answer_can_be_late_and_can_be_missing(hub: HubStandIn) -> None:
    hub.create_repo("you/model")
    url = f"{hub.endpoint}/api/models/you/model"
    hub.stall("^GET", delay_s=0.3)
    with pytest.raises(httpx2.ReadTimeout):
        httpx2.get(url, timeout=0.1)
    hub.stall("^GET", delay_s=0.2)
    start = time.monotonic()
    assert httpx2.get(url).status_code == 200
    assert time.monotonic() - start >= 0.2
    hub.fail("^GET", drop=True)
    with pytest.raises(httpx2.RemoteProtocolError):
        httpx2.get(url)
    assert None in served(hub, "^GET")


def test_a_stopped_hub_refuses_connections_until_it_is_started(hub: HubStandIn, tmp_path: Path) -> None:
    hub.create_repo("you/model")
    hub.commit("you/model", FILES)
    before = pull(hub, tmp_path / "warm")
    hub.stop()
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(hub.endpoint)
    with pytest.raises(LocalEntryNotFoundError):
        pull(hub, tmp_path / "cold")
    assert pull(hub, tmp_path / "warm") == before
    hub.start()

    assert read_files(pull(hub, tmp_path / "cold")) == hub.files("you/model")


def test_stopping_does_not_wait_for_a_late_answer(hub: HubStandIn) -> None:
    hub.stall("^GET /api/whoami-v2", delay_s=60)
    with httpx2.Client(base_url=hub.endpoint, timeout=0.1) as client, pytest.raises(httpx2.ReadTimeout):
        client.get("/api/whoami-v2")
    start = time.monotonic()
    hub.stop()
    assert time.monotonic() - start < 2
    hub.start()


def test_what_is_not_in_the_protocol_is_noticed() -> None:
    with HubStandIn() as hub:
        answer = httpx2.post(f"{hub.endpoint}/api/models/you/model/super-squash/main")
        other_method = httpx2.delete(f"{hub.endpoint}/api/models/you/model")

    assert (answer.status_code, other_method.status_code) == (404, 404)
    assert "super-squash" in answer.json()["error"]
    assert [each.method for each in hub.unknown_requests] == ["POST", "DELETE"]


def test_a_large_file_that_was_not_uploaded_is_refused(hub: HubStandIn) -> None:
    hub.create_repo("you/model")
    oid = "0" * 64
    lines: list[dict[str, object]] = [
        {"key": "header", "value": {"summary": "Weights"}},
        {"key": "lfsFile", "value": {"path": "model.safetensors", "algo": "sha256", "oid": oid, "size": 5}},
    ]
    commit = httpx2.post(
        f"{hub.endpoint}/api/models/you/model/commit/main",
        headers={"Authorization": "Bearer hf_write"},
        content="\n".join(json.dumps(line) for line in lines),
    )
    upload = httpx2.put(f"{hub.endpoint}/lfs/models/you/model/{oid}", content=b"other")

    assert (commit.status_code, upload.status_code) == (400, 400)
    assert "does not exist" in commit.json()["error"]
    assert hub.files("you/model").keys() == {".gitattributes"}


# The libraries that read the environment when they are imported, in a process of their own

LIBRARIES = textwrap.dedent(
    """
    import io, json, sys

    import datasets, numpy, pyarrow, pyarrow.parquet, soundfile, torch, transformers
    from huggingface_hub import HfApi

    wav = io.BytesIO()
    soundfile.write(wav, numpy.zeros(1600, dtype="float32"), 16000, format="WAV")
    rows = [{"audio": {"bytes": wav.getvalue(), "path": f"{n}.wav"}, "genre": n % 2} for n in range(4)]
    audio = pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()})
    schema = pyarrow.schema({"audio": audio, "genre": pyarrow.int64()})
    genre = datasets.ClassLabel(names=["a", "b"])
    features = datasets.Features(audio=datasets.Audio(decode=False), genre=genre)
    described = schema.with_metadata({"huggingface": json.dumps({"info": {"features": features.to_dict()}})})
    parquet = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, described), parquet)
    api = HfApi()
    api.create_repo("you/songs", repo_type="dataset")
    api.upload_file(
        path_or_fileobj=parquet.getvalue(), path_in_repo="data/train-00000-of-00001.parquet",
        repo_id="you/songs", repo_type="dataset",
    )
    songs = datasets.load_dataset("you/songs", split="train")

    try:
        datasets.load_dataset("you/gtzan", split="train")
        script = "was run"
    except RuntimeError as error:
        script = str(error)

    config = transformers.HubertConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, conv_dim=(8, 8),
        conv_stride=(5, 2), conv_kernel=(10, 3), num_feat_extract_layers=2, num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2, classifier_proj_size=8, num_labels=2,
    )
    model = transformers.HubertForSequenceClassification(config)
    model.save_pretrained("pushed")
    api.create_repo("you/genres", private=True)
    api.upload_folder(repo_id="you/genres", folder_path="pushed")
    pulled_config = transformers.AutoConfig.from_pretrained("you/genres")
    pulled = transformers.AutoModelForAudioClassification.from_pretrained("you/genres").state_dict()

    json.dump({
        "rows": len(songs),
        "names": songs.features["genre"].names,
        "same_audio": songs[0]["audio"]["bytes"] == wav.getvalue(),
        "script": script,
        "model_type": pulled_config.model_type,
        "same_weights": all(torch.equal(pulled[name], value) for name, value in model.state_dict().items()),
    }, open(sys.argv[1], "w"))
    """
)


def tar_of(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for path, data in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


def test_datasets_and_transformers_pull_from_it(hub: HubStandIn, tmp_path: Path) -> None:
    hub.create_repo("you/gtzan", repo_type="dataset")
    archive = tar_of({"genres/blues/blues.00000.wav": b"RIFF"})
    script = {"gtzan.py": b"import datasets", "data/genres.tar.gz": archive, "README.md": b"# GTZAN"}
    hub.commit("you/gtzan", script, repo_type="dataset")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("HF_")},
        "HF_ENDPOINT": hub.endpoint,
        "HF_HOME": str(tmp_path / "home"),
        "HF_TOKEN": "hf_write",
        "HF_HUB_DISABLE_XET": "1",
        "HF_UPDATE_DOWNLOAD_COUNTS": "0",
    }
    done = subprocess.run(
        [sys.executable, "-c", LIBRARIES, "found.json"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert found.pop("script").startswith("Dataset scripts are no longer supported, but found gtzan.py")
    assert found == {
        "rows": 4,
        "names": ["a", "b"],
        "same_audio": True,
        "model_type": "hubert",
        "same_weights": True,
    }


def test_the_command_serves_a_folder(tmp_path: Path) -> None:
    write_files(tmp_path / "model", FILES)
    command = [sys.executable, "-m", "tests.support.hub_stand_in", "--folder", f"you/model={tmp_path / 'model'}"]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        endpoint = process.stdout.readline().strip()
        pulled = snapshot_download("you/model", endpoint=endpoint, cache_dir=tmp_path / "hub", token=False)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0

    assert {path: data for path, data in read_files(pulled).items() if path != ".gitattributes"} == FILES
