"""`python -m service` as a process of its own, with its log and its signals."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from tests.support.hub_stand_in import HubStandIn

# Seconds, as a model loads at low priority; pytest ends a test after 600.
START_S = 500

# Bound and never listening: they keep ports for programs that are about to take them.
_held: list[socket.socket] = []


def environment(**settings: str) -> dict[str, str]:
    """The environment of a service: what the tests run in, without settings that happen to be there.

    Without the page, as Gradio takes seconds to import; what needs it asks for `PAGE="true"`. No answers are kept, as
    tests send one clip again and again, which is to be classified each time.
    """
    kept = {"PATH", "HF_ENDPOINT", "HF_HOME", "HF_HUB_DISABLE_XET", "HF_HUB_DISABLE_TELEMETRY"}
    usual = {"OMP_NUM_THREADS": "1", "PAGE": "false", "RESULT_CACHE_MB": "0"}
    return {name: value for name, value in os.environ.items() if name in kept} | usual | settings


class Service:
    """A running `python -m service`, and its log as it grows."""

    def __init__(self, **settings: str) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.port = port
        self.process = subprocess.Popen(
            [sys.executable, "-m", "service"],
            env=environment(PORT=str(port), **settings),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        # A daemon, so that a test which fails early does not hold up the end of all.
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.lines += self.process.stderr

    def wait_for(self, path: str, status: int = 200, headers: dict[str, str] | None = None) -> httpx2.Response:
        deadline = time.monotonic() + START_S
        while True:
            try:
                response = httpx2.get(f"{self.url}{path}", headers=headers, timeout=60)
                if response.status_code == status:
                    return response
            except httpx2.TransportError:
                pass
            assert time.monotonic() < deadline, "".join(self.lines)
            assert self.process.poll() is None, "".join(self.lines)
            time.sleep(0.02)

    def classify(self, data: bytes, name: str = "song.mp3") -> httpx2.Response:
        return httpx2.post(f"{self.url}/classify", files={"file": (name, data)}, timeout=START_S)

    def wait(self) -> int:
        """The exit code."""
        code = self.process.wait(timeout=START_S)
        self._reader.join()
        assert self.process.stdout is not None
        assert self.process.stdout.read() == ""
        self.process.stdout.close()
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """The exit code after a signal."""
        self.process.send_signal(number)
        return self.wait()

    @property
    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]


Start = Callable[..., Service]


@contextmanager
def running(**settings: str) -> Iterator[Service]:
    """A service that is ready; SIGTERM ends it."""
    service = Service(**settings)
    try:
        service.wait_for("/readyz")
        yield service
    finally:
        if service.process.poll() is None:
            service.stop()


def free_port() -> int:
    """A port of loopback that nothing listens on, and that the kernel gives to nobody else."""
    held = socket.socket()
    # Two sockets may have the port as long as only one listens.
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    _held.append(held)
    port: int = held.getsockname()[1]
    return port


def publish(hub: HubStandIn, repo_id: str, model_folder: Path, *, with_graph: bool = True, **options: Any) -> None:
    """Push a model folder, by default with the graph that training would have exported: to convert takes seconds."""
    # Imported late: huggingface_hub reads HF_ENDPOINT when it is imported, and conftest sets it after importing this.
    from service.model.artefact import read_artefact
    from service.model.graphs.locate import locate
    from service.model.layout import GRAPH_FOLDER

    files = {path.name: path.read_bytes() for path in model_folder.iterdir()}
    if with_graph:
        located = locate(read_artefact(model_folder, model_id=model_folder.name, revision=None))
        files |= {f"{GRAPH_FOLDER}/{path.name}": path.read_bytes() for path in located.graphs.files}
    hub.create_repo(repo_id, **options)
    hub.commit(repo_id, files)
