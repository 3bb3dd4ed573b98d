"""Programs as processes of their own, as people start them. The service has a module of its own: service_process."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(*arguments: str, token: str | None = None, timeout_s: float = 500) -> subprocess.CompletedProcess[str]:
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


def _environment(token: str | None) -> dict[str, str]:
    return dict(os.environ) | ({"HF_TOKEN": token} if token else {})
