"""The processors of this machine."""

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
