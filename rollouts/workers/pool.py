"""What every pool is to the rest: a place where jobs are played."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from ..job import Job, Outcome


class WorkerPool(Protocol):
    """Plays jobs somewhere. Which kind of pool, and how many workers, never changes an outcome."""

    workers: int  # 0: this process

    @property
    def slots(self) -> int:
        """Of all workers together."""

    def run(self, jobs: Iterable[Job]) -> Iterator[Outcome]:
        """The outcomes of the jobs in the order of finishing; may be called again and again."""

    def close(self) -> None: ...

    def __enter__(self) -> WorkerPool: ...

    def __exit__(self, *error: object) -> None: ...
