"""What a process and all its children hold, read from /proc."""

import os
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True)
class Usage:
    """rss_mb: resident memory, what is shared counted in each process. pss_mb: what is shared counted once.
    descriptors: open files and sockets. In MB (10^6 bytes)."""

    rss_mb: float
    pss_mb: float
    descriptors: int


def usage(pid: int) -> Usage:
    """Of the process and its descendants; one that ends meanwhile counts for nothing."""
    found = [one for pid_ in tree(pid) if (one := _usage_of_one(pid_))]
    return Usage(
        rss_mb=sum(one.rss_mb for one in found),
        pss_mb=sum(one.pss_mb for one in found),
        descriptors=sum(one.descriptors for one in found),
    )


def tree(pid: int) -> list[int]:
    """The process and its descendants."""
    parents = {int(path.name): parent for path in _PROC.glob("[0-9]*") if (parent := _parent(path)) is not None}
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def cpu_s(pid: int) -> float:
    """Seconds of CPU that the process and its living descendants have used."""
    fields = [stat.split() for one in tree(pid) if (stat := _stat(_PROC / str(one)))]
    return sum(int(field) for one in fields for field in one[11:13]) / os.sysconf("SC_CLK_TCK")


def forget_peaks(pid: int) -> None:
    """`peak_mb` counts from now on."""
    for one in tree(pid):
        (_PROC / str(one) / "clear_refs").write_text("5")


def peak_mb(pid: int) -> float:
    """The most resident memory that each process of the tree had, added up: at least what they had together."""
    lines = [line for one in tree(pid) for line in (_PROC / str(one) / "status").read_text().splitlines()]
    return sum(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM:"))


def _parent(process: Path) -> int | None:
    stat = _stat(process)
    return int(stat.split()[1]) if stat else None


def _stat(process: Path) -> str | None:
    """What /proc/PID/stat says after the name, from the state on; None of a process that has ended."""
    try:
        return (process / "stat").read_text().rpartition(")")[2]
    except OSError:
        return None


def _usage_of_one(pid: int) -> Usage | None:
    try:
        lines = (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()[1:]
        megabytes = {
            name: int(size.split()[0]) * 1024 / 1e6 for name, _, size in (line.partition(":") for line in lines)
        }
        descriptors = len(list((_PROC / str(pid) / "fd").iterdir()))
    except OSError:
        return None
    return Usage(megabytes.get("Rss", 0.0), megabytes.get("Pss", 0.0), descriptors)
