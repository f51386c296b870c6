"""What is to be played, and what became of it: jobs, outcomes, and the rule that ends hopeless episodes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .episodes.episode import Origin


@dataclass(frozen=True, eq=False)
class Job:
    """One episode to play: which track (`seed`) and, in a search, which parameters (`theta` f32[N]).

    `max_steps` truncates this episode earlier than its runner would; None leaves it to the runner. With an `origin` the
    episode begins after those transitions, which the seed must bring back as they were; `luck` is then the root of the
    policy's own random numbers, so that two episodes from one place differ.
    """

    index: int
    seed: int
    candidate: int = 0
    theta: np.ndarray | None = None
    max_steps: int | None = None
    origin: Origin | None = None
    luck: int | None = None  # None: the seed

    @property
    def root(self) -> int:
        """The root of the policy's random numbers."""
        return self.seed if self.luck is None else self.luck


@dataclass(frozen=True)
class Outcome:
    """What became of a job; `payload` is whatever the runner's `record` returned for the episode."""

    index: int
    seed: int
    candidate: int
    total: float  # sum of rewards, plus the idle reward of the steps that the stall rule saved
    steps: int
    terminated: bool
    truncated: bool  # by the environment, by max_steps or by the stall rule
    stalled: bool
    payload: Any = None
    measures: dict[str, float] = field(default_factory=dict)  # what the world tells beside the return, by name


@dataclass(frozen=True)
class StallRule:
    """End an episode after `steps` steps without a positive reward.

    With `idle_reward` (reward per step of doing nothing) the return becomes that of an episode idled to its limit:
    total + idle_reward * (limit - t). Without it the return stays as collected.
    """

    steps: int
    idle_reward: float | None = None

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(
                f"steps of the stall rule must be 1 or more, not {self.steps}; pass stall=None for no rule"
            )
        if self.idle_reward is not None and not np.isfinite(self.idle_reward):
            raise ValueError(f"idle_reward must be finite, not {self.idle_reward}")
