"""A pool of no workers: this process plays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch

from ..job import Job, Outcome
from ..run import Runner, run_episodes


class SerialPool:
    """One runner in this process, which plays on one thread as a worker does: threads change the last digits."""

    workers = 0

    def __init__(self, make: Callable[[], Runner]) -> None:
        self._runner = make()
        self.slots = self._runner.slots

    def run(self, jobs: Iterable[Job]) -> Iterator[Outcome]:
        threads = torch.get_num_threads()
        outcomes = run_episodes(self._runner, jobs)
        try:
            while True:
                torch.set_num_threads(1)
                try:
                    outcome = next(outcomes, None)
                finally:
                    torch.set_num_threads(threads)
                if outcome is None:
                    return
                yield outcome
        finally:
            outcomes.close()

    def close(self) -> None:
        self._runner.close()

    def __enter__(self) -> SerialPool:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
