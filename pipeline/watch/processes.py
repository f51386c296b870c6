"""Processes of this machine: whether they live, and how much memory they hold."""

from __future__ import annotations

import psutil


def started(pid: int) -> float | None:
    """When a process was started, in seconds of Unix time; None where there is no such process."""
    try:
        return float(psutil.Process(pid).create_time())
    except (psutil.Error, ValueError, OverflowError):
        return None


def resident(pid: int) -> int | None:
    """Its memory in bytes, pages that it shares included; None where it is gone, or not ours to look at."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else int(process.memory_info().rss)
    except (psutil.Error, ValueError, OverflowError):
        return None
