"""Service times and messages of the engine, measured: what the simulation counts with."""

from __future__ import annotations

import pickle
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from frmdn.agent.agent import Agent
from frmdn.envs import get_spec, make_slots
from frmdn.rollouts.job import Job
from frmdn.rollouts.policy import AgentPolicy
from frmdn.rollouts.run import Runner
from frmdn.rollouts.workers import RayPool
from frmdn.rollouts.workers.crew import BEAT
from frmdn.rollouts.workers.schedule import Schedule

from ..acting import fresh_agent
from .simulation import Costs, outcome

SLOTS = 8  # of a worker, as the presets have it
ROUNDS = 30
CALLS = 1000  # unanswered, while one look at all workers is timed


@dataclass(frozen=True)
class Traffic:
    """What one episode of a search costs in messages."""

    messages: float  # to the worker and back
    out: float  # bytes to the worker, pickled
    back: float  # bytes from it

    def to_json(self) -> dict[str, float]:
        return {"messages": round(self.messages, 2), "bytes out": round(self.out), "bytes back": round(self.back)}


def stepping() -> tuple[float, float, float]:
    """Seconds of a worker's processor for a step, for each episode in it, and for the start of an episode.

    The whole agent in CarRacing, as a search plays it; by the clock of the processor, for machines that others use too.
    """
    agent = fresh_agent(get_spec("CarRacing-v3"))
    runner = _runner(agent)
    few, many = 2, SLOTS
    started = _processor(lambda: runner.advance(_jobs(agent.controller.size, many), seconds=0.0))
    full = statistics.median(_processor(lambda: runner.advance(seconds=0.0)) for _ in range(ROUNDS))
    runner.clear()
    runner.advance(_jobs(agent.controller.size, few), seconds=0.0)
    thin = statistics.median(_processor(lambda: runner.advance(seconds=0.0)) for _ in range(ROUNDS))
    runner.close()
    row = max(0.0, (full - thin) / (many - few))
    return max(0.0, thin - few * row), row, max(0.0, started - full) / many


def round_trips(address: str | None) -> tuple[float, float, float, Traffic]:
    """Seconds of a trip, of the driver for a report, and of its look at one worker; and the traffic of episodes."""
    agent = fresh_agent(get_spec("CarRacing-v3"))
    with RayPool(partial(_runner, agent), 1, address) as pool:
        list(pool.run(replace(job, max_steps=20) for job in _jobs(agent.controller.size, 4 * SLOTS)))
        # Episodes of one length would end together, and be one report.
        uneven = [replace(job, max_steps=10 + job.index % 11) for job in _jobs(agent.controller.size, 8 * SLOTS)]
        traffic = _traffic(pool, uneven)
        (member,) = pool.crew.members
        ray = pool.crew.cluster.ray

        def empty() -> None:
            ray.get(member.actor.advance.remote(0, [], 0.0))

        trips = sorted(_wall(empty) for _ in range(10 * ROUNDS))
        report = statistics.median(_processor(empty) for _ in range(ROUNDS)) + _scheduling(agent.controller.size)
        member.actor.advance.remote(0, _jobs(agent.controller.size, 1), 3.0)
        waiting = [member.actor.advance.remote(0, [], 0.0) for _ in range(CALLS)]
        look = min(_processor(lambda: ray.wait(waiting, num_returns=CALLS, timeout=0)) for _ in range(ROUNDS)) / CALLS
        ray.get(waiting)
    return trips[len(trips) // 4], report, look, traffic  # a quarter: others use the machine


def costs(address: str | None = None) -> tuple[Costs, Traffic]:
    """All of them, on a cluster of one worker."""
    step, row, start = stepping()
    trip, report, look, traffic = round_trips(address)
    return Costs(step, row, start, trip, report, look), traffic


def _runner(agent: Agent) -> Runner:
    spec = get_spec("CarRacing-v3")
    return Runner(make_slots(spec, SLOTS), AgentPolicy(agent, SLOTS))


def _jobs(size: int, count: int) -> list[Job]:
    rng = np.random.default_rng(0)
    return [Job(i, i, i, rng.normal(0, 0.01, size).astype(np.float32)) for i in range(count)]


def _traffic(pool: RayPool, jobs: list[Job]) -> Traffic:
    """Count what the crew sends and what comes back, as Ray pickles it."""
    crew, play, poll = pool.crew, pool.crew.play, pool.crew.poll
    seen = {"messages": 0, "out": 0, "back": 0}

    def counted_play(member: Any, key: int, fresh: list[Job], held: list[Job]) -> None:
        seen["messages"] += 1
        seen["out"] += len(pickle.dumps((key, fresh, BEAT), 5))
        play(member, key, fresh, held)

    def counted_poll() -> list[Any]:
        reports = poll()
        seen["messages"] += len(reports)
        seen["back"] += sum(len(pickle.dumps(report.outcomes, 5)) for report in reports)
        return reports

    crew.play, crew.poll = counted_play, counted_poll  # type: ignore[method-assign]
    try:
        count = len(list(pool.run(jobs)))
    finally:
        crew.play, crew.poll = play, poll  # type: ignore[method-assign]
    return Traffic(*(seen[name] / count for name in ("messages", "out", "back")))


def _scheduling(size: int) -> float:
    """Seconds of the driver's own bookkeeping for one job."""
    jobs, workers = _jobs(size, 1024), range(64)

    def dealt() -> None:
        schedule: Schedule[int] = Schedule(jobs)
        while not schedule.over:
            schedule.deal(dict.fromkeys(workers, 1))
            for worker in workers:
                schedule.settle(worker, map(outcome, schedule.held(worker)))

    return _processor(dealt) / len(jobs)


def _processor(work: Callable[[], Any]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin


def _wall(work: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin
