"""Action spaces of many kinds played by the two that the rest of the program knows: bounded vectors, and one choice."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete
from numpy.typing import NDArray

from .returned import refusal

MOST = 64  # combinations of choices that are one choice; where there are more, each is a number of its own

Convert = Callable[[Any], Any]


@dataclass(frozen=True)
class Shaped:
    """f32[A] -> the numbers of a Box of another shape."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __call__(self, action: Any) -> Any:
        return np.asarray(action, self.dtype).reshape(self.shape)


@dataclass(frozen=True)
class Parts:
    """An action -> one choice for each part; `choices` says which, counted from 0."""

    counts: tuple[int, ...]
    starts: tuple[int, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __call__(self, action: Any) -> Any:
        return (self.choices(action) + self.starts).astype(self.dtype).reshape(self.shape)

    def choices(self, action: Any) -> NDArray[np.int64]:
        raise NotImplementedError


class Combined(Parts):
    """One whole number: the last part changes fastest."""

    def choices(self, action: Any) -> NDArray[np.int64]:
        return np.array(np.unravel_index(int(action), self.counts))


class Levers(Parts):
    """f32[A] in 0..1: 0..1 is divided into as many equal pieces as there are choices."""

    def choices(self, action: Any) -> NDArray[np.int64]:
        counts = np.array(self.counts)
        return np.clip(np.floor(np.asarray(action, np.float64) * counts), 0, counts - 1).astype(np.int64)


def playable(
    name: str, space: gymnasium.Space[Any], bound: float | None = None
) -> tuple[Box | Discrete, Convert | None]:
    """The bounded 1-D Box of floats, or the Discrete space, by which an action space is played; and the way back.

    MultiDiscrete, MultiBinary and Boxes of whole numbers are one choice among all combinations, or where those are more
    than `MOST`, one number in 0..1 for each part. A Box of another shape is flattened. A number of a Box without an end
    goes from -bound to bound. ValueError names the environment and the remedy.
    """
    if isinstance(space, Box) and np.issubdtype(space.dtype, np.floating):
        return _box(name, space, bound)
    if bound is not None:
        raise refusal(name, f"its actions are {space}, which has ends: leave world.bound away")
    if isinstance(space, Discrete):
        return space, None
    if isinstance(space, MultiDiscrete):
        return _parts(space.nvec, space.start, space)
    if isinstance(space, MultiBinary):
        return _parts(np.full(space.shape, 2), np.zeros(space.shape, int), space)
    if isinstance(space, Box) and np.issubdtype(space.dtype, np.integer):
        low, high = space.low.astype(np.int64), space.high.astype(np.int64)
        if float(np.max(high - low)) < 2**16:
            return _parts(high - low + 1, low, space)
    raise refusal(
        name,
        f"its actions are {space}, which is not supported: write a gymnasium.ActionWrapper around it whose actions are "
        "a Box, Discrete, MultiDiscrete or MultiBinary",
    )


def _box(name: str, space: Box, bound: float | None) -> tuple[Box, Convert | None]:
    low, high = space.low.astype(np.float64), space.high.astype(np.float64)
    if np.isfinite(low).all() and np.isfinite(high).all():
        if bound is not None:
            raise refusal(name, f"its actions are {space}, which has ends: leave world.bound away")
    elif bound is None:
        raise refusal(
            name, f"its actions are {space}, without an end: say how far they go, e.g. --set world.bound=1 for -1 to 1"
        )
    else:
        low, high = np.where(np.isfinite(low), low, -bound), np.where(np.isfinite(high), high, bound)
        if not (low < high).all():
            raise refusal(name, f"its actions are {space}: world.bound must lie beyond their other ends, not {bound}")
    if len(space.shape) == 1:
        return Box(low.astype(np.float32), high.astype(np.float32), dtype=np.float32), None
    flat = Box(low.ravel().astype(np.float32), high.ravel().astype(np.float32), dtype=np.float32)
    return flat, Shaped(space.shape, space.dtype)


def _parts(counts: Any, starts: Any, space: gymnasium.Space[Any]) -> tuple[Box | Discrete, Convert]:
    shape = tuple(np.shape(counts))
    numbers = tuple(int(count) for count in np.ravel(counts))
    back = (numbers, tuple(int(start) for start in np.ravel(starts)), shape, np.dtype(space.dtype))
    total = math.prod(numbers)
    if total <= MOST:
        return Discrete(total), Combined(*back)
    return Box(0.0, 1.0, (len(numbers),), np.float32), Levers(*back)
