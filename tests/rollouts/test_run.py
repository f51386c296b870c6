"""The environment loop: no slot idles, no outcome depends on its neighbours, returns and ends are exact."""

from __future__ import annotations

import heapq
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest

import frmdn.rollouts.run
from frmdn.envs.spec import ActionCodec
from frmdn.envs.vector import make_slots
from frmdn.envs.worlds.counting import Failure, counting_spec, read_frame
from frmdn.rollouts.job import Job, StallRule
from frmdn.rollouts.policy import BrownianPolicy, RandomLinearPolicy
from frmdn.rollouts.run import Runner, run_episodes

CODEC = ActionCodec("box", (-1.0, 0.0), (1.0, 2.0), (0.0, 1.0))


class Spy:
    """A world whose episode is told by functions of the seed: its length and its rewards."""

    painter = "spy"

    def __init__(self, slots, length=lambda seed: 5, reward=lambda seed, t: 1.0, terminates=True, limit=1000):
        self.spec = SimpleNamespace(
            frame_shape=(16, 16, 3), frame_type=np.uint8, max_steps=limit, action=CODEC, measures=()
        )
        self.slots, self.length, self.reward, self.terminates = slots, length, reward, terminates
        self.seeds, self.t = np.zeros(slots, np.int64), np.zeros(slots, np.int64)
        self.starts, self.calls = [], 0

    def start(self, slot, seed):
        self.starts.append((self.calls, slot, seed))
        self.seeds[slot], self.t[slot] = seed, 0
        return self.frame(slot)

    def frame(self, slot):
        return np.random.default_rng([self.seeds[slot], self.t[slot]]).integers(0, 256, (16, 16, 3), np.uint8)

    def step(self, slots, actions):
        self.calls += 1
        self.t[slots] += 1
        frames = np.stack([self.frame(slot) for slot in slots])
        rewards = np.array([self.reward(self.seeds[s], self.t[s]) for s in slots], np.float32) + actions.sum(1) * 0
        over = np.array([self.t[s] >= self.length(self.seeds[s]) for s in slots])
        return SimpleNamespace(
            frames=frames, rewards=rewards, terminated=over & self.terminates, truncated=over & (not self.terminates)
        )

    def close(self):
        pass


class Still:
    """A policy that always returns `action`."""

    def __init__(self, action=(0.0, 1.0)):
        self.action = action

    def start(self, slot, job):
        pass

    def act(self, slots, frames):
        return np.tile(np.float32(self.action), (len(slots), 1))


def jobs(n, first=0):
    return [Job(i, first + i) for i in range(n)]


def uneven(seed):
    return 2 + seed * 7 % 11


def list_schedule(lengths, slots):
    """Steps until all jobs are done if each goes to the first slot that is free."""
    free = [0] * slots
    for length in lengths:
        heapq.heappush(free, heapq.heappop(free) + length)
    return max(free)


@pytest.mark.parametrize("slots", [1, 3, 8])
@pytest.mark.parametrize("backlog", [False, True])
def test_a_free_slot_is_refilled_at_once(slots, backlog):
    world = Spy(slots, uneven)
    runner = Runner(world, Still())
    todo = jobs(29)
    if backlog:  # all jobs at once: advance refills from its own queue
        outcomes = runner.advance(todo)
        while runner.pending:
            outcomes += runner.advance()
    else:
        outcomes = list(run_episodes(runner, todo))
    assert sorted(o.index for o in outcomes) == list(range(29))
    assert all(o.steps == uneven(o.seed) for o in outcomes)
    assert world.calls == list_schedule([uneven(job.seed) for job in todo], slots)
    assert runner.alive_steps == sum(uneven(job.seed) for job in todo)
    assert [seed for _, _, seed in world.starts] == list(range(29))  # first come, first served


def test_slots_start_in_order_and_restart_where_an_episode_ended():
    world = Spy(2, lambda seed: {0: 3, 1: 1, 2: 1, 3: 5}[seed])
    list(run_episodes(Runner(world, Still()), jobs(4)))
    assert world.starts == [(0, 0, 0), (0, 1, 1), (1, 1, 2), (2, 1, 3)]


def test_advance_returns_what_ended_in_one_step_and_counts_what_is_pending():
    runner = Runner(Spy(2, lambda seed: 4), Still())
    first = runner.advance(jobs(5))
    assert [o.index for o in first] == [0, 1]
    assert runner.pending == 3
    assert [o.index for o in runner.advance()] == [2, 3]
    assert [o.index for o in runner.advance()] == [4]
    assert runner.pending == 0 and runner.advance() == []


