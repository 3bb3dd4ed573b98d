"""A request to the stand-in, and who may do what."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.convertors import StringConvertor, register_url_convertor
from starlette.datastructures import URL, Headers

from tests.support.hub_stand_in.repos import HubError, Json, Repo, Token

if TYPE_CHECKING:
    from tests.support.hub_stand_in.stand_in import HubStandIn


class _KindConvertor(StringConvertor):
    """The plural that names a repo type in a path."""

    regex = "models|datasets"


register_url_convertor("repo_kind", _KindConvertor())


@dataclass(frozen=True)
class _Call:
    """A request whose body is read and whose caller is known (None: anonymous)."""

    url: URL
    base_url: str
    params: Mapping[str, str]
    query: Mapping[str, str]
    expand: Sequence[str]
    headers: Headers
    body: bytes
    token: Token | None

    @property
    def repo_key(self) -> tuple[str, str]:
        repo_type = self.params.get("kind", "models").removesuffix("s")
        return repo_type, f"{self.params['namespace']}/{self.params['name']}"

    def flag(self, name: str) -> bool:
        return self.query.get(name, "").lower() in ("true", "1")

    def json(self) -> Json:
        try:
            data = json.loads(self.body)
        except ValueError as error:
            raise HubError(400, f"Invalid JSON: {error}") from error
        return data if isinstance(data, dict) else {}


class Access:
    """Access of a caller to the repos of a stand-in."""

    def __init__(self, hub: "HubStandIn") -> None:
        self._hub = hub

    def _readable(self, call: _Call) -> Repo:
        """The repo, if the caller may know of it: one that is private looks like one that is not there."""
        repo = self._hub._repos.get(call.repo_key)
        if repo is None or (repo.private and not (call.token and call.token.sees(repo.namespace))):
            raise _repo_not_found(call)
        return repo

    def _ungated(self, call: _Call) -> Repo:
        """The repo, if the caller may have its files: nobody but the owner is let through a gate here."""
        repo = self._readable(call)
        if repo.gated and not (call.token and call.token.sees(repo.namespace)):
            status = 403 if call.token else 401
            message = f"Access to {repo.repo_type} {repo.repo_id} is restricted."
            raise HubError(status, message, code="GatedRepo")
        return repo

    def _writable(self, call: _Call) -> Repo:
        repo = self._readable(call)
        _require_write(call, repo.namespace, f"write to {repo.repo_type} {repo.repo_id}")
        return repo


def _require_write(call: _Call, namespace: str, action: str) -> None:
    if call.token is None:
        raise _anonymous()
    if call.token.role != "write" or not call.token.sees(namespace):
        raise HubError(403, f"You don't have the rights to {action}")


def _anonymous() -> HubError:
    # The clients read a 401 without a token as "not found, or private"; over plain http only by the code.
    return HubError(401, "Invalid username or password.", code="RepoNotFound")


def _repo_not_found(call: _Call) -> HubError:
    return HubError(404, "Repository not found", code="RepoNotFound") if call.token else _anonymous()
