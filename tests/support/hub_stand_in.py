"""A stand-in for the Hugging Face Hub on loopback, spoken to by the unmodified clients through `HF_ENDPOINT`.

It keeps model and dataset repos in memory, speaks the part of the Hub's HTTP protocol that `huggingface_hub`,
`datasets` and `transformers` use, answers errors as the Hub does, and breaks down on demand. Clients must run
with `HF_HUB_DISABLE_XET=1`: there is no Xet storage here. A request outside the protocol is answered 404 and
kept in `HubStandIn.unknown_requests`, so that a test notices.

    python -m tests.support.hub_stand_in --port 8001 --folder you/some-model=./model --folder datasets/you/data=./data
"""

import argparse
import asyncio
import base64
import contextlib
import hashlib
import json
import math
import re
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Literal, Self
from urllib.parse import parse_qs, quote, unquote

import uvicorn
import yaml
from starlette.applications import Starlette
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.datastructures import URL, Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

Gated = Literal["auto", "manual", False]
Json = dict[str, Any]

LFS_SUFFIXES = (".safetensors", ".tar.gz", ".parquet", ".png")
LFS_OVER_BYTES = 1_000_000
MAX_BODY_BYTES = 2 * 1024**3
MAX_RECORDS = 10_000
GIT_ATTRIBUTES = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LFS_SUFFIXES).encode()

_FRONT_MATTER = re.compile(r"\A---\s*\n(.*?)\n---\s*(?:\n|\Z)", re.DOTALL)
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_EVERY_BIT_FLIPPED = bytes(255 - value for value in range(256))


@dataclass(frozen=True)
class Token:
    """An access token: whose it is, what it may do, and the organisations of its user."""

    user: str
    role: Literal["read", "write"]
    orgs: tuple[str, ...] = ()

    def sees(self, namespace: str) -> bool:
        """Whether the private and gated repos of the namespace are open to this token."""
        return namespace == self.user or namespace in self.orgs


@dataclass(frozen=True)
class HubRequest:
    """One request as it was answered; `status` is None where the connection was closed without an answer."""

    method: str
    path: str
    query: str
    user: str | None
    status: int | None


@dataclass(frozen=True)
class Blob:
    """The content of one file and whether it is kept in git or in the large file storage."""

    data: bytes = field(repr=False)
    lfs: bool

    @cached_property
    def sha256(self) -> str:
        """The name of the content in the large file storage."""
        return hashlib.sha256(self.data).hexdigest()

    @cached_property
    def git_oid(self) -> str:
        """The name of the git blob: of the content, or of the pointer that stands for it."""
        blob = self.pointer if self.lfs else self.data
        return hashlib.sha1(b"blob %d\0" % len(blob) + blob).hexdigest()

    @property
    def pointer(self) -> bytes:
        """What git keeps of a file in the large file storage."""
        spec = "version https://git-lfs.github.com/spec/v1"
        return f"{spec}\noid sha256:{self.sha256}\nsize {len(self.data)}\n".encode()

    @property
    def etag(self) -> str:
        """What a client calls the content in its cache, and what it compares to skip an unchanged upload."""
        return self.sha256 if self.lfs else self.git_oid


@dataclass(frozen=True)
class Commit:
    """One commit: the files after it, and the paths it changed."""

    oid: str
    message: str
    description: str
    author: str
    date: str
    parent: "Commit | None" = field(repr=False)
    files: Mapping[str, Blob] = field(repr=False)
    changed: tuple[str, ...]


@dataclass
class Repo:
    """A model or dataset repo."""

    repo_type: str
    repo_id: str
    private: bool = False
    gated: Gated = False
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    lfs_objects: dict[str, Blob] = field(default_factory=dict)
    lfs_parts: dict[tuple[str, int], bytes] = field(default_factory=dict)

    @property
    def namespace(self) -> str:
        """The user or organisation the repo belongs to."""
        return self.repo_id.split("/")[0]

    @property
    def web_path(self) -> str:
        """The repo's path on the site: a dataset's has a prefix, a model's has none."""
        return self.repo_id if self.repo_type == "model" else f"{self.repo_type}s/{self.repo_id}"

    def at(self, revision: str) -> Commit:
        """The commit that a branch, a tag or a commit hash names."""
        oid = self.branches.get(revision) or self.tags.get(revision) or revision
        if oid not in self.commits:
            raise HubError(404, f"Invalid rev id: {revision}", code="RevisionNotFound")
        return self.commits[oid]

    def add_commit(
        self,
        changes: Mapping[str, Blob | None],
        message: str,
        *,
        branch: str,
        author: str,
        description: str = "",
    ) -> Commit:
        """Put a commit on a branch; a change to None removes the file."""
        parent = self.at(branch) if branch in self.branches else None
        before = parent.files if parent else {}
        files = {path: blob for path, blob in {**before, **changes}.items() if blob is not None}
        names = [(path, blob.git_oid) for path, blob in sorted(files.items())]
        seed = [self.web_path, len(self.commits), parent.oid if parent else None, message, names]
        commit = Commit(
            oid=hashlib.sha1(json.dumps(seed).encode()).hexdigest(),
            message=message,
            description=description,
            author=author,
            date=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            parent=parent,
            files=files,
            changed=tuple(sorted(path for path, blob in changes.items() if before.get(path) != blob)),
        )
        self.commits[commit.oid] = commit
        self.branches[branch] = commit.oid
        return commit

    def history(self, revision: str) -> list[Commit]:
        """The commits behind a revision, newest first."""
        commits = []
        commit: Commit | None = self.at(revision)
        while commit is not None:
            commits.append(commit)
            commit = commit.parent
        return commits


