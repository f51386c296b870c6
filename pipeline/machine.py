"""What this machine has: the processors that a process may use, and the threads of a training."""

from __future__ import annotations

import os
from pathlib import Path


def cores() -> int:
    """The processors that this process may use: its affinity, and the quota of its container."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, min(count, round(int(quota) / int(period))))
    except (OSError, ValueError):  # no such file, or "max": no quota
        return count


def threads() -> int:
    """OMP_NUM_THREADS where it is set, as torch has it; else one for each processor."""
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(wanted) if wanted.isdecimal() and int(wanted) > 0 else cores()
