"""The stand-in for the Hub: pushing, pulling and describing repos with the Hub's own client."""

from pathlib import Path

import pytest
from huggingface_hub import CommitOperationDelete
from huggingface_hub.errors import (
    HfHubHTTPError,
    RemoteEntryNotFoundError,
)
from huggingface_hub.hf_api import RepoFile, RepoFolder

from tests.hub_stand_in.clients import (
    FILES,
    WEIGHTS,
    pull,
    pull_file,
    read_files,
    reader,
    served,
    status_of,
    write_files,
    writer,
)
from tests.support.hub_stand_in import HubStandIn


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


def test_hash_tag_and_branch_name_a_revision(hub: HubStandIn, tmp_path: Path) -> None:
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
