"""Many episodes at once: each slot holds one environment, which a seed starts anew whatever it played before."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from .spec import EnvSpec, Vectors

SEEDS = 2**31  # so that a seed fits 32 bits with a sign, as some worlds keep it


class Step(NamedTuple):
    """One step of n slots, in the order in which they were asked for."""

    frames: NDArray[Any]  # u8[n,H,W,C], or f32[n,D] of a world of vectors; memory of its own
    rewards: NDArray[np.float32]  # f32[n]
    terminated: NDArray[np.bool_]  # bool[n], the world says that the episode is over
    truncated: NDArray[np.bool_]  # bool[n], the time limit alone says so; never together with terminated


class SlotEnv(Protocol):
    """What the one environment loop of this program drives."""

    spec: EnvSpec
    slots: int
    painter: str  # who makes the frames: "official", "ours", or "dream"

    def start(self, slot: int, seed: int) -> NDArray[Any]:
        """Begin the episode of this seed in this slot, whatever was there: the first frame u8[H,W,C] or f32[D]."""

    def step(self, slots: NDArray[np.int64], actions: Vectors) -> Step:
        """One step of the named slots (distinct, i64[n]) with action vectors f32[n,A]."""

    def measures(self, slot: int) -> dict[str, float]:
        """What the world tells of the episode in this slot, as far as it has come: `spec.measures` by name."""

    def close(self) -> None:
        """Let the environments go."""


class Slots:
    """What all back ends check: seeds, slot numbers, actions, and that nobody steps past an end."""

    def __init__(self, spec: EnvSpec, slots: int) -> None:
        self.spec, self.slots = spec, slots
        self._alive = np.zeros(slots, bool)

    def measures(self, slot: int) -> dict[str, float]:
        """Nothing, where the back end has no such thing."""
        return {}

    def _check_start(self, slot: int, seed: int) -> None:
        if not 0 <= slot < self.slots:
            raise ValueError(f"slot must lie in 0..{self.slots - 1}, not {slot}")
        if not 0 <= seed < SEEDS:
            raise ValueError(f"seed must lie in 0..{SEEDS - 1}, not {seed}")

    def _check_step(self, slots: NDArray[np.int64], actions: Vectors) -> None:
        if len(slots) != len(actions) or len(set(slots.tolist())) != len(slots):
            raise ValueError(f"{len(actions)} actions do not fit slots {slots.tolist()}: one each, slots distinct")
        if not ((slots >= 0) & (slots < self.slots)).all():
            raise ValueError(f"slots must lie in 0..{self.slots - 1}, not {slots.tolist()}")
        ended = slots[~self._alive[slots]]
        if len(ended):
            raise ValueError(f"slots {ended.tolist()} have no episode under way: call start before step")
        bad = slots[~np.isfinite(actions.reshape(len(actions), -1)).all(1)]
        if len(bad):
            raise ValueError(f"actions of slots {bad.tolist()} are NaN or infinite: check the policy that made them")

    def _native(self, slots: NDArray[np.int64], actions: Vectors) -> NDArray[Any]:
        """Actions as the world takes them, after all checks."""
        actions = np.asarray(actions)
        self._check_step(slots, actions)
        return self.spec.action.to_env_batch(actions)

    def _blank(self, n: int) -> Step:
        frames = np.empty((n, *self.spec.frame_shape), self.spec.frame_type)
        return Step(frames, np.zeros(n, np.float32), np.zeros(n, bool), np.zeros(n, bool))

    def _done(self, slots: NDArray[np.int64], out: Step) -> Step:
        self._alive[slots] = ~(out.terminated | out.truncated)
        out.truncated[out.terminated] = False
        return out
