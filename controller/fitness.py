"""What a candidate is worth: its returns in real episodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from frmdn.rollouts.job import Job
from frmdn.rollouts.workers import WorkerPool


class Returns(NamedTuple):
    """Row p, column s: candidate p in the episode of seed s."""

    total: np.ndarray  # f64[P,S], undiscounted return
    steps: np.ndarray  # i64[P,S], agent steps


class Trial(NamedTuple):
    """Candidates that all meet the same seeds."""

    theta: np.ndarray  # f[P,N]
    seeds: Sequence[int]  # S
    max_steps: int | None = None  # length of its episodes, where shorter than the pool's own


class Fitness(Protocol):
    """Measures several trials at once, so that a validation fills the slots that a population leaves idle."""

    def measure(self, trials: Sequence[Trial]) -> list[Returns]: ...


@dataclass(frozen=True)
class RealFitness:
    """Returns of whole episodes that the pool's workers play; its runners hold the agent, step limit and stall rule.

    The pool's world may be a dream: then these are the returns that the candidates dream of.
    """

    pool: WorkerPool

    def __call__(self, theta: np.ndarray, seeds: Sequence[int]) -> Returns:
        """Returns [P,S] of theta [P,N] on S seeds, the same for all candidates (common random numbers)."""
        return self.measure([Trial(theta, seeds)])[0]

    def measure(self, trials: Sequence[Trial]) -> list[Returns]:
        """One batch of jobs for all trials: job.index counts p * S + s through the trials, job.candidate the rows.

        The result does not depend on the order in which episodes finish. A failing worker raises out of the pool.
        """
        jobs = _jobs(trials)
        total = np.full(len(jobs), np.nan)
        steps = np.zeros(len(jobs), dtype=np.int64)
        # The last trial starts first: a validated mean outlives the candidates around it and would be the tail.
        for outcome in self.pool.run(reversed(jobs)):
            assert steps[outcome.index] == 0, f"job {outcome.index} was answered twice"
            assert outcome.steps > 0, f"job {outcome.index} was answered without a step"
            total[outcome.index], steps[outcome.index] = outcome.total, outcome.steps
        missing = np.flatnonzero(steps == 0)
        assert not len(missing), f"{len(missing)} of {len(jobs)} jobs were never answered, first {missing[:1]}"
        return _fold(trials, total, steps)


def _jobs(trials: Sequence[Trial]) -> list[Job]:
    jobs: list[Job] = []
    rows = 0
    for theta, seeds, limit in trials:
        if theta.ndim != 2 or not len(theta) or not len(seeds):
            raise ValueError(f"a trial needs theta [P,N] and seeds, not shape {theta.shape} and {len(seeds)} seeds")
        for p, row in enumerate(np.asarray(theta, dtype=np.float32)):
            jobs += [Job(len(jobs) + s, seed, rows + p, row, limit) for s, seed in enumerate(seeds)]
        rows += len(theta)
    return jobs


def _fold(trials: Sequence[Trial], total: np.ndarray, steps: np.ndarray) -> list[Returns]:
    shapes = [(len(trial.theta), len(trial.seeds)) for trial in trials]
    cuts = np.cumsum([p * s for p, s in shapes])[:-1]
    parts = zip(np.split(total, cuts), np.split(steps, cuts), shapes, strict=True)
    return [Returns(t.reshape(shape), n.reshape(shape)) for t, n, shape in parts]
