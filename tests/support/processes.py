"""The two programs as processes of their own, as people start them."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]


def run(*arguments: str, token: str | None = None, timeout_s: float = 240) -> subprocess.CompletedProcess[str]:
    """`python -m <arguments>`, to its end, its output captured together."""
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        env=_environment(token),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout_s,
        check=False,
    )


@contextmanager
def started(
    *arguments: str, log: Path, token: str | None = None, environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """`python -m <arguments>` while the block runs, its output in `log`; killed at the end if it still runs."""
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            env=_environment(token) | (environment or {}),
            cwd=ROOT,
            stdout=output,
            stderr=output,
            text=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


@contextmanager
def service(settings: dict[str, str], log: Path) -> Iterator[str]:
    """The service, ready; yields its base URL. SIGTERM ends it."""
    port = free_port()
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "service"],
            env=_environment(None) | {"PORT": str(port)} | settings,
            cwd=ROOT,
            stdout=output,
            stderr=output,
        )
        url = f"http://127.0.0.1:{port}"
        try:
            _wait_until_ready(process, url, log)
            yield url
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _environment(token: str | None) -> dict[str, str]:
    return dict(os.environ) | ({"HF_TOKEN": token} if token else {})


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{url}/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"the service did not become ready:\n{log.read_text()}")
