"""An agent that explores: noise on its parameters for a whole episode, and on its actions in every step."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from frmdn.agent.agent import Agent
from frmdn.agent.seeds import derive
from frmdn.envs.spec import ActionCodec

from .policy import AgentPolicy

if TYPE_CHECKING:
    from .job import Job

KEEP = 0.9  # of the action noise from one step to the next: white noise would cancel before it moves anything


class ExploringPolicy(AgentPolicy):
    """Plays theta f32[N] with noise that the job's seed determines; the memory sees the actions that are played.

    With `towards` f32[N] each episode first draws a place on the way there, theta + v (towards - theta) with v in
    [0, 1): between the agent that is best in reality and the one that is best in dreams, dreams are wrong somewhere.

    Each episode draws its level u in [0, 1), so that some are nearly the agent's own. Parameters become
    theta + u * parameter_noise * rms(theta) * n. In a box, u * action_noise * x half widths are added to the action and
    the sum is clipped, x an Ornstein-Uhlenbeck walk of unit variance; a discrete action is replaced by a uniform one
    with chance u * action_noise.
    """

    def __init__(
        self,
        agent: Agent,
        codec: ActionCodec,
        slots: int,
        theta: np.ndarray,
        parameter_noise: float,
        action_noise: float,
        towards: np.ndarray | None = None,
    ) -> None:
        noisy = copy.copy(agent)
        noisy.squash = self._squash
        super().__init__(noisy, slots, theta)
        self.codec, self._plain, self._theta_given = codec, agent.squash, np.asarray(theta, np.float32)
        self._towards = towards
        self.parameter_noise, self.action_noise = parameter_noise, action_noise
        self._sources: list[np.random.Generator | None] = [None] * slots
        self._walk = np.zeros((slots, codec.size))  # x of each slot
        self._level = np.zeros(slots)
        self._played = torch.zeros(slots, codec.size)  # added to box actions, or the one-hot that replaces a choice
        self._replaced = torch.zeros(slots, 1, dtype=torch.bool)

    def start(self, slot: int, job: Job) -> None:
        rng = np.random.default_rng(derive(job.root, "exploring"))
        level, theta = float(rng.random()), self._theta_given if job.theta is None else job.theta
        if self._towards is not None and job.theta is None:
            theta = theta + float(rng.random()) * (self._towards - theta)
        scale = level * self.parameter_noise * float(np.sqrt(np.mean(np.square(theta))))
        noisy = theta + scale * rng.standard_normal(len(theta))
        super().start(slot, replace(job, theta=noisy.astype(np.float32)))
        self._sources[slot], self._level[slot] = rng, level
        self._walk[slot] = rng.standard_normal(self.codec.size)

    def act(self, slots: np.ndarray, frames: np.ndarray) -> np.ndarray:
        for slot in slots.tolist():
            self._draw(slot)
        return super().act(slots, frames)

    def _draw(self, slot: int) -> None:
        rng, amount = self._sources[slot], self._level[slot] * self.action_noise
        assert rng is not None, f"slot {slot} acts before its episode began"
        if self.codec.kind == "discrete":
            self._replaced[slot] = bool(rng.random() < amount)
            self._played[slot] = torch.from_numpy(self.codec.sample(rng, 1)[0])
            return
        self._walk[slot] = KEEP * self._walk[slot] + np.sqrt(1 - KEEP**2) * rng.standard_normal(self.codec.size)
        half = (np.array(self.codec.high) - np.array(self.codec.low)) / 2
        self._played[slot] = torch.from_numpy((amount * half * self._walk[slot]).astype(np.float32))

    def _squash(self, raw: Tensor) -> Tensor:
        """The agent's actions with this step's noise; row i is slot i, as `AgentPolicy` always asks for all rows."""
        actions, noise = self._plain(raw), self._played.to(raw.device)
        if self.codec.kind == "discrete":
            return torch.where(self._replaced.to(raw.device), noise, actions)
        low, high = (raw.new_tensor(bound) for bound in (self.codec.low, self.codec.high))
        return torch.minimum(torch.maximum(actions + noise, low), high)
