"""The cores that this process may use, and the priority of its threads."""

import math
import os
import sys
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")

# Below the event loop's, so that health checks and refusals are answered at once while every core computes.
_NICENESS = 10


def available_cpus(cgroup: Path = _CGROUP) -> int:
    """The cores of the scheduler's mask, and no more than a container's CPU limit allows (at least one).

    `docker run --cpus 2` on a large machine leaves every core visible: threads for all of them would then wait for
    each other's share of the quota. cgroup: where the control group is mounted, version 2 or 1.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(cores, _quota(cgroup))))


def _quota(cgroup: Path) -> float:
    """The CPU limit in cores; infinite without one."""
    try:
        quota, period = (cgroup / "cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        try:
            quota = (cgroup / "cpu" / "cpu.cfs_quota_us").read_text(encoding="ascii").strip()
            period = (cgroup / "cpu" / "cpu.cfs_period_us").read_text(encoding="ascii").strip()
        except OSError:
            return math.inf
    return int(quota) / int(period) if quota not in ("max", "-1") else math.inf


def lower_priority() -> None:
    """Lower the priority of the calling thread, and of threads that it starts later."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, 0, _NICENESS)