class HubError(Exception):
    """An error answer; over plain http the clients have little but its `X-Error-Code` header to go by."""

    def __init__(self, status: int, message: str, *, code: str | None = None, **extra: object) -> None:
        super().__init__(message)
        self.status = status
        # A header cannot hold all that a path may.
        in_header = "".join(char if " " <= char <= "~" else "?" for char in message)
        self.headers = {"X-Error-Message": in_header} | ({"X-Error-Code": code} if code else {})
        self.content = {"error": message, **extra}


def needs_lfs(path: str, size: int) -> bool:
    """Whether a file goes to the large file storage; an empty one never does."""
    return size > 0 and (size > LFS_OVER_BYTES or path.endswith(LFS_SUFFIXES))


def front_matter(readme: str) -> Json:
    """The YAML block that opens a repo card, as it fits into JSON; empty where there is none."""
    found = _FRONT_MATTER.match(readme)
    data = yaml.safe_load(found.group(1)) if found else None
    return json.loads(json.dumps(data, default=str)) if isinstance(data, dict) else {}


# ------------------------------------------------------------------------------------------------------------
# Faults
# ------------------------------------------------------------------------------------------------------------


@dataclass
class Fault:
    """What goes wrong, with which requests, and how many times more (None: until cleared)."""

    pattern: re.Pattern[str]
    times: int | None
    delay_s: float = 0.0
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    drop: bool = False
    corrupt: bool = False
    keep: int | None = None

    def takes(self, request: str) -> bool:
        """Whether the fault strikes this request; counts it if so."""
        if self.times == 0 or not self.pattern.search(request):
            return False
        if self.times is not None:
            self.times -= 1
        return True


