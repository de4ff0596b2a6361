"""The processors of this machine, and how a batch is split among them."""

import os
from pathlib import Path

_CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def cores(quota: Path = _CGROUP_QUOTA) -> int:
    """Returns how many cores this process may run on: those of its affinity, or fewer if a container's quota says so.

    Args:
        quota: Linux's file of microseconds a period, or "max", and the period in microseconds (cgroup v2).
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        allowed, period = quota.read_text(encoding="ascii").split()
    except OSError:
        return count
    return count if allowed == "max" else max(1, min(count, round(int(allowed) / int(period))))


def part_size(rows: int, ways: int, smallest: int) -> int:
    """Returns how many rows of a batch go each way: as many each, but `smallest` where there are so many."""
    return max(-(-rows // ways), min(rows, smallest))
