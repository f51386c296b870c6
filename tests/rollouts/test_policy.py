"""Policies: inside the action space, seeded by the job alone, and one fixed batch for the agent."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from frmdn.agent.agent import Agent, AgentConfig
from frmdn.agent.memory import Memory, MemoryConfig
from frmdn.agent.vision import ConvVAE, VisionConfig
from frmdn.controller.linear import LinearController
from frmdn.envs.catalogue import get_spec
from frmdn.envs.spec import ActionCodec
from frmdn.rollouts.job import Job
from frmdn.rollouts.policy import (
    CHUNK,
    REACH,
    AgentPolicy,
    BrownianPolicy,
    HeldPolicy,
    OrnsteinUhlenbeckPolicy,
    RandomLinearPolicy,
    RandomPolicy,
    grey_cells,
)

BOX = ActionCodec("box", (-1.0, 0.0, 0.0), (1.0, 1.0, 1.0), (0.0, 0.5, 0.0))
DISCRETE = ActionCodec("discrete", n=5)
POLICIES = [RandomPolicy, BrownianPolicy, RandomLinearPolicy]


def frames(n, seed=0, size=64):
    return np.random.default_rng(seed).integers(0, 256, (n, size, size, 3), np.uint8)


def path(policy, seed, steps=600, slot=0, seen=0):
    """Actions [steps,A] of one episode."""
    policy.start(slot, Job(0, seed))
    view = frames(1, seen)
    return np.concatenate([policy.act(np.array([slot]), view) for _ in range(steps)])


@pytest.mark.parametrize("kind", POLICIES)
@pytest.mark.parametrize("codec", [BOX, DISCRETE])
def test_actions_are_legal_vectors(kind, codec):
    actions = path(kind(codec), seed=3)
    assert actions.dtype == np.float32 and actions.shape == (600, codec.size)
    if codec.kind == "box":
        assert (actions >= np.float32(codec.low)).all() and (actions <= np.float32(codec.high)).all()
    else:
        assert np.isin(actions, (0, 1)).all() and (actions.sum(1) == 1).all()


@pytest.mark.parametrize("kind", POLICIES)
@pytest.mark.parametrize("codec", [BOX, DISCRETE])
def test_an_episode_depends_on_its_seed_alone(kind, codec):
    policy, view = kind(codec), frames(1)
    alone = path(policy, seed=3, steps=300)
    policy = kind(codec)
    for slot, seed in ((2, 9), (0, 7)):  # other slots, and an earlier episode in the same slot
        policy.start(slot, Job(slot, seed))
        policy.act(np.array([slot]), view)
    policy.start(0, Job(5, 3))
    together = [policy.act(np.array([0, 2]), np.concatenate([view, view]))[0] for _ in range(300)]
    np.testing.assert_array_equal(np.stack(together), alone)
    assert any((path(kind(codec), seed=seed, steps=300) != alone).any() for seed in (4, 5, 6))


def test_random_is_uniform_and_independent():
    actions = path(RandomPolicy(BOX), seed=0, steps=4000)
    np.testing.assert_allclose(actions.mean(0), (0, 0.5, 0.5), atol=0.05)
    assert abs(np.corrcoef(actions[1:, 0], actions[:-1, 0])[0, 1]) < 0.05


@pytest.mark.parametrize("step", [0.05, 0.2])
def test_brownian_is_a_reflected_walk(step):
    codec = ActionCodec("box", low=(-1.0, -1.0), high=(1.0, 1.0), rest=(0.0, 0.0))  # squash is tanh
    raw = np.arctanh(path(BrownianPolicy(codec, step), seed=1, steps=5000))
    assert np.abs(raw).max() <= REACH + 1e-5
    unit = (raw / REACH + 1) / 2
    inside = (unit[:-1] > 5 * step) & (unit[:-1] < 1 - 5 * step)  # where no step reaches a border
    if step == 0.05:
        np.testing.assert_allclose(np.diff(unit, axis=0)[inside].std(), step, rtol=0.05)
    assert np.abs(np.diff(unit, axis=0)).max() < 5.5 * step  # also from one drawn piece to the next
    np.testing.assert_allclose(np.histogram(unit, 4, (0, 1))[0] / unit.size, 0.25, atol=0.08)  # all over the box
    assert ((unit == 0) | (unit == 1)).mean() < 0.01  # reflected, not stuck to the border


def test_brownian_lets_the_brake_go():
    brake = path(BrownianPolicy(get_spec("CarRacing-v3").action), seed=1, steps=5000)[:, 2]
    assert 0.35 < (brake == 0).mean() < 0.65  # a walk inside the box would brake all the time, and the car never move


def test_brownian_sticks_to_a_discrete_action():
    actions = path(BrownianPolicy(DISCRETE, 0.1), seed=2, steps=5000).argmax(1)
    changes = (np.diff(actions) != 0).mean()
    assert changes == pytest.approx(0.1 * 4 / 5, rel=0.2)  # a redraw picks the same action once in five
    assert np.bincount(actions, minlength=5).min() > 500


def test_brownian_sticks_from_one_drawn_piece_to_the_next():
    borders = [path(BrownianPolicy(DISCRETE, 0.01), seed, steps=257)[-2:].argmax(1) for seed in range(40)]
    assert sum(before != after for before, after in borders) <= 4


def test_linear_acts_on_what_it_sees_and_is_redrawn():
    policy = RandomLinearPolicy(BOX)
    seen = path(policy, seed=5, steps=2, seen=0)
    np.testing.assert_array_equal(seen[0], seen[1])
    assert (path(policy, seed=5, steps=1, seen=1) != seen[0]).any()
    assert (path(policy, seed=6, steps=1, seen=0) != seen[0]).any()
    spread = [np.abs(path(policy, seed=s, steps=1)[0, 0]) for s in range(200)]
    assert min(spread) < 0.05 and max(spread) > 0.9  # timid ones and wild ones


def test_grey_cells_see_place_and_contrast_not_brightness():
    dark = np.full((1, 64, 64, 3), 10, np.uint8)
    np.testing.assert_array_equal(grey_cells(dark), 0)
    spot = dark.copy()
    spot[0, 8:16, 24:32] = 60
    cells = grey_cells(spot)[0]
    assert cells.argmax() == 1 * 8 + 3 and np.isclose(np.linalg.norm(cells), 1) and np.isclose(cells.mean(), 0)
    np.testing.assert_allclose(grey_cells(spot + 100)[0], cells, atol=1e-6)
    assert grey_cells(frames(2, size=70)).shape == (2, 64)
    np.testing.assert_array_equal(grey_cells(frames(3))[1:2], grey_cells(frames(3)[1:2]))  # row i ignores row j


@pytest.mark.parametrize("step", [0.0, 1.5])
def test_brownian_refuses_a_step_outside_its_range(step):
    with pytest.raises(ValueError, match="step"):
        BrownianPolicy(BOX, step)


def test_linear_refuses_scales_upside_down():
    with pytest.raises(ValueError, match="scales"):
        RandomLinearPolicy(BOX, (2.0, 1.0))


class Count(NamedTuple):
    n: Tensor


class State(NamedTuple):
    z: Tensor
    memory: Count


class Counter:
    """An agent whose state counts its acts; the action tells theta, count and first pixel."""

    class controller:
        size = 2

    def __init__(self):
        self.batches = []

    def initial(self, rows):
        return State(torch.zeros(1).expand(rows), Count(torch.full((rows, 1), 10.0)))

    def act(self, seen, state, theta):
        self.batches.append((len(seen), len(state.z), len(theta)))
        after = State(state.z + 1, Count(state.memory.n + 1))
        return torch.stack([theta.sum(1), after.z, after.memory.n[:, 0], seen[:, 0, 0, 0].float()], 1), after


def test_agent_policy_keeps_a_fixed_batch_and_a_state_per_slot():
    agent = Counter()
    policy = AgentPolicy(agent, 3, theta=[1.0, 1.0])
    view = np.zeros((3, 4, 4, 3), np.uint8) + np.arange(1, 4, dtype=np.uint8)[:, None, None, None]
    policy.start(0, Job(0, 0))
    policy.start(2, Job(1, 0, theta=np.array([3.0, 4.0])))
    for turn in (1, 2):
        actions = policy.act(np.array([0, 2]), view[[0, 2]])
        assert actions.tolist() == [[2, turn, 10 + turn, 1], [7, turn, 10 + turn, 3]]
    policy.start(1, Job(2, 0, theta=np.float32([5, 0])))  # a late starter; slot 0 rests in this turn
    assert policy.act(np.array([1, 2]), view[[1, 2]]).tolist() == [[5, 1, 11, 2], [7, 3, 13, 3]]
    policy.start(2, Job(3, 0))  # the slot's next episode: fresh state, default theta
    assert policy.act(np.arange(3), view).tolist() == [[2, 3, 13, 1], [5, 2, 12, 2], [2, 1, 11, 3]]
    assert set(agent.batches) == {(3, 3, 3)}


def test_agent_policy_names_what_is_wrong():
    with pytest.raises(ValueError, match="theta has shape"):
        AgentPolicy(Counter(), 2, theta=np.zeros(3))
    policy = AgentPolicy(Counter(), 2)
    with pytest.raises(ValueError, match="job 4 has no theta"):
        policy.start(0, Job(4, 0))
    with pytest.raises(ValueError, match="theta of job 4 has shape"):
        policy.start(0, Job(4, 0, theta=np.zeros((2, 1))))
    with pytest.raises(ValueError, match="slot 2"):
        policy.start(2, Job(4, 0, theta=np.zeros(2)))


def test_agent_policy_reads_arrays_that_are_read_only():
    theta = np.ones(2, np.float32)
    theta.flags.writeable = False  # as they come out of Ray's object store
    policy = AgentPolicy(Counter(), 1)
    policy.start(0, Job(0, 0, theta=theta))
    assert policy.act(np.array([0]), np.zeros((1, 4, 4, 3), np.uint8))[0, 0] == 2


def real_agent():
    torch.manual_seed(0)
    vision = ConvVAE(VisionConfig(latent=8))
    memory = Memory(MemoryConfig(latent=8, action=3, hidden=16))
    return Agent(vision, memory, LinearController(24, 3), BOX.squash, AgentConfig("zh"))


def test_an_agents_episode_ignores_its_slot_and_its_neighbours():
    agent, rng = real_agent(), np.random.default_rng(0)
    theta, film = rng.standard_normal(agent.controller.size).astype(np.float32), frames(6)

    def play(slot, others):
        policy = AgentPolicy(agent, 4)
        policy.start(slot, Job(0, 0, theta=theta))
        rows = np.array(sorted([slot, *others]))
        for other in others:
            policy.start(other, Job(1, 1, theta=rng.standard_normal(len(theta))))
        actions = []
        for frame in film:
            view = rng.integers(0, 256, (len(rows), 64, 64, 3), np.uint8)
            view[rows == slot] = frame
            actions.append(policy.act(rows, view)[rows == slot][0])
        return np.stack(actions)

    alone = play(0, [])
    assert np.abs(np.diff(alone, axis=0)).max() > 0.01
    for slot, others in ((1, []), (3, [0, 1, 2]), (2, [1])):
        np.testing.assert_array_equal(play(slot, others), alone)


def test_a_held_action_is_held_and_only_a_discrete_one_can_be() -> None:
    codec = ActionCodec("discrete", n=4)
    policy = HeldPolicy(codec, 2)
    policy.start(0, Job(0, 5))
    assert policy.act(np.array([0]), np.zeros((1, 8, 8, 3), np.uint8)).tolist() == [[0, 0, 1, 0]]
    for wrong in (lambda: HeldPolicy(codec, 4), lambda: HeldPolicy(ActionCodec("box", (-1.0,), (1.0,), (0.0,)), 0)):
        with pytest.raises(ValueError, match="cannot be held"):
            wrong()


@pytest.mark.parametrize("kind", [RandomPolicy, BrownianPolicy, OrnsteinUhlenbeckPolicy])
def test_a_path_does_not_repeat_itself_after_a_drawn_piece(kind) -> None:
    actions = path(kind(BOX), seed=3, steps=3 * CHUNK)
    pieces = actions.reshape(3, CHUNK, 3)
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert not np.array_equal(pieces[first], pieces[second])
        assert abs(np.corrcoef(pieces[first, :, 0], pieces[second, :, 0])[0, 1]) < 0.9


@pytest.mark.parametrize("kind", [*POLICIES, OrnsteinUhlenbeckPolicy])
def test_the_luck_of_a_job_decides_what_noise_does_and_its_seed_does_not(kind) -> None:
    def begun(job: Job) -> np.ndarray:
        policy = kind(BOX)
        policy.start(0, job)
        return policy.act(np.array([0]), frames(1))

    assert np.array_equal(begun(Job(0, 5, luck=9)), begun(Job(0, 6, luck=9)))
    assert np.array_equal(begun(Job(0, 5, luck=9)), begun(Job(0, 9)))
    assert not np.array_equal(begun(Job(0, 5, luck=9)), begun(Job(0, 5, luck=8)))
