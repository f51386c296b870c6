"""Which kind of pool plays."""

from __future__ import annotations

from collections.abc import Callable

from ..run import Runner
from .parallel import RayPool
from .pool import WorkerPool
from .serial import SerialPool


def open_pool(
    make: Callable[[], Runner], workers: int, address: str | None = None, *, beside: WorkerPool | None = None
) -> WorkerPool:
    """A pool of `workers` Ray processes that each play on a runner `make()`; workers=0 plays in this process.

    Args:
        make: builds a runner; it travels to the workers by pickle, once for all of them.
        workers: processes, 0 or more.
        address: of a running Ray cluster ("auto", "host:6379"); None starts Ray on this machine.
        beside: a pool of this process that plays when this one does not. Its workers play for both, so no processor is
            reserved twice; `workers` and `address` are then those of that pool.

    Raises:
        ValueError: `workers` is negative, no cluster answers at `address`, or it has no processor for a worker.
        WorkerError: the workers do not start.
    """
    if workers < 0:
        raise ValueError(f"workers must be 0 (this process) or more, not {workers}")
    if isinstance(beside, RayPool):
        return beside.beside(make)
    return RayPool(make, workers, address) if workers else SerialPool(make)
