"""Who plays what: every job is answered once, whoever dies, and a job that kills is found."""

from __future__ import annotations

import random

import pytest

from frmdn.rollouts.job import Job, Outcome
from frmdn.rollouts.workers.schedule import DEATHS, Schedule


def jobs(n):
    return [Job(i, 100 + i, candidate=i % 2) for i in range(n)]


def done(job):
    return Outcome(job.index, job.seed, job.candidate, 1.0, 1, True, False, False)


@pytest.mark.parametrize(("n", "sizes"), [(0, [0, 0]), (1, [1, 0]), (2, [1, 1]), (5, [3, 2]), (40, [3, 3])])
def test_few_jobs_are_spread_over_the_workers(n, sizes):
    schedule = Schedule(jobs(n))
    shares = schedule.deal({"a": 3, "b": 3})
    assert [len(shares[worker]) for worker in "ab"] == sizes
    assert schedule.over is (n == 0)


def test_jobs_are_dealt_in_their_order_and_a_free_slot_gets_the_next():
    schedule = Schedule(jobs(7))
    shares = schedule.deal({"a": 2, "b": 2})
    assert [[job.index for job in share] for share in shares.values()] == [[0, 2], [1, 3]]
    schedule.settle("b", [done(shares["b"][1])])
    assert [job.index for job in schedule.deal({"b": 2})["b"]] == [4]
    assert [job.index for job in schedule.held("b")] == [1, 4]
    assert schedule.deal({"b": 2}) == {"b": []}  # it has all that it can play


def test_a_worker_of_more_slots_gets_more_jobs():
    shares = Schedule(jobs(9)).deal({"a": 1, "b": 4})
    assert [len(share) for share in shares.values()] == [1, 4]


def test_the_jobs_of_a_lost_worker_come_before_those_that_wait():
    schedule = Schedule(jobs(6))
    schedule.deal({"a": 2, "b": 2})  # a: 0 2, b: 1 3
    assert schedule.lose("a") is None and schedule.held("a") == []
    assert [job.index for job in schedule.deal({"c": 4})["c"]] == [0, 2, 4, 5]
    assert not schedule.over


def test_a_worker_that_held_nothing_may_be_lost():
    schedule = Schedule(jobs(1))
    assert schedule.lose("stranger") is None and not schedule.over


def test_a_job_that_was_at_two_deaths_is_played_alone_and_named_at_the_third():
    schedule = Schedule(jobs(4))
    schedule.deal({"a": 2})
    assert schedule.lose("a") is None
    schedule.deal({"b": 2})
    assert schedule.lose("b") is None
    assert [job.index for job in schedule.deal({"c": 2})["c"]] == [0]
    assert schedule.deal({"c": 2}) == {"c": []}  # nothing beside it
    schedule.settle("c", [done(jobs(1)[0])])
    assert [job.index for job in schedule.deal({"c": 2})["c"]] == [1]
    killer = schedule.lose("c")
    assert killer is not None and killer.index == 1


def test_whoever_dies_for_another_reason_leaves_no_blame():
    schedule = Schedule(jobs(1))
    for worker in range(2 * DEATHS):
        schedule.deal({worker: 1})
        assert schedule.lose(worker, blame=False) is None
    assert schedule.deal({"last": 1})["last"][0].index == 0


@pytest.mark.parametrize("seed", range(30))
def test_every_job_is_answered_once_whoever_comes_and_goes(seed):
    """Workers that join, die and play in any order; no job is lost, none is answered twice."""
    rng = random.Random(seed)
    schedule, present, answered, born = Schedule(jobs(rng.randrange(1, 60))), [], [], 0
    wanted = len(schedule._waiting)
    for _ in range(5000):
        if not present or rng.random() < 0.1:
            born += 1
            present.append(born)
        chosen = rng.sample(present, rng.randint(1, len(present)))
        schedule.deal({worker: 1 + worker % 3 for worker in chosen})
        worker = rng.choice(present)
        assert len(schedule.held(worker)) <= 1 + worker % 3
        if rng.random() < 0.2:
            present.remove(worker)
            assert schedule.lose(worker, blame=False) is None
        else:
            played = [job for job in schedule.held(worker) if rng.random() < 0.5]
            schedule.settle(worker, map(done, played))
            answered += [job.index for job in played]
        if schedule.over:
            break
    assert sorted(answered) == list(range(wanted))


@pytest.mark.parametrize("seed", range(10))
def test_the_job_that_kills_is_found_and_no_other_is_accused(seed):
    rng = random.Random(seed)
    schedule, bad = Schedule(jobs(20)), rng.randrange(20)
    for _ in range(1000):
        schedule.deal(dict.fromkeys(rng.sample("abc", rng.randint(1, 3)), 4))
        worker = rng.choice("abc")
        held = schedule.held(worker)
        if any(job.index == bad for job in held):
            killer = schedule.lose(worker)
            if killer is not None:
                assert killer.index == bad and len(held) == 1
                return
        else:
            schedule.settle(worker, [done(job) for job in held[:2]])
    pytest.fail(f"job {bad} was not found")
