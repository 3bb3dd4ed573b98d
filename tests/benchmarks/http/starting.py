"""From the start of the process to /readyz, and resident memory, by backend."""

import time
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.effort import Effort
from tests.benchmarks.http.load import for_seconds, load
from tests.benchmarks.http.servers import Server, ours, running
from tests.benchmarks.measuring import median, memory_mb
from tests.benchmarks.report import Row, Section

_BACKENDS = ("openvino", "torch")
_SETTLE_S = 1.0
_CLIENTS = 8


def starting(model: Path, clips: Sequence[bytes], effort: Effort, logs: Path) -> Section:
    """Backends in turn. The caches are warm: each has been started before."""
    seen: dict[str, list[tuple[float, float, float, float]]] = {backend: [] for backend in _BACKENDS}
    for _ in range(effort.starts):
        for backend in _BACKENDS:
            with running(ours(BACKEND=backend), model, logs) as server:
                seen[backend].append((server.ready_s, *_memory(server, clips, effort.load_s)))
    rows = [_row(backend, figures) for backend, figures in seen.items()]
    remark = f"Loaded: after {effort.load_s:g} s of {_CLIENTS} clients. Most: the peak of the whole life."
    return Section("Start with a warm cache, and resident memory", rows, [remark])


def _memory(server: Server, clips: Sequence[bytes], load_s: float) -> tuple[float, float, float]:
    """MB when ready, after a load, and at most."""
    time.sleep(_SETTLE_S)
    idle, _ = memory_mb(server.pid)
    load(server, clips, _CLIENTS, for_seconds(load_s))
    return idle, *memory_mb(server.pid)


def _row(backend: str, figures: Sequence[tuple[float, float, float, float]]) -> Row:
    ready_s, idle, loaded, most = (median(column) for column in zip(*figures, strict=True))
    return {
        "BACKEND": backend,
        "starts": len(figures),
        "ready after s": ready_s,
        "idle MB": idle,
        "loaded MB": loaded,
        "most MB": most,
    }