@pytest.mark.parametrize("policy", [BrownianPolicy, RandomLinearPolicy])
def test_an_outcome_depends_on_the_job_alone(policy):
    def play(slots, order):
        world = Spy(slots, uneven, lambda seed, t: np.sin(seed + t))
        runner = Runner(world, policy(CODEC), record=lambda episode: episode.actions.tobytes())
        return {o.index: o for o in run_episodes(runner, [jobs(13)[i] for i in order])}

    alone = play(1, range(13))
    shuffled = np.random.default_rng(0).permutation(13).tolist()
    for slots, order in ((2, range(13)), (5, shuffled), (13, shuffled)):
        assert play(slots, order) == alone
    assert len({o.payload for o in alone.values()}) == 13


def test_the_return_is_the_exact_sum():
    (outcome,) = run_episodes(Runner(Spy(1, lambda seed: 999, lambda seed, t: 0.1), Still()), jobs(1))
    expected = 0.0
    for _ in range(999):
        expected += float(np.float32(0.1))
    assert outcome.total == expected
    assert outcome.terminated and not outcome.truncated and not outcome.stalled


def test_truncation_by_the_world_is_not_termination():
    (outcome,) = run_episodes(Runner(Spy(1, terminates=False), Still()), jobs(1))
    assert (outcome.steps, outcome.terminated, outcome.truncated, outcome.stalled) == (5, False, True, False)


@pytest.mark.parametrize(("limit", "steps", "terminated"), [(4, 4, False), (5, 5, True), (6, 5, True)])
def test_max_steps_truncates(limit, steps, terminated):
    (outcome,) = run_episodes(Runner(Spy(1), Still(), max_steps=limit), jobs(1))
    assert (outcome.steps, outcome.terminated, outcome.truncated) == (steps, terminated, not terminated)
    assert outcome.total == steps


@pytest.mark.parametrize(
    ("gains", "idle", "steps", "total"),
    [
        ((), -0.5, 5, -0.5 * 20),  # 5 steps of -0.5, and 15 more that idling would have cost
        ((), None, 5, -2.5),
        ((3,), -0.5, 8, 1.0 - 0.5 * 7 - 0.5 * 12),  # the gain at step 3 starts the count again
        ((3, 8), -0.5, 13, 2.0 - 0.5 * 11 - 0.5 * 7),
        ((3, 7, 11, 15), -0.5, 20, 4.0 - 0.5 * 16),  # the limit comes as the rule does: nothing is left to add
    ],
)
def test_stall_rule(gains, idle, steps, total):
    world = Spy(2, lambda seed: 999, lambda seed, t: 1.0 if t in gains else -0.5, limit=20)
    (outcome,) = run_episodes(Runner(world, Still(), stall=StallRule(5, idle)), jobs(1))
    assert outcome.steps == steps and outcome.total == total
    assert outcome.truncated and not outcome.terminated and outcome.stalled == (steps < 20)


def test_stall_limit_is_max_steps_and_termination_beats_it():
    world = Spy(1, lambda seed: 5, lambda seed, t: 0.0)
    (outcome,) = run_episodes(Runner(world, Still(), stall=StallRule(5, -1.0)), jobs(1))
    assert outcome.terminated and not outcome.stalled and outcome.total == 0
    (outcome,) = run_episodes(Runner(world, Still(), stall=StallRule(3, -1.0), max_steps=10), jobs(1))
    assert outcome.stalled and outcome.total == -7


def test_the_stall_count_starts_anew_with_each_episode():
    gains = {0: (), 1: (1, 2), 2: ()}
    world = Spy(1, lambda seed: 4, lambda seed, t: float(t in gains[seed]))
    outcomes = run_episodes(Runner(world, Still(), stall=StallRule(3)), jobs(3))
    assert [o.steps for o in outcomes] == [3, 4, 3]


@pytest.mark.parametrize("capacity", [4, 1024])
def test_recording_keeps_every_frame_action_and_reward(monkeypatch, capacity):
    monkeypatch.setattr(frmdn.rollouts.run, "FIRST_CAPACITY", capacity)  # 4: the tape must grow, and keep what it has
    spec = counting_spec(11)
    runner = Runner(make_slots(spec, 3), BrownianPolicy(spec.action), record=lambda episode: episode)
    outcomes = list(run_episodes(runner, jobs(7, first=500)))
    for outcome in outcomes:
        episode = outcome.payload
        assert [read_frame(frame) for frame in episode.frames] == [(outcome.seed, t) for t in range(12)]
        np.testing.assert_allclose(episode.rewards, np.arange(11) + 0.5 * episode.actions[:, 0], rtol=1e-6)
        assert episode.total == outcome.total and episode.steps == outcome.steps == 11
        assert (episode.terminated, episode.truncated, episode.seed) == (True, False, outcome.seed)
    assert len({o.payload.actions.tobytes() for o in outcomes}) == 7


