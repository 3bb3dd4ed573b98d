"""The stand-in for the Hub: who may read and write what."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from tests.hub_stand_in.clients import FILES, pull_file, reader, status_of, write_files, writer
from tests.support.hub_stand_in import HubStandIn, Token


def anonymous(hub: HubStandIn) -> HfApi:
    return HfApi(endpoint=hub.endpoint, token=False)


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
