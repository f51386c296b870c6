"""Whoever may act: a run, a player, a policy by name, a function of the frame, or an object that acts and resets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, runtime_checkable

import numpy as np

from frmdn.envs.catalogue import get_spec
from frmdn.envs.spec import EnvSpec
from frmdn.rollouts.collect import POLICIES, PolicyFactory, agent_policy, named_policy
from frmdn.rollouts.job import Job
from frmdn.rollouts.policy import Policy

from .player import Player
from .run import Run

Act = Callable[[np.ndarray], Any]  # one frame -> one action, as the environment takes it


@runtime_checkable
class Actor(Protocol):
    """What acts frame by frame and remembers: `Player` is one, and anything of yours with these two methods."""

    def reset(self) -> None:
        """An episode begins."""

    def act(self, frame: np.ndarray) -> Any:
        """One frame, u8[S,S,C] -> one action, as the environment takes it."""


Who = Run | Player | str | Actor | Act


@dataclass(frozen=True)
class Cast:
    """Who acts, ready for the workers: how each of them makes its policy, and under which name."""

    name: str
    make: PolicyFactory
    slots: int | None = None  # episodes side by side; None: as many as usual


def cast(who: Who) -> Cast:
    """Find out what `who` is; ValueError where it is nothing that can act."""
    if isinstance(who, Run):
        return cast(who.player())
    if isinstance(who, Player):
        return Cast("agent", agent_policy(who.agent, who.theta))
    if isinstance(who, str):
        if who not in POLICIES:
            raise ValueError(f"who must be one of {', '.join(POLICIES)}, a run or a player; not {who!r}")
        return Cast(who, partial(named_policy, who))
    if isinstance(who, Actor):
        return Cast(type(who).__name__, partial(_remember, who), slots=1)
    if callable(who):
        return Cast(getattr(who, "__name__", type(who).__name__), partial(_call, who))
    raise ValueError(
        f"{who!r} cannot act: give a run, a player, a name ({', '.join(POLICIES)}), a function of the frame, or an "
        "object with act(frame) and reset()"
    )


def world_of(world: str | EnvSpec) -> EnvSpec:
    """A world by its id, or its description as it is."""
    return get_spec(world) if isinstance(world, str) else world


class FramewisePolicy:
    """A `Policy` that asks a function for every frame, and tells whoever remembers that an episode begins."""

    def __init__(self, spec: EnvSpec, act: Act, reset: Callable[[], None] | None = None) -> None:
        self._codec, self._act, self._reset = spec.action, act, reset

    def start(self, slot: int, job: Job) -> None:
        if self._reset is not None:
            self._reset()

    def act(self, slots: np.ndarray, frames: np.ndarray) -> np.ndarray:
        return np.stack([self._codec.from_env(self._act(frame)) for frame in frames])


def _remember(who: Actor, spec: EnvSpec, slots: int) -> Policy:
    return FramewisePolicy(spec, who.act, who.reset)


def _call(act: Act, spec: EnvSpec, slots: int) -> Policy:
    return FramewisePolicy(spec, act)
