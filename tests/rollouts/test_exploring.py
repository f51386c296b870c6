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
