"""A generation on many workers, simulated: the scheduler is the real one, and time is counted instead of spent."""

from __future__ import annotations

import heapq
import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from frmdn.rollouts.job import Job, Outcome
from frmdn.rollouts.workers.crew import BEAT
from frmdn.rollouts.workers.schedule import Schedule


@dataclass(frozen=True)
class Costs:
    """Measured service times, all in seconds."""

    step: float  # of a worker, whatever the number of its episodes: the agent evaluates its whole batch
    row: float  # of each episode in a step more
    start: float  # of an episode, before its first step
    trip: float  # from a worker to the driver and back, when both are idle
    report: float  # of the driver, for each report that it takes and answers
    look: float  # of the driver, for each worker that it watches in one look


@dataclass(frozen=True)
class Timing:
    """What a generation took."""

    workers: int
    jobs: int
    seconds: float
    work: float  # seconds of all workers together in which episodes went on
    driver: float  # seconds in which the driver was busy
    messages: int  # reports and answers
    ideal: float  # seconds of the same jobs on as many workers, if all were full and equally busy to the end

    @property
    def efficiency(self) -> float:
        """1: every worker plays a full batch all the time."""
        return self.ideal / self.seconds


class _Worker:
    """Slots that step together until an episode ends or a beat is over."""

    def __init__(self, slots: int, costs: Costs) -> None:
        self.slots, self.costs = slots, costs
        self.left: dict[int, int] = {}  # steps to go, by job

    def advance(self, fresh: Sequence[tuple[int, int]]) -> tuple[float, list[int]]:
        """Seconds until it reports, and the jobs that have ended then."""
        self.left.update(fresh)
        pace = self.costs.step + self.costs.row * len(self.left)
        steps = min(min(self.left.values()), max(1, int(BEAT / pace)))
        self.left = {job: left - steps for job, left in self.left.items()}
        ended = [job for job, left in self.left.items() if left == 0]
        for job in ended:
            del self.left[job]
        return steps * pace + self.costs.start * len(fresh), ended


def generation(lengths: Sequence[int], workers: int, slots: int, costs: Costs) -> Timing:
    """Play episodes of `lengths` steps on `workers` of `slots` each.

    The driver is one process: it takes all reports that have come, answers them, and looks again. Workers are
    free of faults and equally fast.
    """
    jobs = [Job(index, index) for index in range(len(lengths))]
    schedule: Schedule[int] = Schedule(jobs)
    crew = [_Worker(slots, costs) for _ in range(workers)]
    coming: list[tuple[float, int, int, list[int]]] = []  # reports under way: when, a number, who, which jobs
    number = itertools.count()
    now = work = busy = 0.0
    messages = 0

    def answer(idle: Sequence[int]) -> None:
        nonlocal now, work, busy, messages
        dealt = schedule.deal(dict.fromkeys(idle, slots))
        for worker, fresh in dealt.items():
            spent = costs.report
            now, busy = now + spent, busy + spent
            if schedule.held(worker):
                seconds, ended = crew[worker].advance([(job.index, lengths[job.index]) for job in fresh])
                work, messages = work + seconds, messages + 2
                heapq.heappush(coming, (now + costs.trip + seconds, next(number), worker, ended))

    answer(range(workers))
    while coming:
        now = max(now, coming[0][0])
        spent = costs.look * len(coming)
        now, busy = now + spent, busy + spent
        idle = []
        while coming and coming[0][0] <= now:
            _, _, worker, ended = heapq.heappop(coming)
            schedule.settle(worker, [outcome(jobs[index]) for index in ended])
            idle.append(worker)
        answer(idle)
    assert schedule.over, "the simulated workers left jobs behind"
    full = costs.step + costs.row * slots  # of a step of a full batch
    ideal = (sum(lengths) * full / slots + costs.start * len(lengths)) / workers
    return Timing(workers, len(lengths), now, work, busy, messages, ideal)


def outcome(job: Job) -> Outcome:
    return Outcome(job.index, job.seed, job.candidate, 0.0, 1, True, False, False)


def lengths(count: int, seed: int = 0, low: int = 300, high: int = 1000) -> list[int]:
    """Steps of episodes: uniform from `low` to `high`, as candidates of one generation end early or late."""
    return np.random.default_rng(seed).integers(low, high + 1, count).tolist()


def sweep(counts: Sequence[int], jobs: int, slots: int, costs: Costs, repeats: int = 3) -> list[Timing]:
    """Generations of `jobs` episodes with each number of workers: of each the median over `repeats` draws."""
    found = []
    for workers in counts:
        runs = [generation(lengths(jobs, seed), workers, slots, costs) for seed in range(repeats)]
        middle = statistics.median(run.seconds for run in runs)
        found.append(min(runs, key=lambda run: abs(run.seconds - middle)))
    return found
