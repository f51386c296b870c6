"""Which jobs go to which worker, and again to another one when a worker is lost. Pure: no Ray, no clock, no process."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Hashable, Iterable, Mapping
from typing import Generic, TypeVar

from ..job import Job, Outcome

DEATHS = 3  # workers that a job may kill

Worker = TypeVar("Worker", bound=Hashable)


class Schedule(Generic[Worker]):
    """The jobs of one run: waiting, held by a worker, or answered.

    A lost worker's jobs go to the others, before all that wait. A worker holds several, and which of them killed it
    cannot be seen. So a job that was there at two deaths is played alone: if that worker dies too, the job did it.
    """

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._waiting = deque(jobs)
        self._suspects: deque[Job] = deque()
        self._held: dict[Worker, list[Job]] = {}
        self._alone: set[Worker] = set()  # those that play a suspect
        self._deaths: Counter[tuple[int, int, int]] = Counter()

    @property
    def over(self) -> bool:
        """Whether every job is answered."""
        return not (self._waiting or self._suspects or any(self._held.values()))

    def held(self, worker: Worker) -> list[Job]:
        """What a worker plays."""
        return list(self._held.get(worker, ()))

    def deal(self, idle: Mapping[Worker, int]) -> dict[Worker, list[Job]]:
        """The next jobs of workers that report or begin: at most `idle[worker]` for each, with what it still plays.

        They are dealt in turn, so that few jobs are spread over all workers.
        """
        dealt: dict[Worker, list[Job]] = {worker: [] for worker in idle}
        for worker in idle:
            if self._suspects and not self._held.get(worker):
                self._give(worker, self._suspects.popleft(), dealt)
                self._alone.add(worker)
        able = [worker for worker in idle if worker not in self._alone]
        while self._waiting:
            free = [worker for worker in able if len(self._held.get(worker, ())) < idle[worker]]
            if not free:
                break
            least = min(len(dealt[worker]) for worker in free)
            for worker in free:
                if self._waiting and len(dealt[worker]) == least:
                    self._give(worker, self._waiting.popleft(), dealt)
        return dealt

    def settle(self, worker: Worker, outcomes: Iterable[Outcome]) -> None:
        """Strike answered jobs off; compared by what identifies them, for they went through pickle."""
        held = self._held.get(worker, [])
        for done in outcomes:
            del held[[_key(job) for job in held].index(_key(done))]
        if not held:
            self._alone.discard(worker)

    def lose(self, worker: Worker, *, blame: bool = True) -> Job | None:
        """Take back what a lost worker played. Returns a job that has now killed DEATHS workers, if there is one.

        Without `blame` the jobs had no part in it, e.g. because the whole machine went away.
        """
        jobs = self._held.pop(worker, [])
        self._alone.discard(worker)
        for job in reversed(jobs):
            self._deaths[_key(job)] += blame
            (self._suspects if self._deaths[_key(job)] >= DEATHS - 1 else self._waiting).appendleft(job)
        return next((job for job in jobs if self._deaths[_key(job)] >= DEATHS), None)

    def _give(self, worker: Worker, job: Job, dealt: dict[Worker, list[Job]]) -> None:
        self._held.setdefault(worker, []).append(job)
        dealt[worker].append(job)


def _key(job: Job | Outcome) -> tuple[int, int, int]:
    return job.index, job.seed, job.candidate