class _FrontDoor:
    """The outermost layer: records every request and lets the faults strike."""

    def __init__(self, hub: "HubStandIn", app: Starlette) -> None:
        self._hub = hub
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Revisions and paths come with "/" quoted ("refs%2Fpr%2F1"): route on the path as it was sent, and
        # unquote the parts afterwards.
        scope["path"] = scope["raw_path"].decode()
        path = unquote(scope["path"])
        fault = self._hub._fault_for(f"{scope['method']} {path}")
        # `HubStandIn.stop` cancels what is still under way, its connection already closed.
        with contextlib.suppress(asyncio.CancelledError):
            if fault is None:
                await self._app(scope, receive, self._recorder(scope, path, send))
            else:
                await self._strike(fault, scope, path, receive, send)

    async def _strike(self, fault: Fault, scope: Scope, path: str, receive: Receive, send: Send) -> None:
        await asyncio.sleep(fault.delay_s)
        if fault.drop:
            self._record(scope, path, None)
            await self._cut(scope, receive)
            return
        send = self._recorder(scope, path, send)
        if fault.status is not None:
            answer = JSONResponse({"error": "Fault on demand"}, fault.status, headers=fault.headers)
            await answer(scope, receive, send)
        elif fault.keep is not None:
            await self._app(scope, receive, _first_bytes(send, fault.keep))
            await self._cut(scope, receive)
        else:
            await self._app(scope, receive, _flipped(send) if fault.corrupt else send)

    def _recorder(self, scope: Scope, path: str, send: Send) -> Send:
        """Record the request before its answer leaves, so that whoever has the answer finds the record."""

        async def recording(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._record(scope, path, message["status"])
            await send(message)

        return recording

    def _record(self, scope: Scope, path: str, status: int | None) -> None:
        token = self._hub.tokens.get(_bearer(Headers(scope=scope)) or "")
        query = scope["query_string"].decode()
        record = HubRequest(scope["method"], path, query, token.user if token else None, status)
        self._hub._requests.append(record)
        if scope.get("unknown"):
            self._hub._unknown_requests.append(record)

    async def _cut(self, scope: Scope, receive: Receive) -> None:
        """Close the connection under the request, and wait until the server has noticed."""
        self._hub._close_connection(scope["client"])
        while (await receive())["type"] != "http.disconnect":
            pass


def _first_bytes(send: Send, keep: int) -> Send:
    """Let the headers and the first bytes of the body through, and nothing after them."""

    async def cutting(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {"type": "http.response.body", "body": message["body"][:keep], "more_body": True}
        await send(message)

    return cutting


def _flipped(send: Send) -> Send:
    """Serve another body of the same length."""

    async def flipping(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": bytes(message["body"]).translate(_EVERY_BIT_FLIPPED)}
        await send(message)

    return flipping


def _bearer(headers: Headers) -> str | None:
    scheme, _, value = headers.get("authorization", "").partition(" ")
    return value if scheme.lower() == "bearer" and value else None


# ------------------------------------------------------------------------------------------------------------
# Protocol
# ------------------------------------------------------------------------------------------------------------


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


class _Protocol:
    """The Hub's HTTP protocol over the repos of a stand-in."""

    def __init__(self, hub: "HubStandIn") -> None:
        self._hub = hub
        model, dataset = "/{namespace}/{name}", "/{kind:repo_kind}/{namespace}/{name}"
        api, storage = f"/api{dataset}", f"/lfs{dataset}"
        route = self._route
        self.app = Starlette(
            routes=[
                route("GET", "/api/whoami-v2", self._whoami),
                route("GET", "/api/agent-harnesses", self._agent_harnesses),
                route("POST", "/api/validate-yaml", self._validate_yaml),
                route("POST", "/api/repos/create", self._create_repo),
                route("DELETE", "/api/repos/delete", self._delete_repo),
                route("GET", api, self._repo_info),
                route("GET", api + "/revision/{revision}", self._repo_info),
                route("GET", api + "/auth-check", self._auth_check),
                route("GET", api + "/auth-check/write", self._auth_check_write),
                route("PUT", api + "/settings", self._settings),
                route("GET", api + "/refs", self._refs),
                route("GET", api + "/commits/{revision}", self._commits),
                route("GET", api + "/tree/{revision}", self._tree),
                route("GET", api + "/tree/{revision}/{path:path}", self._tree),
                route("POST", api + "/paths-info/{revision}", self._paths_info),
                route("POST", api + "/branch/{branch}", self._create_branch),
                route("DELETE", api + "/branch/{branch}", self._delete_branch),
                route("POST", api + "/tag/{revision}", self._create_tag),
                route("DELETE", api + "/tag/{revision}", self._delete_tag),
                route("POST", api + "/preupload/{revision}", self._preupload),
                route("POST", api + "/commit/{revision}", self._commit),
                route("POST", dataset + ".git/info/lfs/objects/batch", self._lfs_batch),
                route("POST", model + ".git/info/lfs/objects/batch", self._lfs_batch),
                route("PUT", storage + "/{oid}", self._lfs_put),
                route("PUT", storage + "/{oid}/parts/{part:int}", self._lfs_put_part),
                route("POST", storage + "/{oid}/complete", self._lfs_complete),
                route("POST", storage + "/{oid}/verify", self._lfs_verify),
                route("GET", dataset + "/resolve/{revision}/{path:path}", self._resolve),
                route("GET", model + "/resolve/{revision}/{path:path}", self._resolve),
            ],
            exception_handlers={HubError: _error_answer, 404: _unknown, 405: _unknown},
            max_body_size=MAX_BODY_BYTES,
        )

    def _route(self, method: str, path: str, handler: Callable[[_Call], Response]) -> Route:
        async def endpoint(request: Request) -> Response:
            body = await request.body()
            with self._hub._lock:
                return handler(self._call(request, body))

        return Route(path, endpoint, methods=[method])

    def _call(self, request: Request, body: bytes) -> _Call:
        bearer = _bearer(request.headers)
        if bearer is not None and bearer not in self._hub.tokens:
            # A bad token is refused even where none is needed.
            raise HubError(401, "Invalid credentials in Authorization header")
        return _Call(
            url=request.url,
            base_url=str(request.base_url).rstrip("/"),
            params={name: unquote(str(value)) for name, value in request.path_params.items()},
            query=request.query_params,
            expand=request.query_params.getlist("expand"),
            headers=request.headers,
            body=body,
            token=self._hub.tokens[bearer] if bearer else None,
        )

    # Who may do what

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

    # Accounts and repos

    def _whoami(self, call: _Call) -> Response:
        if call.token is None:
            raise _anonymous()
        access = {"displayName": call.token.role, "role": call.token.role}
        orgs = [{"type": "org", "name": org} for org in call.token.orgs]
        auth = {"type": "access_token", "accessToken": access}
        return JSONResponse({"type": "user", "name": call.token.user, "orgs": orgs, "auth": auth})

    def _agent_harnesses(self, _: _Call) -> Response:
        """What the client asks once per cache folder, to tell in its user agent which coding agent runs it."""
        return JSONResponse({"standardEnvVars": [], "harnesses": {}})

    def _validate_yaml(self, call: _Call) -> Response:
        try:
            metadata = front_matter(str(call.json()["content"]))
        except yaml.YAMLError as error:
            return JSONResponse({"errors": [{"message": str(error)}], "warnings": []}, 400)
        warnings = [] if metadata else [{"message": "empty or missing yaml metadata in repo card"}]
        return JSONResponse({"errors": [], "warnings": warnings})

    def _create_repo(self, call: _Call) -> Response:
        asked = call.json()
        namespace = asked.get("organization") or (call.token.user if call.token else "")
        repo_type = asked.get("type") or "model"
        _require_write(call, namespace, f"create a {repo_type} under the namespace {namespace}")
        if repo_type not in ("model", "dataset"):
            raise HubError(400, f"Not in the stand-in's protocol: a repo of type {repo_type}")
        repo = Repo(repo_type, f"{namespace}/{asked['name']}", private=asked.get("visibility") == "private")
        url = f"{call.base_url}/{repo.web_path}"
        if (repo_type, repo.repo_id) in self._hub._repos:
            raise HubError(409, f"You already created this {repo_type} repo", url=url)
        self._hub._add_repo(repo)
        return JSONResponse({"url": url, "name": repo.repo_id, "private": repo.private})

    def _delete_repo(self, call: _Call) -> Response:
        asked = call.json()
        namespace = asked.get("organization") or (call.token.user if call.token else "")
        key = (asked.get("type") or "model", f"{namespace}/{asked['name']}")
        if key not in self._hub._repos:
            raise _repo_not_found(call)
        _require_write(call, namespace, f"delete {key[0]} {key[1]}")
        del self._hub._repos[key]
        return Response(status_code=200)

    def _settings(self, call: _Call) -> Response:
        repo, asked = self._writable(call), call.json()
        repo.gated = asked.get("gated", repo.gated)
        repo.private = asked.get("visibility", "private" if repo.private else "public") == "private"
        return JSONResponse({"private": repo.private, "gated": repo.gated})

    def _auth_check(self, call: _Call) -> Response:
        self._ungated(call)
        return Response(status_code=200)

    def _auth_check_write(self, call: _Call) -> Response:
        self._writable(call)
        return Response(status_code=200)

    # What is in a repo

    def _repo_info(self, call: _Call) -> Response:
        repo = self._readable(call)
        commit = repo.at(call.params.get("revision", "main"))
        readme = commit.files.get("README.md")
        card = front_matter(readme.data.decode(errors="replace")) if readme else {}
        files = sorted(commit.files.items())
        info = {
            "id": repo.repo_id,
            "author": repo.namespace,
            "sha": commit.oid,
            "createdAt": repo.history(commit.oid)[-1].date,
            "lastModified": commit.date,
            "private": repo.private,
            "gated": repo.gated,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": card.get("tags") or [],
            "cardData": card,
            "siblings": [_sibling(path, blob, call.flag("blobs")) for path, blob in files],
        }
        if repo.repo_type == "model":
            info |= {key: card[key] for key in ("pipeline_tag", "library_name") if key in card}
        if call.expand:
            info = {key: value for key, value in info.items() if key == "id" or key in call.expand}
        return JSONResponse(info)

    def _refs(self, call: _Call) -> Response:
        repo = self._readable(call)
        branches, tags = _refs("refs/heads", repo.branches), _refs("refs/tags", repo.tags)
        return JSONResponse({"branches": branches, "tags": tags, "converts": [], "pullRequests": []})

    def _commits(self, call: _Call) -> Response:
        commits = self._readable(call).history(call.params["revision"])
        return self._page(call, [_commit_entry(commit) for commit in commits])

    def _tree(self, call: _Call) -> Response:
        repo = self._readable(call)
        commit = repo.at(call.params["revision"])
        folder = call.params.get("path", "").strip("/")
        prefix = f"{folder}/" if folder else ""
        paths = [path for path in commit.files if path.startswith(prefix)]
        if folder and not paths:
            raise _entry_not_found(folder, commit)
        folders = {str(parent) for path in paths for parent in PurePosixPath(path).parents} - {"."}
        found = sorted(path for path in {*paths, *folders} if path.startswith(prefix))
        if not call.flag("recursive"):
            found = [path for path in found if "/" not in path.removeprefix(prefix)]
        return self._page(call, _path_entries(repo, commit, found, expand=call.flag("expand")))

    def _paths_info(self, call: _Call) -> Response:
        repo = self._readable(call)
        commit = repo.at(call.params["revision"])
        form = parse_qs(call.body.decode())
        asked = {path.strip("/") for path in form.get("paths", [])}
        folders = {str(parent) for path in commit.files for parent in PurePosixPath(path).parents} - {"."}
        expand = form.get("expand", [""])[0].lower() == "true"
        found = sorted(asked & (commit.files.keys() | folders))
        return JSONResponse(_path_entries(repo, commit, found, expand=expand))

    def _page(self, call: _Call, entries: Sequence[Json]) -> Response:
        """One page of a list; the address of the next is in the `Link` header."""
        start = int(call.query.get("cursor", 0))
        end = start + self._hub.page_size
        more = end < len(entries)
        link = {"Link": f'<{call.url.include_query_params(cursor=end)}>; rel="next"'} if more else {}
        return JSONResponse(entries[start:end], headers=link)

    def _resolve(self, call: _Call) -> Response:
        repo = self._ungated(call)
        commit = repo.at(call.params["revision"])
        path = call.params["path"]
        blob = commit.files.get(path)
        if blob is None:
            raise _entry_not_found(path, commit)
        headers = {
            "ETag": f'"{blob.etag}"',
            "X-Repo-Commit": commit.oid,
            "Accept-Ranges": "bytes",
            "Content-Disposition": f"inline; filename*=UTF-8''{quote(path.split('/')[-1])}",
        }
        if blob.lfs:
            headers |= {"X-Linked-Etag": f'"{blob.sha256}"', "X-Linked-Size": str(len(blob.data))}
        return _file_answer(blob.data, call.headers.get("range"), headers)

    # Branches and tags

    def _create_branch(self, call: _Call) -> Response:
        repo, branch = self._writable(call), call.params["branch"]
        if branch in repo.branches:
            raise HubError(409, f"Reference already exists: refs/heads/{branch}")
        repo.branches[branch] = repo.at(call.json().get("startingPoint") or "main").oid
        return Response(status_code=201)

    def _delete_branch(self, call: _Call) -> Response:
        repo, branch = self._writable(call), call.params["branch"]
        if branch == "main":
            raise HubError(403, "Cannot delete the main branch")
        if repo.branches.pop(branch, None) is None:
            raise HubError(404, f"Invalid rev id: {branch}", code="RevisionNotFound")
        return Response(status_code=200)

    def _create_tag(self, call: _Call) -> Response:
        repo, tag = self._writable(call), str(call.json()["tag"])
        if tag in repo.tags:
            raise HubError(409, f"Reference already exists: refs/tags/{tag}")
        repo.tags[tag] = repo.at(call.params["revision"]).oid
        return Response(status_code=201)

    def _delete_tag(self, call: _Call) -> Response:
        repo, tag = self._writable(call), call.params["revision"]
        if repo.tags.pop(tag, None) is None:
            raise HubError(404, f"Invalid rev id: {tag}", code="RevisionNotFound")
        return Response(status_code=200)

    # Pushing: ask which files are large, upload those, then commit all

    def _preupload(self, call: _Call) -> Response:
        present = self._writable(call).at(call.params["revision"]).files
        answers = []
        for file in call.json()["files"]:
            path, blob = file["path"], present.get(file["path"])
            mode = "lfs" if needs_lfs(path, file["size"]) else "regular"
            oid = {"oid": blob.etag} if blob else {}
            answers.append({"path": path, "uploadMode": mode, "shouldIgnore": False, **oid})
        return JSONResponse({"files": answers})

    def _lfs_batch(self, call: _Call) -> Response:
        repo = self._writable(call)
        storage = f"{call.base_url}/lfs/{repo.repo_type}s/{repo.repo_id}"
        objects = []
        for asked in call.json()["objects"]:
            oid, size = asked["oid"], asked["size"]
            address = f"{storage}/{oid}"
            actions = {"upload": self._lfs_upload(address, size), "verify": {"href": f"{address}/verify"}}
            objects.append({"oid": oid, "size": size} | ({} if oid in repo.lfs_objects else {"actions": actions}))
        return JSONResponse({"objects": objects})

    def _lfs_upload(self, address: str, size: int) -> Json:
        """Where an object is to be sent: in one piece, or part by part."""
        part_size = self._hub.part_size
        if part_size is None or size <= part_size:
            return {"href": address}
        parts = {str(part): f"{address}/parts/{part}" for part in range(1, math.ceil(size / part_size) + 1)}
        return {"href": f"{address}/complete", "header": {"chunk_size": str(part_size), **parts}}

    # The Hub's upload addresses are signed and called without a token: so are these.

    def _lfs_put(self, call: _Call) -> Response:
        return self._lfs_keep(call, call.body)

    def _lfs_put_part(self, call: _Call) -> Response:
        key = (call.params["oid"], int(call.params["part"]))
        self._storage(call).lfs_parts[key] = call.body
        return Response(status_code=200, headers={"ETag": hashlib.md5(call.body).hexdigest()})

    def _lfs_complete(self, call: _Call) -> Response:
        parts = self._storage(call).lfs_parts
        numbers = [part["partNumber"] for part in call.json()["parts"]]
        return self._lfs_keep(call, b"".join(parts.pop((call.params["oid"], number), b"") for number in numbers))

    def _lfs_keep(self, call: _Call, data: bytes) -> Response:
        blob = Blob(data, lfs=True)
        if blob.sha256 != call.params["oid"]:
            raise HubError(400, "The content does not match its oid")
        self._storage(call).lfs_objects[blob.sha256] = blob
        return Response(status_code=200)

    def _storage(self, call: _Call) -> Repo:
        repo = self._hub._repos.get(call.repo_key)
        if repo is None:
            raise HubError(403, "The upload address has expired")
        return repo

    def _lfs_verify(self, call: _Call) -> Response:
        blob = self._writable(call).lfs_objects.get(call.params["oid"])
        if blob is None or len(blob.data) != call.json()["size"]:
            raise HubError(404, "The object is not in the storage")
        return Response(status_code=200)

    def _commit(self, call: _Call) -> Response:
        repo, branch = self._writable(call), call.params["revision"]
        if branch not in repo.branches or "create_pr" in call.query:
            raise HubError(404, f"Invalid rev id: {branch}", code="RevisionNotFound")
        lines = [json.loads(line) for line in call.body.splitlines() if line.strip()]
        header = next(line["value"] for line in lines if line["key"] == "header")
        head = repo.at(branch)
        if header.get("parentCommit", head.oid) != head.oid:
            raise HubError(412, "A commit has happened since. Please refresh and try again.")
        changes: dict[str, Blob | None] = {}
        for line in lines:
            changes |= _changes(repo, head, line["key"], line["value"])
        author = call.token.user if call.token else ""
        commit = repo.add_commit(
            changes,
            header["summary"],
            branch=branch,
            author=author,
            description=header.get("description", ""),
        )
        url = f"{call.base_url}/{repo.web_path}/commit/{commit.oid}"
        return JSONResponse({"success": True, "commitOid": commit.oid, "commitUrl": url, "hookOutput": ""})


def _changes(repo: Repo, head: Commit, kind: str, value: Json) -> dict[str, Blob | None]:
    """What one line of a commit's payload does to which files."""
    path = value.get("path", "")
    match kind:
        case "header":
            return {}
        case "file":
            return {path: Blob(base64.b64decode(value["content"]), lfs=False)}
        case "lfsFile":
            if value["oid"] not in repo.lfs_objects:
                raise HubError(400, f"LFS pointer of {path} points to a file that does not exist")
            return {path: repo.lfs_objects[value["oid"]]}
        case "deletedFile" if path in head.files:
            return {path: None}
        case "deletedFolder":
            return {file: None for file in head.files if file.startswith(path.rstrip("/") + "/")}
        case "deletedFile":
            raise HubError(404, f"A file with this name doesn't exist: {path}", code="EntryNotFound")
    raise HubError(400, f"Unknown operation: {kind}")


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


def _entry_not_found(path: str, commit: Commit) -> HubError:
    error = HubError(404, f"Entry not found: {path}", code="EntryNotFound")
    # By this header a client remembers for which commit the file is missing.
    error.headers["X-Repo-Commit"] = commit.oid
    return error


def _lfs_info(blob: Blob) -> Json:
    return {"size": len(blob.data), "pointerSize": len(blob.pointer)}


def _sibling(path: str, blob: Blob, metadata: bool) -> Json:
    if not metadata:
        return {"rfilename": path}
    lfs = {"lfs": {"sha256": blob.sha256, **_lfs_info(blob)}} if blob.lfs else {}
    return {"rfilename": path, "size": len(blob.data), "blobId": blob.git_oid, **lfs}


def _refs(prefix: str, refs: Mapping[str, str]) -> list[Json]:
    return [{"name": name, "ref": f"{prefix}/{name}", "targetCommit": oid} for name, oid in refs.items()]


def _commit_entry(commit: Commit) -> Json:
    authors = [{"user": commit.author}]
    named = {"id": commit.oid, "title": commit.message, "message": commit.description}
    return {**named, "authors": authors, "date": commit.date}


def _path_entries(repo: Repo, commit: Commit, paths: Iterable[str], *, expand: bool) -> list[Json]:
    """Files and folders as `tree` and `paths-info` list them."""
    history = repo.history(commit.oid) if expand else []
    entries = []
    for path in paths:
        entry = _path_entry(commit, path)
        if expand:
            last = next(past for past in history if any(_is_within(file, path) for file in past.changed))
            entry["lastCommit"] = {"id": last.oid, "title": last.message, "date": last.date}
        entries.append(entry)
    return entries


def _path_entry(commit: Commit, path: str) -> Json:
    blob = commit.files.get(path)
    if blob is None:
        within = [(name, file.git_oid) for name, file in sorted(commit.files.items()) if _is_within(name, path)]
        oid = hashlib.sha1(json.dumps(within).encode()).hexdigest()
        return {"type": "directory", "oid": oid, "size": 0, "path": path}
    lfs = {"lfs": {"oid": blob.sha256, **_lfs_info(blob)}} if blob.lfs else {}
    return {"type": "file", "oid": blob.git_oid, "size": len(blob.data), "path": path, **lfs}


def _is_within(file: str, path: str) -> bool:
    return file == path or file.startswith(f"{path}/")


def _file_answer(data: bytes, asked: str | None, headers: dict[str, str]) -> Response:
    """The whole file, or the range of it that was asked for."""
    media_type = "application/octet-stream"
    found = _RANGE.fullmatch(asked) if asked else None
    if found is None or found.groups() == ("", ""):
        return Response(data, headers=headers, media_type=media_type)
    first, last = found.groups()
    start = int(first) if first else max(len(data) - int(last), 0)
    end = min(int(last) + 1, len(data)) if first and last else len(data)
    if start >= end:
        return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{len(data)}"})
    headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(data)}"
    return Response(data[start:end], status_code=206, headers=headers, media_type=media_type)


async def _error_answer(_: Request, error: Exception) -> Response:
    assert isinstance(error, HubError)
    return JSONResponse(error.content, error.status, headers=error.headers)


async def _unknown(request: Request, _: Exception) -> Response:
    request.scope["unknown"] = True
    message = f"Not in the stand-in's protocol: {request.method} {request.url.path}"
    return JSONResponse({"error": message}, 404)


# ------------------------------------------------------------------------------------------------------------
# Stand-in
# ------------------------------------------------------------------------------------------------------------


class HubStandIn:
    """A Hub on a free port of 127.0.0.1, up while the `with` block runs.

    Attributes:
        endpoint: what the clients take as `HF_ENDPOINT` or `endpoint=`.
        tokens: the tokens that are known, by their text; more can be added.
        page_size: how many entries a page of a listing has.
        part_size: a large file over this size is to be uploaded in parts of it; None: always in one piece.
    """

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.tokens = {"hf_write": Token("you", "write"), "hf_read": Token("you", "read")}
        self.page_size = 1000
        self.part_size: int | None = None
        self._lock = threading.RLock()
        self._requests: deque[HubRequest] = deque(maxlen=MAX_RECORDS)
        self._unknown_requests: deque[HubRequest] = deque(maxlen=MAX_RECORDS)
        self._repos: dict[tuple[str, str], Repo] = {}
        self._faults: list[Fault] = []
        # Bound and never listening: it keeps the port for `start` while the stand-in is stopped.
        self._port_holder = _bound_socket(host, port)
        self._address: tuple[str, int] = self._port_holder.getsockname()[:2]
        self.endpoint = f"http://{self._address[0]}:{self._address[1]}"
        self._app = _FrontDoor(self, _Protocol(self).app)
        self._server: uvicorn.Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._down = asyncio.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._port_holder.close()

    @property
    def requests(self) -> list[HubRequest]:
        """The latest requests, in the order of their answers."""
        return list(self._requests)

    @property
    def unknown_requests(self) -> list[HubRequest]:
        """The latest requests outside the protocol; a test should find none."""
        return list(self._unknown_requests)

    def forget_requests(self) -> None:
        """Begin a new record of requests; those outside the protocol are kept."""
        self._requests.clear()

    # Up and down

    def start(self) -> None:
        """Answer on the port; the repos are as they were."""
        listener = _bound_socket(*self._address)
        # The loggers are left alone: they belong to the program under test.
        config = uvicorn.Config(
            self._app,
            http="h11",
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            access_log=False,
        )
        server = self._server = uvicorn.Server(config)
        serving = self._serve(server, listener)
        self._thread = threading.Thread(target=asyncio.run, args=(serving,), daemon=True, name="hub")
        self._thread.start()
        deadline = time.monotonic() + 10
        while not server.started:
            if time.monotonic() > deadline or not self._thread.is_alive():
                raise RuntimeError("the stand-in for the Hub did not start")
            time.sleep(0.005)

    def stop(self) -> None:
        """Go down: connections are cut, and new ones refused, until `start`."""
        if self._thread is None or self._loop is None:
            return
        self._loop.call_soon_threadsafe(self._down.set)
        self._thread.join(timeout=10)
        if self._thread.is_alive():
            raise RuntimeError("the stand-in for the Hub did not stop")
        self._server = self._loop = self._thread = None

    async def _serve(self, server: uvicorn.Server, listener: socket.socket) -> None:
        self._loop, self._down = asyncio.get_running_loop(), asyncio.Event()
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        await self._down.wait()
        # The server's own way down is to let requests finish: this one is to be gone at once.
        for accepting in server.servers:
            accepting.close()
        for connection in list(server.server_state.connections):
            connection.transport.abort()
        under_way = [serving, *server.server_state.tasks]
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)

    def _close_connection(self, client: tuple[str, int]) -> None:
        connections = list(self._server.server_state.connections) if self._server else []
        for connection in connections:
            if connection.transport.get_extra_info("peername") == client:
                connection.transport.close()

    # Repos

    def create_repo(
        self, repo_id: str, *, repo_type: str = "model", private: bool = False, gated: Gated = False
    ) -> None:
        """Make a repo, with the first commit that the Hub makes too."""
        with self._lock:
            if (repo_type, repo_id) in self._repos:
                raise ValueError(f"there is a {repo_type} repo {repo_id} already")
            self._add_repo(Repo(repo_type, repo_id, private=private, gated=gated))

    def _add_repo(self, repo: Repo) -> None:
        repo.add_commit(
            {".gitattributes": Blob(GIT_ATTRIBUTES, lfs=False)},
            "initial commit",
            branch="main",
            author="you",
        )
        self._repos[(repo.repo_type, repo.repo_id)] = repo

    def commit(
        self,
        repo_id: str,
        files: Mapping[str, bytes],
        *,
        repo_type: str = "model",
        branch: str = "main",
        message: str = "Upload files",
    ) -> str:
        """Commit files onto a branch, beside those that are there; the answer is the commit's hash."""
        with self._lock:
            repo = self._repos[(repo_type, repo_id)]
            blobs = {path: Blob(data, lfs=needs_lfs(path, len(data))) for path, data in files.items()}
            repo.lfs_objects |= {blob.sha256: blob for blob in blobs.values() if blob.lfs}
            return repo.add_commit(blobs, message, branch=branch, author=repo.namespace).oid

    def files(self, repo_id: str, *, repo_type: str = "model", revision: str = "main") -> dict[str, bytes]:
        """The files of a repo at a branch, a tag or a commit."""
        with self._lock:
            commit = self._repos[(repo_type, repo_id)].at(revision)
        return {path: blob.data for path, blob in commit.files.items()}

    def head(self, repo_id: str, *, repo_type: str = "model", branch: str = "main") -> str:
        """The hash of a branch's latest commit."""
        return self.history(repo_id, repo_type=repo_type, branch=branch)[0].oid

    def history(self, repo_id: str, *, repo_type: str = "model", branch: str = "main") -> list[Commit]:
        """The commits of a branch, newest first."""
        with self._lock:
            return self._repos[(repo_type, repo_id)].history(branch)

    def create_branch(self, repo_id: str, branch: str, *, repo_type: str = "model", revision: str = "main") -> None:
        """Put a branch on a revision."""
        with self._lock:
            repo = self._repos[(repo_type, repo_id)]
            repo.branches[branch] = repo.at(revision).oid

    def create_tag(self, repo_id: str, tag: str, *, repo_type: str = "model", revision: str = "main") -> None:
        """Put a tag on a revision."""
        with self._lock:
            repo = self._repos[(repo_type, repo_id)]
            repo.tags[tag] = repo.at(revision).oid

    # Faults: `pattern` is searched for in "METHOD /path"; the oldest that matches strikes, `times` times
    # (None: until cleared)

    def fail(
        self,
        pattern: str,
        *,
        status: int = 503,
        times: int | None = 1,
        delay_s: float = 0.0,
        headers: Mapping[str, str] | None = None,
        drop: bool = False,
    ) -> None:
        """Answer with this status instead, or with `drop` close the connection without an answer."""
        fault = Fault(re.compile(pattern), times, delay_s, status=status, headers=headers or {}, drop=drop)
        self._add_fault(fault)

    def stall(self, pattern: str, *, delay_s: float, times: int | None = 1) -> None:
        """Accept the request, and answer it only after the delay."""
        self._add_fault(Fault(re.compile(pattern), times, delay_s=delay_s))

    def corrupt(self, pattern: str, *, times: int | None = 1) -> None:
        """Answer with the right headers and a wrong body of the same length."""
        self._add_fault(Fault(re.compile(pattern), times, corrupt=True))

    def truncate(self, pattern: str, *, keep: int, times: int | None = 1) -> None:
        """Close the connection after the first `keep` bytes of the body."""
        self._add_fault(Fault(re.compile(pattern), times, keep=keep))

    def clear_faults(self) -> None:
        """Let nothing go wrong any more."""
        with self._lock:
            self._faults.clear()

    def _add_fault(self, fault: Fault) -> None:
        with self._lock:
            self._faults.append(fault)

    def _fault_for(self, request: str) -> Fault | None:
        with self._lock:
            return next((fault for fault in self._faults if fault.takes(request)), None)


def _bound_socket(host: str, port: int) -> socket.socket:
    bound = socket.socket()
    # Two sockets may have the port as long as only one listens, and closed connections do not keep it.
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind((host, port))
    return bound


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve folders as repos until a signal comes."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.hub_stand_in", description="A Hub on loopback.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--folder", action="append", default=[], metavar="[datasets/]REPO_ID=PATH")
    options = parser.parse_args(arguments)
    signals = {signal.SIGINT, signal.SIGTERM}
    # Blocked before the server's thread starts, so that none but `sigwait` gets them.
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    with HubStandIn(host=options.host, port=options.port) as hub:
        for folder in options.folder:
            web_path, _, path = folder.partition("=")
            repo_type = "dataset" if web_path.startswith("datasets/") else "model"
            repo_id = web_path.removeprefix("datasets/")
            found = [file for file in Path(path).rglob("*") if file.is_file()]
            hub.create_repo(repo_id, repo_type=repo_type)
            files = {file.relative_to(path).as_posix(): file.read_bytes() for file in found}
            hub.commit(repo_id, files, repo_type=repo_type)
        sys.stdout.write(f"{hub.endpoint}\n")
        sys.stdout.flush()
        signal.sigwait(signals)


if __name__ == "__main__":
    main()
