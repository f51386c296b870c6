"""Runners in this process or in Ray workers, behind one interface; `open_pool` opens either."""

from .crew import at_work
from .errors import WorkerError
from .opening import open_pool
from .parallel import RayPool
from .pool import WorkerPool
from .serial import SerialPool

__all__ = ["RayPool", "SerialPool", "WorkerError", "WorkerPool", "at_work", "open_pool"]
