"""Observations of many kinds seen as pictures: which part of them, which axes, and what is black and white."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Tuple
from numpy.typing import NDArray

from .pictures import FULL, as_picture
from .returned import refusal

COLOURS = (1, 3)  # channels of a picture
STACKED = (2, 4, 5, 7, 8, 10, 11, 13, 14, 16)  # lengths of an axis that can only be that of stacked grey pictures
RENDER = "--set world.render=true looks at what it renders instead"


@dataclass(frozen=True)
class Lens:
    """From an observation to the picture in it, u8[H,W,C] with C = 1 or 3; of a stack, the newest (last) picture.

    A vision needs no stack: the memory remembers what was before.
    """

    name: str  # of the environment, for messages
    key: str | None
    axes: str  # "HWC", "CHW", "THW" and so on
    shape: tuple[int, ...]  # as declared
    bounds: tuple[float, float]  # the declared numbers of black and white

    @property
    def channels(self) -> int:
        """C; a fourth channel is dropped."""
        depth = self.shape[self.axes.index("C")] if "C" in self.axes else 1
        return 3 if depth == 4 else depth

    @property
    def plain(self) -> bool:
        """Whether observations are pictures u8[H,W] or u8[H,W,C] already."""
        return self.key is None and self.axes in ("HW", "HWC") and self.bounds == FULL and self.shape[2:] != (4,)

    @property
    def space(self) -> Box:
        """What is seen: u8[H,W,C]."""
        height, width = (self.shape[self.axes.index(axis)] for axis in "HW")
        return Box(0, 255, (height, width, self.channels), np.uint8)

    def __call__(self, observation: Any) -> NDArray[np.uint8]:
        picture, axes = np.asarray(_pick(observation, self.key)), self.axes
        fixed = [i for i, axis in enumerate(axes) if axis not in "HW"]
        if picture.ndim != len(axes) or any(picture.shape[i] != self.shape[i] for i in fixed):
            raise refusal(self.name, f"an observation has shape {picture.shape}, not the declared {self.shape}")
        if "T" in axes:
            picture, axes = picture.take(-1, axes.index("T")), axes.replace("T", "")
        picture = picture.transpose([axes.index(axis) for axis in "HWC" if axis in axes])
        seen = as_picture(np.ascontiguousarray(picture), self.channels, self.name, self.bounds)
        return seen.reshape(*seen.shape[:2], self.channels)


def lens(name: str, space: gymnasium.Space[Any], key: str | None = None, axes: str | None = None) -> Lens:
    """The lens for an observation space. ValueError names the environment, what is not clear, and what makes it so."""
    found = _pick_space(name, space, key)
    if not isinstance(found, Box):
        raise refusal(name, f"it observes {space}, which holds no picture: {RENDER}")
    axes = _axes(name, found.shape) if axes is None else _named(name, axes.upper(), found.shape)
    low, high = float(np.min(found.low)), float(np.max(found.high))
    if not np.isfinite([low, high]).all() or not low < high:
        raise refusal(
            name, f"its pictures have no bounds ({found}): declare them, e.g. Box(0, 255, shape, numpy.uint8)"
        )
    return Lens(name, key, axes, found.shape, (low, high))


def _pick_space(name: str, space: gymnasium.Space[Any], key: str | None) -> gymnasium.Space[Any]:
    if key is not None:
        try:
            return _pick(space, key)
        except (KeyError, IndexError, TypeError, ValueError):
            known = ", ".join(_keys(space)) or "none, for it observes no names"
            raise refusal(name, f"it has no observation {key!r} (world.key): choose of {known}") from None
    if isinstance(space, Dict | Tuple):
        inner = _keys(space)
        likely = [each for each in inner if len(_pick(space, each).shape or ()) in (2, 3, 4)]
        remedy = f"name the picture, e.g. --set world.key={(likely or inner)[0]}, or {RENDER}"
        raise refusal(name, f"it observes {', '.join(inner)}: {remedy}")
    return space


def _keys(space: gymnasium.Space[Any]) -> list[str]:
    """The names of all leaves of a space, with dots between the names of its levels."""
    inner = space.items() if isinstance(space, Dict) else enumerate(space) if isinstance(space, Tuple) else ()
    return [
        ".".join([str(key), *([deeper] if deeper else [])]) for key, each in inner for deeper in _keys(each) or [""]
    ]


def _pick(tree: Any, key: str | None) -> Any:
    """The part of an observation, or of its space, under a name; dots lead deeper, numbers into tuples."""
    if key is None:
        return tree
    if isinstance(tree, dict | Dict):
        if key in tree.keys():  # noqa: SIM118  (a Dict space is no mapping for `in`)
            return tree[key]
        first, _, rest = key.partition(".")
        return _pick(tree[first], rest)
    if isinstance(tree, tuple | Tuple):
        first, _, rest = key.partition(".")
        return _pick(tree[int(first)], rest or None)
    raise KeyError(key)


def _axes(name: str, shape: tuple[int, ...]) -> str:
    """The axes of an observation of this shape, where only one answer is likely."""
    first, last = (*shape, 0)[0], (0, *shape)[-1]
    if len(shape) == 2:
        return "HW"
    if len(shape) == 3:
        inner, outer = min(shape[1:]), min(shape[:2])
        if last in COLOURS:
            return "HWC"
        if first in COLOURS:
            return "CHW"
        if first in STACKED and first < inner:
            return "THW"
        if last in STACKED and last < outer and last != 4:
            return "HWT"
        if last == 4 or (min(first, last) <= 16 and max(shape) > 16):
            raise refusal(
                name,
                f"it observes pictures of shape {shape}, of which the axes are not clear: name them, e.g. --set "
                "world.axes=HWC for colours (a fourth channel is dropped), HWT for stacked grey pictures, or THW",
            )
    if len(shape) == 4 and last in COLOURS:
        return "THWC"
    if len(shape) == 4 and shape[1] in COLOURS:
        return "TCHW"
    raise refusal(
        name,
        f"it observes numbers of shape {shape}, but pictures are needed, e.g. uint8 of shape (H, W), (H, W, 1) or "
        f"(H, W, 3): {RENDER}",
    )


def _named(name: str, axes: str, shape: tuple[int, ...]) -> str:
    if len(set(axes)) != len(axes) or not {"H", "W"} <= set(axes) <= set("HWCT") or len(axes) != len(shape):
        raise refusal(
            name, f"axes must be {len(shape)} letters of H, W, C and T, for its shape is {shape}; not {axes!r}"
        )
    if "C" in axes and shape[axes.index("C")] not in (1, 3, 4):
        raise refusal(name, f"axes {axes}: a picture has 1, 3 or 4 channels, not {shape[axes.index('C')]}")
    return axes
