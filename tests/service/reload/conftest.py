"""A repo on the Hub whose model proves itself, and a steady load on a service."""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest

from tests.service.application import application
from tests.support.audio_files import encode, sweep
from tests.support.golden_model import files
from tests.support.hub_stand_in import HubStandIn
from tests.support.serving import serving

INTERVAL_S = "0.3"
ADMIN_KEY = "an-admin-key-of-the-tests"


@pytest.fixture
def repo(hub: HubStandIn, golden_folder: Path, request: pytest.FixtureRequest) -> str:
    """A model repo for each test, as training pushes it."""
    repo_id = f"you/reload-{abs(hash(request.node.name)) % 10**9}"
    hub.create_repo(repo_id)
    hub.commit(repo_id, files(golden_folder))
    return repo_id


@pytest.fixture
def startup_deadline_s() -> float:
    """A test that waits for it to pass asks for less."""
    return 60.0


@pytest.fixture
def url(repo: str, tmp_path: Path, startup_deadline_s: float) -> Iterator[str]:
    """The address of a service, in this process, that watches the repo."""
    (tmp_path / "admin-keys").write_text(ADMIN_KEY)
    app = application(
        repo,
        page=False,
        decoders=2,
        reload_interval_s=float(INTERVAL_S),
        admin_keys_file=tmp_path / "admin-keys",
        startup_deadline_s=startup_deadline_s,
    )
    with serving(app) as url:
        yield url


@dataclass
class Load:
    """The answers that clients got: revisions of those that succeeded, and everything else in words.

    revisions: in no exact order. by_client: the same, of each client in the order in which it got them.
    """

    revisions: list[str] = field(default_factory=list)
    by_client: list[list[str]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


@contextmanager
def steady_load(url: str, clients: int = 2) -> Iterator[Load]:
    """Clients that ask one after the other while the block runs."""
    load, done, clip = Load(), threading.Event(), encode(sweep(3.0), "flac")

    def ask(own: list[str]) -> None:
        with httpx2.Client(timeout=120) as client:
            while not done.is_set():
                started = time.perf_counter()
                try:
                    answer = client.post(f"{url}/classify", files={"file": ("song.flac", clip)})
                except httpx2.HTTPError as error:
                    load.failures.append(repr(error))
                    continue
                load.seconds.append(time.perf_counter() - started)
                if answer.status_code == 200:
                    own.append(answer.json()["model"]["revision"])
                    load.revisions.append(own[-1])
                else:
                    load.failures.append(answer.text)

    load.by_client += [[] for _ in range(clients)]
    threads = [threading.Thread(target=ask, args=(own,)) for own in load.by_client]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        done.set()
        for thread in threads:
            thread.join()


def metric(url: str, series: str) -> float:
    """The value of a series in /metrics."""
    found = re.search(rf"^{re.escape(series)} (\S+)$", httpx2.get(f"{url}/metrics").text, re.M)
    assert found, series
    return float(found[1])


def wait_for(url: str, series: str, at_least: float = 1.0) -> None:
    """Wait until a series has grown to a value."""
    deadline = time.monotonic() + 300
    while metric(url, series) < at_least:
        assert time.monotonic() < deadline, series
        time.sleep(0.05)


def reloads(result: str) -> str:
    """The series of a result of reloads."""
    return f'genre_model_reloads_total{{result="{result}"}}'


def revision(url: str) -> str:
    """The commit that the service says it answers with."""
    answered: str = httpx2.get(f"{url}/model").json()["revision"]
    return answered
