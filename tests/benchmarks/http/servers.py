"""The servers that are compared, each a process of its own on loopback."""

import http.client
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.processes import ROOT
from tests.support.service_process import free_port

_START_TIMEOUT_S = 300
_STOP_TIMEOUT_S = 60
_POLL_S = 0.02


@dataclass(frozen=True)
class Contender:
    """A server program: it reads MODEL_ID and PORT, and classifies the field `file` posted to /classify.

    ready: answers 200 once it can classify. live: answers 200 while the process is alive.
    """

    name: str
    module: str
    ready: str
    live: str
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Server:
    """A contender that runs. ready_s: seconds from its start until it could classify."""

    contender: Contender
    port: int
    pid: int
    ready_s: float

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


NAIVE = Contender("FastAPI + pipeline", "tests.benchmarks.http.naive_server", "/livez", "/livez")
LITSERVE = Contender("LitServe + pipeline", "tests.benchmarks.http.litserve_server", "/health", "/health")


def ours(**settings: str) -> Contender:
    """The service; settings by their environment variables."""
    named = "".join(f", {name}={value}" for name, value in settings.items())
    return Contender(f"this service{named}", "service", "/readyz", "/livez", settings)


IMPATIENT = ours(REQUEST_DEADLINE_S="6")
"""Its capacity lies within what the clients ask: it must refuse instead of letting everybody wait."""


def contenders() -> list[Contender]:
    """All that can run here."""
    found = [NAIVE, ours(), IMPATIENT]
    return [*found, LITSERVE] if importlib.util.find_spec("litserve") else found


@contextmanager
def running(contender: Contender, model: Path, logs: Path) -> Iterator[Server]:
    """The server, ready, while the block runs; what it says goes to a file in `logs`."""
    port = free_port()
    log = logs / f"{contender.module}-{port}.log"
    # The same few clips are sent again and again: no answers are kept, unless that is what is measured.
    environment = dict(os.environ) | {"MODEL_ID": str(model), "PORT": str(port), "RESULT_CACHE_MB": "0"}
    environment |= contender.settings
    with log.open("w") as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", contender.module],
            env=environment,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # A group of its own: LitServe's workers outlive their parent.
            start_new_session=True,
        )
        try:
            while status(port, contender.ready) != 200:
                if process.poll() is not None or time.perf_counter() - started > _START_TIMEOUT_S:
                    raise RuntimeError(f"{contender.name} did not start:\n{log.read_text()[-4_000:]}")
                time.sleep(_POLL_S)
            yield Server(contender, port, process.pid, time.perf_counter() - started)
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM for the server, then an end for everything that it started."""
    process.send_signal(signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_TIMEOUT_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def status(port: int, path: str) -> int | None:
    """The status that a GET is answered with; None when nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return None
    finally:
        connection.close()
