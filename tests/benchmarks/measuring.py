"""Clocks, quantiles and memory, and what machine it is."""

import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from service.runtime.resources import available_cpus
from tests.benchmarks.report import Row

_PACKAGES = ("torch", "transformers", "openvino", "fastapi", "uvicorn", "soundfile", "soxr", "litserve", "uvloop")
_BF16_FLAGS = ("avx512_bf16", "amx_bf16", "amx_int8", "avx512_vnni")


def own_process() -> ProcessPoolExecutor:
    """One fresh process, with the environment of this moment: what it imports and allocates ends with it."""
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))


def interleaved(ways: Mapping[str, Callable[[int], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of every way in every round, the ways in turn, after one round that warms up.

    A way is called with the number of the round.
    """
    for way in ways.values():
        way(0)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        for name, way in ways.items():
            started = time.perf_counter()
            way(number)
            seconds[name].append(time.perf_counter() - started)
    return seconds


def quantile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that `share` of the values do not exceed; None of no values."""
    if not values:
        return None
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None


def memory_mb(pid: int) -> tuple[float, float]:
    """Resident memory of a process in MB (10^6 bytes): now, and at most so far."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    now, most = (int(fields[name].split()[0]) * 1024 / 1e6 for name in ("VmRSS", "VmHWM"))
    return now, most


def machine() -> Row:
    """The machine and the versions, and its load before the run: figures of a busy machine are worth nothing."""
    cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in cpuinfo)}
    flags = fields.get("flags", "").split()
    described: Row = {
        "cpu": fields.get("model name", platform.processor()),
        "flags": " ".join(flag for flag in _BF16_FLAGS if flag in flags),
        "cores": available_cpus(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "load_average_before": round(os.getloadavg()[0], 2),
        "system": platform.platform(),
        "python": platform.python_version(),
    }
    return described | {name: found for name in _PACKAGES if (found := _version(name))}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
