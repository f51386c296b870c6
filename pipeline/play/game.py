"""A world that is stepped by hand: the real environment, or the dream of a memory."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from frmdn.envs.errors import MissingExtra
from frmdn.envs.spec import EnvSpec, Vectors
from frmdn.envs.vector import GymnasiumSlots, SlotEnv
from frmdn.rollouts.job import Job
from frmdn.rollouts.policy import AgentPolicy, ControllerPolicy, Policy

from ..dreams.film import pixels
from ..dreams.worlds import dream_slots
from ..trained.trained import Trained

Panels = tuple[tuple[str, NDArray[np.uint8]], ...]  # captions and pictures u8[H,W,C]
FPS = 30.0  # transitions a second where the world does not say how fast it is
SLOT = np.zeros(1, np.int64)


@dataclass(frozen=True)
class Scene:
    """What there is to see after some transitions of an episode."""

    panels: Panels
    steps: int
    total: float  # of the rewards
    chance: float | None = None  # that the last transition was to be the end, as the memory saw it; in dreams
    over: str = ""  # how the episode ended


class Wheel:
    """Stands where an agent squashes: raw f32[1,A] -> actions f32[1,A], its own ones or those of the `hand` f32[A].

    So the agent's memory is told what was played, whoever played it, and the wheel can change hands at any time.
    """

    def __init__(self, squash: Callable[[Tensor], Tensor]) -> None:
        self.squash, self.hand = squash, None

    hand: Vectors | None

    def __call__(self, raw: Tensor) -> Tensor:
        return self.squash(raw) if self.hand is None else torch.from_numpy(self.hand)[None].to(raw.device)


class Game:
    """One slot of a world, a wheel that a person and an agent share, and a view of it.

    `policy` decides through `wheel`; None: there is no agent yet, and a person's actions go straight to the world.
    """

    def __init__(
        self,
        world: SlotEnv,
        view: Callable[[NDArray[np.generic]], tuple[Panels, float | None]],
        wheel: Wheel,
        policy: Policy | None,
        has_agent: bool,
    ) -> None:
        self.world, self.view, self.wheel, self.policy, self.has_agent = world, view, wheel, policy, has_agent
        self._seen: NDArray[np.generic] = np.zeros(0)
        self._steps, self._total = 0, 0.0

    def begin(self, seed: int) -> Scene:
        """The first scene of the episode of this seed."""
        self._seen = self.world.start(0, seed)[None]
        if self.policy is not None:
            self.policy.start(0, Job(0, seed))
        self._steps, self._total = 0, 0.0
        return Scene(self.view(self._seen[0])[0], 0, 0.0)

    def step(self, hand: Vectors | None) -> Scene:
        """One transition with a person's action f32[A]; None leaves it to the agent."""
        if hand is None and not self.has_agent:
            raise ValueError("there is no agent to play: evolve one first")
        self.wheel.hand = hand
        if self.policy is not None:
            actions = self.policy.act(SLOT, self._seen)
        else:
            assert hand is not None
            actions = hand[None]
        step = self.world.step(SLOT, actions)
        self._seen = step.frames
        self._steps += 1
        self._total += float(step.rewards[0])
        over = "it ended" if step.terminated[0] else "out of time" if step.truncated[0] else ""
        panels, chance = self.view(self._seen[0])
        return Scene(panels, self._steps, self._total, chance, over)

    def close(self) -> None:
        self.world.close()


def dream_game(trained: Trained, temperature: float) -> Game:
    """The dream of the memory that acts, decoded by the vision; rewards and ends are those of the run's own dreams."""
    trained.require("memory")
    agent = trained.agent().to(trained.device)
    driven = trained.has("evolve")
    theta = trained.theta(agent) if driven else np.zeros(agent.controller.size, np.float32)
    assert agent.memory is not None
    world = dream_slots(trained, agent, [agent.memory], temperature, 1)
    wheel = Wheel(agent.squash)
    policy = ControllerPolicy(agent.controller, wheel, 1, theta)

    def view(_: NDArray[np.generic]) -> tuple[Panels, float | None]:
        return (("the dream", pixels(agent, world.latents())[0]),), float(world.ends()[0])

    return Game(world, view, wheel, policy, driven)


def real_game(trained: Trained) -> Game:
    """The real environment: its own picture where it draws one, beside the frame that the agent sees."""
    spec = trained.official
    wheel, policy = Wheel(spec.action.squash), None
    if trained.has("evolve"):
        agent = copy.copy(trained.agent().to(trained.device))
        agent.squash = wheel
        policy = AgentPolicy(agent, 1, trained.theta(agent))
    world = GymnasiumSlots(spec, 1, render_mode="rgb_array")  # after what may be damaged: it may be a process

    def view(frame: NDArray[np.generic]) -> tuple[Panels, float | None]:
        seen, picture = np.asarray(frame, np.uint8), world.picture(0)
        panels = (("what the agent sees", seen),)
        return (panels if picture is None else (("reality", picture), *panels)), None

    return Game(world, view, wheel, policy, policy is not None)


def pace(spec: EnvSpec) -> float:
    """Transitions a second at which people usually play this world; FPS where it does not say or is not installed."""
    try:
        env = spec.make()
    except (MissingExtra, ValueError):  # only recorded, or of a file whose module nobody named
        return FPS
    try:
        return float(env.metadata.get("render_fps") or FPS * spec.repeat) / spec.repeat
    finally:
        env.close()
