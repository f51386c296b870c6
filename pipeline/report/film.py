"""Watching an agent: one drive recorded through its eyes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from frmdn.agent.agent import Agent, AgentState
from frmdn.agent.open_loop import watch
from frmdn.controller.evaluate import SLOTS
from frmdn.envs.spec import EnvSpec
from frmdn.envs.vector import SlotEnv, Step, make_slots
from frmdn.rollouts.episodes.episode import Episode
from frmdn.rollouts.job import Job
from frmdn.rollouts.policy import AgentPolicy
from frmdn.rollouts.run import Runner, run_episodes

from ..drawing.canvas import controls_of, pixels
from ..dreams.film import encode
from ..dreams.film import pixels as decoded
from .drive import DriveRecord

CHUNK = 128  # frames encoded or decoded at a time


class Watcher(AgentPolicy):
    """Acts as the evaluated agent does, to the last digit, and keeps its state after each action."""

    def __init__(self, agent: Agent, theta: NDArray[np.float32]) -> None:
        super().__init__(agent, SLOTS, theta)
        self.states: list[AgentState] = []  # entry t: after action t, before frame t+1

    def act(self, slots: NDArray[np.int64], frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        actions = super().act(slots, frames)
        self.states.append(self.state_of(0))
        return actions


class Listener:
    """A world of one slot that keeps what it tells of its episode after each step."""

    def __init__(self, world: SlotEnv) -> None:
        self.world, self.spec, self.slots, self.painter = world, world.spec, world.slots, world.painter
        self.told: list[dict[str, float]] = []

    def start(self, slot: int, seed: int) -> NDArray[np.uint8]:
        frame = self.world.start(slot, seed)
        self.told = [self.measures(slot)]
        return frame

    def step(self, slots: NDArray[np.int64], actions: NDArray[np.float32]) -> Step:
        step = self.world.step(slots, actions)
        self.told.append(self.measures(0))
        return step

    def measures(self, slot: int) -> dict[str, float]:
        return self.world.measures(slot)

    def close(self) -> None:
        self.world.close()


def record_agent(
    agent: Agent, theta: Tensor | NDArray[np.floating], spec: EnvSpec, seed: int, max_steps: int | None = None
) -> DriveRecord:
    """Drive one episode of the official Gymnasium environment and keep what the agent sees, reconstructs and expects.

    theta f32[N] are the controller's parameters. `max_steps` ends the episode early; None: the environment's limit.
    """
    watcher = Watcher(agent, np.asarray(theta, np.float32))
    world = Listener(make_slots(spec, 1, official=True))
    runner = Runner(world, watcher, max_steps=max_steps, record=lambda episode: episode)
    try:
        (outcome,) = run_episodes(runner, [Job(index=0, seed=seed)])
    finally:
        runner.close()
    episode: Episode = outcome.payload
    reconstructions = reconstruct(agent, episode.frames)
    expected = None if agent.memory is None else _expect(agent, watcher.states, episode.frames.shape[1:])
    pictures = (episode.frames, reconstructions, expected)
    shown = [measure.name for measure in spec.measures if measure.kind == "mean"]
    told = {name: np.array([values[name] for values in world.told]) for name in shown}
    return DriveRecord(seed, *pictures, episode.actions, episode.rewards, controls_of(spec), told)


def record_episode(agent: Agent, episode: Episode, spec: EnvSpec, max_steps: int = 500) -> DriveRecord:
    """A stored episode that somebody else played, or that was only watched: what an agent's eyes make of it.

    Its first `max_steps` transitions are enough to see it by.
    """
    assert agent.memory is not None
    steps = min(episode.steps, max_steps)
    frames, actions = episode.frames[: steps + 1], episode.actions[:steps]
    latents = encode(agent, frames)
    seen = watch(agent.memory, latents[None], torch.from_numpy(actions)[None])
    black = np.zeros((1, *frames.shape[1:]), np.uint8)
    pictures = (frames, decoded(agent, latents), np.concatenate([black, decoded(agent, seen.latents[0])]))
    return DriveRecord(episode.seed, *pictures, actions, episode.rewards[:steps], controls_of(spec))


def reconstruct(agent: Agent, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """frames u8[N,H,W,C] -> what V keeps of them, u8[N,H,W,C]: the decoded mean of each frame's latent."""
    pieces = (torch.from_numpy(np.ascontiguousarray(frames[i : i + CHUNK])) for i in range(0, len(frames), CHUNK))
    return np.concatenate([pixels(agent.reconstruct(piece)) for piece in pieces])


def _expect(agent: Agent, states: Sequence[AgentState], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Row t is what was expected after action t-1; row 0 is black."""
    pieces = [np.zeros((1, *shape), np.uint8)]
    for start in range(0, len(states), CHUNK):
        pieces.append(pixels(agent.expect_next(_stack(states[start : start + CHUNK]))))
    return np.concatenate(pieces)


def _stack(states: Sequence[AgentState]) -> AgentState:
    """States of one row each -> one state of many rows."""
    memories = [state.memory for state in states if state.memory is not None]
    memory = type(memories[0])(*map(torch.cat, zip(*memories, strict=True)))
    return AgentState(torch.cat([state.z for state in states]), memory)
