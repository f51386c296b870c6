"""A trained agent wherever it is kept: what playing it, filming its dreams and measuring it ask of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from frmdn.agent.agent import Agent
from frmdn.envs.spec import EnvSpec

if TYPE_CHECKING:
    from frmdn.rollouts.episodes.joined import Episodes

Rules = tuple[float | None, Literal["learned", "survival"]]


class Trained(Protocol):
    """A `Session` of a run folder is one, and an `AgentFile`.

    A run may be unfinished: `has` says of a stage whether what it makes is there, and `require` raises ValueError where
    it is not.
    """

    @property
    def root_seed(self) -> int:
        """The root of all random numbers: with it, episodes and dreams of a number are the same again."""

    @property
    def official(self) -> EnvSpec:
        """The world as the evaluation plays it."""

    @property
    def device(self) -> torch.device:
        """Where its models compute."""

    @property
    def rules(self) -> Rules:
        """How its dreams end (`Dream.done_threshold`) and reward."""

    def has(self, stage: str) -> bool:
        """Whether what a stage makes is there, and up to date."""

    def require(self, *stages: str) -> None:
        """Raise ValueError unless it has what these stages make."""

    def agent(self) -> Agent:
        """Vision, memory, and a controller without parameters."""

    def theta(self, agent: Agent) -> NDArray[np.float32]:
        """The controller's parameters f32[N]."""

    def shown(self) -> int | None:
        """The stored episode to film where nobody can play; None: the agent plays a new one."""

    def first_latents(self) -> Tensor:
        """Latents at which dreams begin, f32[N,Z]."""

    def episodes(self) -> Episodes:
        """What was collected; ValueError where it is not kept."""
