"""An exploring agent: noise that its seed names, and a memory that sees what was really played."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from frmdn.agent.agent import Agent
from frmdn.agent.memory import Memory, MemoryConfig
from frmdn.agent.vision import ConvVAE, VisionConfig
from frmdn.controller.linear import LinearController
from frmdn.envs import ActionCodec, get_spec
from frmdn.rollouts.exploring import ExploringPolicy
from frmdn.rollouts.job import Job
from frmdn.rollouts.policy import AgentPolicy

CAR = get_spec("CarRacing-v3").action
CHOICE = ActionCodec("discrete", n=4)
SLOTS = np.array([0, 1])
FRAMES = np.random.default_rng(0).integers(255, size=(6, 2, 64, 64, 3), dtype=np.uint8)


def agent(codec: ActionCodec) -> Agent:
    torch.manual_seed(0)
    vision = ConvVAE(VisionConfig(latent=4, decoder="fast"))
    memory = Memory(MemoryConfig(latent=4, action=codec.size, hidden=8))
    return Agent(vision, memory, LinearController(12, codec.size), codec.squash)


def theta(codec: ActionCodec) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(13 * codec.size).astype(np.float32)


def explorer(codec: ActionCodec, parameters: float, actions: float) -> ExploringPolicy:
    return ExploringPolicy(agent(codec), codec, 2, theta(codec), parameters, actions)


def play(policy: AgentPolicy, seed: int) -> np.ndarray:
    for slot in range(2):
        policy.start(slot, Job(slot, seed + slot))
    return np.stack([policy.act(SLOTS, frames) for frames in FRAMES])


@pytest.mark.parametrize("codec", [CAR, CHOICE], ids=["box", "discrete"])
def test_without_noise_it_is_the_agent(codec: ActionCodec) -> None:
    plain = AgentPolicy(agent(codec), 2, theta(codec))
    assert np.array_equal(play(explorer(codec, 0, 0), 5), play(plain, 5))


@pytest.mark.parametrize("codec", [CAR, CHOICE], ids=["box", "discrete"])
@pytest.mark.parametrize("noise", [(0.5, 0.0), (0.0, 1.0)], ids=["parameters", "actions"])
def test_noise_comes_from_the_seed(codec: ActionCodec, noise: tuple[float, float]) -> None:
    policy = explorer(codec, *noise)
    first, again, other = play(policy, 5), play(policy, 5), play(policy, 50)
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    if noise[1]:
        plain = play(explorer(codec, 0, 0), 5)
        assert not np.array_equal(first, plain)
    if codec.kind == "box":
        assert (first >= np.array(codec.low)).all() and (first <= np.array(codec.high)).all()
    else:
        assert (first.sum(-1) == 1).all() and set(np.unique(first)) == {0.0, 1.0}


def test_the_memory_sees_the_actions_that_are_played() -> None:
    policy = explorer(CAR, 0.0, 1.0)
    played = play(policy, 5)
    own = agent(CAR)
    state = own.initial(2)
    for frames, actions in zip(FRAMES, played, strict=True):
        z = own.vision.encode_mean(torch.from_numpy(frames))
        with torch.no_grad():
            memory = own.memory.step(z, torch.from_numpy(actions), state.memory)
        state = replace_memory(state, z, memory)
    torch.testing.assert_close(policy.state_of(1).memory.h, state.memory.h[1:], rtol=0, atol=1e-5)


def replace_memory(state, z, memory):
    return state._replace(z=z, memory=memory)


def test_the_agent_itself_stays_as_it_was() -> None:
    own = agent(CAR)
    before = own.squash
    ExploringPolicy(own, CAR, 2, theta(CAR), 1.0, 1.0)
    assert own.squash == before


def test_a_jobs_own_parameters_are_explored_around() -> None:
    policy, given = explorer(CAR, 0.3, 0.0), theta(CAR)
    policy.start(0, replace(Job(0, 7), theta=10 * given))
    found = policy._theta[0].numpy()
    assert not np.array_equal(found, 10 * given) and np.corrcoef(found, given)[0, 1] > 0.9


def test_episodes_lie_between_two_agents() -> None:
    own, towards = theta(CAR), theta(CAR) + 1
    policy = ExploringPolicy(agent(CAR), CAR, 2, own, 0.0, 0.0, towards=towards)
    places = []
    for seed in range(40):
        policy.start(0, Job(0, seed))
        moved = policy._theta[0].numpy() - own
        assert np.ptp(moved) < 1e-6  # the same share of the way in all parameters
        places.append(moved.mean())
    assert 0 <= min(places) < 0.2 and 0.8 < max(places) < 1


def strengths(policy: ExploringPolicy, seeds: int, steps: int = 25) -> np.ndarray:
    """Of each seed's episode, how large the action noise is, in half widths of the steering wheel."""
    found = []
    for seed in range(seeds):
        policy.start(0, Job(0, seed))
        acted = np.stack([policy.act(SLOTS[:1], FRAMES[t % 6, :1]) for t in range(steps)])[:, 0, 0]
        found.append(np.sqrt(np.mean(np.square(acted))))
    return np.array(found)


def test_the_action_noise_of_an_episode_has_the_episodes_level() -> None:
    """Levels are uniform in 0..1: some episodes are nearly the agent's own, and the others spread evenly above."""
    policy = ExploringPolicy(agent(CAR), CAR, 2, np.zeros(39, np.float32), 0.0, 0.2)  # zeros: the wheel rests at 0
    relative = strengths(policy, 60) / 0.2
    assert relative.min() < 0.08 and relative.max() < 2.5
    assert 0.35 < relative.mean() < 0.65 and (relative < 0.5).mean() > 0.3
    # One level rules an episode's parameters and actions, so the noise of both grows together.
    moved = []
    both = ExploringPolicy(agent(CAR), CAR, 2, theta(CAR), 0.1, 0.2)
    for seed in range(60):
        both.start(0, Job(0, seed))
        moved.append(np.sqrt(np.mean(np.square(both._theta[0].numpy() - theta(CAR)))))
    shares = np.array(moved) / (0.1 * np.sqrt(np.mean(np.square(theta(CAR)))))
    assert shares.min() < 0.08 and shares.max() < 1.4 and 0.35 < shares.mean() < 0.65
    assert np.corrcoef(shares, relative)[0, 1] > 0.7


def test_a_choice_is_replaced_as_often_as_the_level_says() -> None:
    policy = ExploringPolicy(agent(CHOICE), CHOICE, 2, np.zeros(52, np.float32), 0.0, 1.0)  # zeros: always the first
    shares = []
    for seed in range(40):
        policy.start(0, Job(0, seed))
        shares.append(np.mean([policy.act(SLOTS[:1], FRAMES[t % 6, :1])[0, 0] == 0 for t in range(25)]))
    assert min(shares) < 0.1 and max(shares) > 0.5  # levels from 0 to 1; a fresh choice is the old one once in four
    assert 0.25 < np.mean(shares) < 0.5


def test_the_luck_of_a_job_decides_its_noise_and_its_seed_does_not() -> None:
    policy = explorer(CAR, 0.5, 0.5)

    def begun(job: Job) -> np.ndarray:
        policy.start(0, job)
        return policy._theta[0].numpy().copy()

    first = begun(Job(0, 5, luck=9))
    assert np.array_equal(first, begun(Job(3, 6, luck=9))) and np.array_equal(first, begun(Job(0, 9)))
    assert not np.array_equal(first, begun(Job(0, 5, luck=8)))
