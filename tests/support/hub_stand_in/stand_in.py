"""The stand-in itself: a server on loopback, its repos, and its faults."""

import asyncio
import re
import socket
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import Self

import uvicorn

from tests.support.hub_stand_in.front_door import Fault, HubRequest, _FrontDoor
from tests.support.hub_stand_in.protocol import _Protocol
from tests.support.hub_stand_in.repos import GIT_ATTRIBUTES, Blob, Commit, Gated, Repo, Token, needs_lfs

MAX_RECORDS = 10_000


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
        deadline = time.monotonic() + 60
        while not server.started:
            if time.monotonic() > deadline or not self._thread.is_alive():
                raise RuntimeError("the stand-in for the Hub did not start")
            time.sleep(0.005)

    def stop(self) -> None:
        """Go down: connections are cut, and new ones refused, until `start`."""
        if self._thread is None or self._loop is None:
            return
        self._loop.call_soon_threadsafe(self._down.set)
        self._thread.join(timeout=60)
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
