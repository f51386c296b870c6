"""Slots of CarRacing for collecting and searching: the official world, its frames painted small and in place."""

from __future__ import annotations

import warnings
from functools import lru_cache
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from ..frames import FramePipe, Frames
from ..slots import Slots, Step
from ..spec import EnvSpec, Vectors

CLOSE = 6.0  # of 255: how far our frame may lie from the official picture, on average; 0.4 is usual
LOOKS = (1, 25, 75)  # steps after which the two are compared: zoomed out, half way, and near


class CarSlots(Slots):
    """One `CarWorld` for each slot, reused between episodes: each CarRacing that is made anew leaks memory."""

    painter = "ours"

    def __init__(self, spec: EnvSpec, slots: int) -> None:
        super().__init__(spec, slots)
        self._worlds: list[Any] = [make_world(spec.id) for _ in range(slots)]
        self._times = np.zeros(slots, np.int64)  # steps of the world since the start

    def start(self, slot: int, seed: int) -> Frames:
        self._check_start(slot, seed)
        world = self._worlds[slot]
        world.reset(seed=seed)
        self._times[slot], self._alive[slot] = 0, True
        return world.paint()

    def step(self, slots: NDArray[np.int64], actions: Vectors) -> Step:
        slots = np.asarray(slots, np.int64)
        native = self._native(slots, actions)
        out = self._blank(len(slots))
        limit = self.spec.max_steps * self.spec.repeat
        for row, slot in enumerate(slots.tolist()):
            world, action, total = self._worlds[slot], native[row], 0.0
            for time in range(self._times[slot] + 1, self._times[slot] + self.spec.repeat + 1):
                _, reward, terminated, _, _ = world.step(action)
                total += float(reward)
                if terminated or time >= limit:
                    break
            self._times[slot] = time
            out.rewards[row], out.terminated[row], out.truncated[row] = total, terminated, time >= limit
            world.paint(out.frames[row])
        return self._done(slots, out)

    def close(self) -> None:
        for world in self._worlds:
            world.close()
        self._alive[:] = False


def make_world(id: str) -> Any:
    """The official world of this id with our painter, and with the options under which it is registered."""
    from .car_world import CarWorld  # imports pygame and Box2D

    return CarWorld(**gymnasium.registry[id].kwargs)


@lru_cache(maxsize=1)
def fault(id: str, pipe: FramePipe) -> str:
    """Why the installed Gymnasium's CarRacing cannot be painted here: "" where our frames are as the official ones.

    Plays a moment and looks at both, some 50 ms in a process that needs it.
    """
    try:
        world = make_world(id)
        world.reset(seed=1)
        for time in range(1, LOOKS[-1] + 1):
            world.step(np.array([0.1, 0.3, 0.0], np.float32))
            if time in LOOKS:
                apart = np.abs(world.paint().astype(float) - pipe(world.official())).mean()
                if not apart < CLOSE:
                    return f"its picture is {apart:.1f} of 255 away from ours after {time} steps"
    except Exception as error:  # whatever a later release may do
        return f"{type(error).__name__}: {error}"
    return ""


def paints(spec: EnvSpec) -> bool:
    """Whether CarRacing can be painted here; where it cannot, one warning says why the official painter is used."""
    why = fault(spec.id, spec.pipe)
    if why:
        warnings.warn(
            f"{spec.id} of Gymnasium {gymnasium.__version__} is not as it is known here ({why}): its own painter is "
            "used, which is ten times slower",
            RuntimeWarning,
            stacklevel=2,
        )
    return not why
