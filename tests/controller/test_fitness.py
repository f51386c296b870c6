from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pytest

from frmdn.controller.fitness import RealFitness, Trial
from frmdn.envs.vector import make_slots
from frmdn.envs.worlds.counting import counting_spec
from frmdn.rollouts.job import Job, Outcome
from frmdn.rollouts.run import Runner
from frmdn.rollouts.workers import SerialPool

LENGTH = 5


class ThetaPolicy:
    """Acts theta plus a trace of the seed, so that a return tells which candidate and which episode earned it."""

    def __init__(self, slots: int) -> None:
        self.vectors = np.zeros((slots, 2), np.float32)

    def start(self, slot: int, job: Job) -> None:
        assert job.theta is not None
        assert job.theta.dtype == np.float32
        self.vectors[slot] = job.theta[:2] + 0.001 * (job.seed % 7)

    def act(self, slots: np.ndarray, frames: np.ndarray) -> np.ndarray:
        return self.vectors[slots]


def make_pool(slots: int) -> SerialPool:
    return SerialPool(lambda: Runner(make_slots(counting_spec(LENGTH), slots), ThetaPolicy(slots)))


def expected(theta: np.ndarray, seeds: list[int]) -> np.ndarray:
    """Reward t of the spy is t + half the first number of the action."""
    first = theta[:, None, 0] + 0.001 * (np.array(seeds) % 7)
    return LENGTH * (LENGTH - 1) / 2 + LENGTH * 0.5 * first


@pytest.mark.parametrize("slots", [1, 4, 64])
def test_every_return_sits_at_its_candidate_and_seed(slots: int) -> None:
    theta = np.random.default_rng(0).uniform(-0.5, 0.5, (6, 3))
    seeds = [11, 12, 15]
    with make_pool(slots) as pool:
        returns = RealFitness(pool)(theta, seeds)
    np.testing.assert_allclose(returns.total, expected(theta, seeds), rtol=1e-5)
    assert (returns.steps == LENGTH).all()
    assert returns.total.shape == returns.steps.shape == (6, 3)


def test_several_trials_in_one_batch_equal_one_after_the_other() -> None:
    rng = np.random.default_rng(1)
    trials = [Trial(rng.uniform(-0.5, 0.5, (4, 3)), [1, 2]), Trial(rng.uniform(-0.5, 0.5, (1, 3)), [8, 9, 10])]
    with make_pool(3) as pool:
        fitness = RealFitness(pool)
        together = fitness.measure(trials)
        apart = [fitness(trial.theta, trial.seeds) for trial in trials]
    for a, b in zip(together, apart, strict=True):
        assert np.array_equal(a.total, b.total)
    assert together[1].total.shape == (1, 3)


class Recorder:
    """A pool that answers in any order, twice, or not at all."""

    workers, slots = 0, 1

    def __init__(self, drop: int = 0, repeat: bool = False) -> None:
        self.drop, self.repeat = drop, repeat
        self.jobs: list[Job] = []

    def run(self, jobs: Iterable[Job]) -> Iterator[Outcome]:
        self.jobs = list(jobs)
        kept = self.jobs[self.drop :]
        order = np.random.default_rng(0).permutation(len(kept))
        for job in [kept[i] for i in order] + (kept[:1] if self.repeat else []):
            yield Outcome(job.index, job.seed, job.candidate, 100.0 * job.candidate + job.seed, 1, True, False, False)

    def close(self) -> None: ...

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *error: object) -> None: ...


def test_the_order_of_finishing_does_not_matter() -> None:
    returns = RealFitness(Recorder())(np.zeros((3, 2)), [5, 6])
    assert returns.total.tolist() == [[5, 6], [105, 106], [205, 206]]


def test_jobs_are_numbered_through_and_all_candidates_meet_the_same_seeds() -> None:
    pool = Recorder()
    RealFitness(pool).measure([Trial(np.zeros((3, 2)), [5, 6]), Trial(np.ones((1, 2)), [9])])
    jobs = sorted(pool.jobs, key=lambda job: job.index)
    assert [job.index for job in jobs] == list(range(7))
    assert [(job.candidate, job.seed) for job in jobs] == [(0, 5), (0, 6), (1, 5), (1, 6), (2, 5), (2, 6), (3, 9)]
    assert pool.jobs[0].candidate == 3  # the validation starts first


@pytest.mark.parametrize("pool", [Recorder(drop=1), Recorder(repeat=True)])
def test_an_episode_that_is_missing_or_answered_twice_is_an_error_and_never_a_zero(pool: Recorder) -> None:
    with pytest.raises(AssertionError, match="answered"):
        RealFitness(pool)(np.zeros((3, 2)), [5, 6])


@pytest.mark.parametrize("trial", [Trial(np.zeros(3), [1]), Trial(np.zeros((0, 3)), [1]), Trial(np.zeros((2, 3)), [])])
def test_empty_trials_are_refused(trial: Trial) -> None:
    with pytest.raises(ValueError, match="a trial needs theta"):
        RealFitness(Recorder()).measure([trial])
