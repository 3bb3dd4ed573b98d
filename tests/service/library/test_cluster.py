"""Two nodes of Ray on this machine: the work goes to both, and is done by the other when one is lost."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.service.library.test_run import command, settings, table

pytestmark = pytest.mark.slow

FILES = 240
WAIT_S = 240

# In a process of its own: Ray's threads and warnings are none of the tests'. A line of input loses the second node.
NODES = """
import sys
from ray.cluster_utils import Cluster
quiet = {"include_dashboard": False, "num_cpus": 1, "object_store_memory": 100 << 20}
cluster = Cluster(initialize_head=True, head_node_args=quiet)
second = cluster.add_node(**quiet)
cluster.wait_for_nodes()
print("ADDRESS", cluster.address, flush=True)
sys.stdin.readline()
cluster.remove_node(second, allow_graceful=False)
print("LOST", flush=True)
sys.stdin.readline()
cluster.shutdown()
"""


class Nodes:
    """The process that holds two nodes."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", NODES],
            env=settings(Path("unused"), RAY_USAGE_STATS_ENABLED="0"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.address = self._told("ADDRESS").split()[1]

    def lose_one(self) -> None:
        self._ask()
        self._told("LOST")

    def kill_actors(self) -> int:
        """Kill the actors of both nodes; how many there were."""
        pids = [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/cmdline") if _is_actor(path)]
        ours = [pid for pid in pids if self.address.encode() in _read(Path(f"/proc/{_parent(pid)}/cmdline"))]
        for pid in ours:
            os.kill(pid, signal.SIGKILL)
        return len(ours)

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(60)

    def _ask(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def _told(self, word: str) -> str:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(word):
                return line
        raise AssertionError("the nodes ended")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _is_actor(cmdline: Path) -> bool:
    return b"ray::MapWorker" in _read(cmdline)


def _parent(pid: int) -> int:
    status = _read(Path(f"/proc/{pid}/status")).decode()
    return int(status.partition("PPid:")[2].split()[0]) if status else 0


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    nodes = Nodes()
    yield nodes
    nodes.close()


@pytest.fixture
def library(music: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "library"
    folder.mkdir()
    song = (music / "1.flac").read_bytes()
    for index in range(FILES):
        (folder / f"{index}.flac").write_bytes(song)
    return folder


def during(work: Callable[[], Any], library: Path, out: Path, model: Path, address: str) -> str:
    """Run on the nodes, and do something else once the first rows are there; what the run told."""
    with subprocess.Popen(
        [*command(library, "--out", out), "--num_cpus", "1"],
        env=settings(model, RAY_ADDRESS=address),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if f"of {FILES} files" in line:
                break
        work()
        told = "".join(lines) + process.stderr.read()
        assert process.wait(WAIT_S) == 0, told
    return told


@pytest.mark.parametrize("lost", ["nothing", "a node", "the actors"])
def test_every_file_has_one_row_whatever_is_lost(
    lost: str, nodes: Nodes, library: Path, model_folder: Path, tmp_path: Path
) -> None:
    killed = []
    work = {
        "nothing": lambda: None,
        "a node": nodes.lose_one,
        "the actors": lambda: killed.append(nodes.kill_actors()),
    }[lost]
    started = time.monotonic()
    told = during(work, library, tmp_path / "out", model_folder, nodes.address)
    rows = table(tmp_path / "out")
    assert len(rows) == FILES, told
    assert rows.column("error_type").null_count == FILES
    assert killed in ([], [2]), killed
    assert time.monotonic() - started < WAIT_S
