"""A pool of Ray workers: the schedule says who plays what, and the crew who there is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from ..job import Job, Outcome
from ..run import Runner
from .connection import connect
from .crew import Crew
from .errors import REMEDY, WorkerError
from .member import Member, Report
from .schedule import DEATHS, Schedule

SILENCE = 300.0  # seconds


class RayPool:
    """`workers` Ray actors, one thread and one runner each; a worker gets a job as soon as a slot of it is free.

    A worker that dies, is stopped or cut off, or says nothing for `silence` seconds is lost: its jobs are played by the
    others, and a new one takes its place where there is room. Nodes may join and leave a cluster meanwhile. A worker
    that raises ends the run with WorkerError and closes the pool, as do a job that three workers died of, and the loss
    of all workers. Where `make` itself raises a mistake of the user's, it is raised here as it is.
    Ray is started if none runs in this process, and left running until the process ends, for the next pool; `close`
    stops this pool's actors only. On a cluster (`address`, or Ray started by the caller) each worker reserves one CPU,
    and a pool that finds fewer begins with as many workers as there are.
    """

    def __init__(
        self,
        make: Callable[[], Runner],
        workers: int,
        address: str | None = None,
        *,
        silence: float = SILENCE,
        crew: Crew | None = None,
    ) -> None:
        if workers < 1:
            raise ValueError(f"workers must be 1 or more, not {workers}")
        self.workers, self._owner, self._closed = workers, crew is None, False
        self.crew = crew or Crew(connect(address), workers, silence)
        try:
            self._key = self.crew.hire(make)
        except BaseException:
            self.close()
            raise

    @property
    def slots(self) -> int:
        return sum(member.slots[self._key] for member in self.crew.members if self._key in member.slots)

    def beside(self, make: Callable[[], Runner]) -> RayPool:
        """A pool of the same workers, for other jobs; only one of the two may play at a time. Close it before this."""
        return RayPool(make, self.workers, crew=self.crew)

    def run(self, jobs: Iterable[Job]) -> Iterator[Outcome]:
        if self._closed:
            raise ValueError("this pool is closed; open another one")
        self.crew.begin()
        schedule: Schedule[Member] = Schedule(jobs)
        try:
            self._deal(schedule)
            while not schedule.over:
                found = [outcome for report in self.crew.poll() for outcome in self._take(schedule, report)]
                self._deal(schedule)  # before the caller looks at what was found, which may take its time
                yield from found
        except WorkerError:
            self.close()
            raise
        finally:
            self.crew.drop()

    def close(self) -> None:
        if self._owner and not self._closed:
            self.crew.close()
        self._closed = True

    def __enter__(self) -> RayPool:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _deal(self, schedule: Schedule[Member]) -> None:
        idle = {member: member.slots[self._key] for member in self.crew.ready(self._key)}
        for member, fresh in schedule.deal(idle).items():
            if held := schedule.held(member):
                self.crew.play(member, self._key, fresh, held)

    def _take(self, schedule: Schedule[Member], report: Report) -> list[Outcome]:
        if report.lost is None:
            schedule.settle(report.member, report.outcomes)
            return report.outcomes
        killer = schedule.lose(report.member, blame=report.blame)
        if killer is not None:
            raise WorkerError(
                f"job {killer.index} (seed {killer.seed}) has killed {DEATHS} workers. "
                f"The last: {report.lost}; {REMEDY}"
            )
        return []