def test_recording_stops_at_max_steps():
    spec = counting_spec(50)
    runner = Runner(make_slots(spec, 2), BrownianPolicy(spec.action), max_steps=7, record=lambda episode: episode)
    for outcome in run_episodes(runner, jobs(3)):
        assert len(outcome.payload.frames) == 8 and outcome.payload.truncated and not outcome.payload.terminated


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_policy_that_returns_no_number_is_named(value):
    class Late(Still):
        def act(self, slots, frames):
            actions = super().act(slots, frames)
            actions[slots == 1] = value
            return actions

    with pytest.raises(ValueError, match=r"step 0 of slot 1 \(job 1, seed 41\)"):
        list(run_episodes(Runner(Spy(3), Late()), jobs(3, first=40)))


@pytest.mark.parametrize("action", [(0.0,), (0.0, 1.0, 0.0)])
def test_a_policy_of_the_wrong_shape_is_named(action):
    with pytest.raises(ValueError, match=r"shape \(2, \d\) instead of \(2, 2\) for slot 0 \(job 0, seed 40\)"):
        list(run_episodes(Runner(Spy(2), Still(action)), jobs(3, first=40)))


def test_a_reward_that_is_no_number_never_becomes_a_return():
    world = Spy(1, reward=lambda seed, t: np.nan if t == 2 else 1.0)
    with pytest.raises(ValueError, match=r"rewards sum to nan .* slot 0 \(job 0, seed 3\)"):
        list(run_episodes(Runner(world, Still()), jobs(1, first=3)))


def test_an_error_of_the_world_says_where():
    spec = counting_spec(5, failure=Failure("raise", step=2, seed=7))
    runner = Runner(make_slots(spec, 2), BrownianPolicy(spec.action))
    with pytest.raises(RuntimeError) as caught:
        list(run_episodes(runner, jobs(2, first=6)))
    assert "job 1, seed 7" in caught.value.__notes__[0]


def test_an_error_at_the_start_says_where():
    spec = counting_spec(5)
    with pytest.raises(ValueError, match="seed") as caught:
        list(run_episodes(Runner(make_slots(spec, 1), BrownianPolicy(spec.action)), [Job(4, -1)]))
    assert "slot 0 (job 4, seed -1)" in caught.value.__notes__[0]


def test_a_time_limit_gives_control_back_and_loses_nothing():
    world = Spy(2, lambda seed: 3)
    runner = Runner(world, Still())
    assert runner.advance(jobs(2), seconds=0.0) == [] and world.calls == 1
    assert [o.steps for o in runner.advance()] == [3, 3] and world.calls == 3


def test_jobs_are_drawn_lazily_and_leaving_early_leaves_the_runner_clean():
    drawn = []
    endless = (drawn.append(i) or Job(i, i) for i in count())
    runner = Runner(Spy(3, uneven), Still())
    for _, _ in zip(range(4), episodes := run_episodes(runner, endless), strict=False):
        assert len(drawn) <= 4 + 3
    episodes.close()
    assert runner.pending == 0
    assert [o.index for o in run_episodes(runner, [Job(99, 0)])] == [99]


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="max_steps"):
        Runner(Spy(1), Still(), max_steps=0)
    with pytest.raises(ValueError, match="stall"):
        StallRule(0)
    with pytest.raises(ValueError, match="idle_reward"):
        StallRule(1, float("nan"))


def test_a_job_may_be_shorter_than_its_runner_and_is_charged_to_its_own_end_alone():
    """Idle rewards run to the job's limit: a dream of 12 steps that stalls after 5 owes 7, not the runner's 95."""
    world = Spy(3, lambda seed: 999, lambda seed, t: -0.5, limit=100)
    limits = [12, None, 40, 3, 200]
    todo = [Job(i, i, max_steps=limit) for i, limit in enumerate(limits)]
    outcomes = {o.index: o for o in run_episodes(Runner(world, Still(), stall=StallRule(5, -0.25)), todo)}
    for i, limit in enumerate(min(limit or 100, 100) for limit in limits):
        steps = min(5, limit)
        assert (outcomes[i].steps, outcomes[i].stalled) == (steps, limit > 5)
        assert outcomes[i].total == -0.5 * steps - 0.25 * (limit - steps)
        assert outcomes[i].truncated and not outcomes[i].terminated


def test_the_limit_of_a_job_ends_with_it():
    """The next episode in the slot has its runner's limit again, and no job outlives its runner."""
    world = Spy(1, lambda seed: 999, limit=9)
    todo = [Job(0, 0, max_steps=2), Job(1, 1), Job(2, 2, max_steps=50)]
    assert [o.steps for o in run_episodes(Runner(world, Still()), todo)] == [2, 9, 9]
    assert [o.steps for o in run_episodes(Runner(world, Still(), max_steps=4), todo)] == [2, 4, 4]
