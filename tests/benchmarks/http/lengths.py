"""What a recording costs by its length: seconds of a request and the memory that it leaves behind."""

from pathlib import Path

from tests.benchmarks.clips import recording
from tests.benchmarks.effort import Effort
from tests.benchmarks.http.load import Load, load
from tests.benchmarks.http.servers import Server, ours, running
from tests.benchmarks.measuring import median, memory_mb
from tests.benchmarks.report import Row, Section


def lengths(model: Path, effort: Effort, logs: Path) -> Section:
    """One client, from the shortest to the longest, in rounds."""
    files = {duration_s: recording(duration_s) for duration_s in effort.lengths_s}
    largest_mb = max(map(len, files.values())) / 1e6
    asked = [*((duration_s, "/classify") for duration_s in files), (effort.timeline_s, "/classify?timeline=true")]
    seen: dict[tuple[float, str], list[tuple[Load, float, float]]] = {question: [] for question in asked}
    # A timeline of half an hour takes minutes on a CPU without bf16; by default it is refused there.
    service = ours(MAX_UPLOAD_MB=str(largest_mb + 1), REQUEST_DEADLINE_S="900")
    with running(service, model, logs) as server:
        once(server, files[min(files)])
        for _ in range(effort.length_rounds):
            for duration_s, path in asked:
                seen[duration_s, path].append((once(server, files[duration_s], path), *memory_mb(server.pid)))
    rows = [_row(duration_s, path, len(files[duration_s]), figures) for (duration_s, path), figures in seen.items()]
    remark = (
        f"One client, {effort.length_rounds} round(s) from short to long, all in one process; MAX_WINDOWS and all else "
        "as by default but for MAX_UPLOAD_MB and REQUEST_DEADLINE_S. Seconds: median; resident memory: after the last "
        "round's request; most: the peak up to then. The file's frames are those of 30 s, repeated."
    )
    return Section("Cost against length", rows, [remark])


def once(server: Server, file: bytes, path: str = "/classify") -> Load:
    """One request."""
    turns = iter([True])
    return load(server, [file], 1, lambda: next(turns, False), path)


def _row(duration_s: float, path: str, size: int, figures: list[tuple[Load, float, float]]) -> Row:
    latencies_s = [latency for seen, _, _ in figures for latency in seen.latencies_s]
    statuses = sorted({str(status) for seen, _, _ in figures for status in seen.statuses})
    _, now, most = figures[-1]
    return {
        "length s": int(duration_s),
        "asked": path,
        "mp3 MB": size / 1e6,
        "median s": median(latencies_s),
        "resident MB": now,
        "most MB": most,
        "status": " ".join(statuses),
    }
