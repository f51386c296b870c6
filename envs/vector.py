"""Many episodes at once: each slot holds one environment, which a seed starts anew whatever it played before.

Gymnasium's VectorEnv cannot reseed one of its environments alone, so they are driven one at a time here.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from .frames import Frames
from .slots import SlotEnv, Slots, Step
from .spec import EnvSpec, Vectors
from .worlds.car_slots import CarSlots, paints


def make_slots(spec: EnvSpec, slots: int, *, official: bool = False) -> SlotEnv:
    """The slots of one process; `official` keeps the world's own painter where there is one of ours.

    Raises ValueError for fewer than one slot.
    """
    if slots < 1:
        raise ValueError(f"slots must be at least 1, not {slots}")
    ours = spec.painted and not official and paints(spec)
    return CarSlots(spec, slots) if ours else GymnasiumSlots(spec, slots)


class GymnasiumSlots(Slots):
    """Slots of Gymnasium environments, reused between episodes: each CarRacing that is made anew leaks memory.

    With `render_mode="rgb_array"` they also draw what people see of the world, for `picture`.
    """

    painter = "official"

    def __init__(self, spec: EnvSpec, slots: int, render_mode: str | None = None) -> None:
        super().__init__(spec, slots)
        self._envs: list[gymnasium.Env[Any, Any]] = [spec.make(render_mode=render_mode) for _ in range(slots)]
        self._infos: list[dict[str, Any]] = [{} for _ in range(slots)]

    def start(self, slot: int, seed: int) -> NDArray[Any]:
        self._check_start(slot, seed)
        frame, self._infos[slot] = self._envs[slot].reset(seed=seed)
        self._alive[slot] = True
        return frame

    def step(self, slots: NDArray[np.int64], actions: Vectors) -> Step:
        slots = np.asarray(slots, np.int64)
        native = self._native(slots, actions)
        out = self._blank(len(slots))
        for row, slot in enumerate(slots.tolist()):
            action = int(native[row]) if self.spec.action.kind == "discrete" else native[row]
            frame, out.rewards[row], out.terminated[row], out.truncated[row], info = self._envs[slot].step(action)
            out.frames[row], self._infos[slot] = frame, info
        return self._done(slots, out)

    def measures(self, slot: int) -> dict[str, float]:
        return {measure.name: float(self._infos[slot][measure.key]) for measure in self.spec.measures}

    def picture(self, slot: int) -> Frames | None:
        """The world's own picture u8[H0,W0,3] of the episode in this slot; None where it draws none."""
        try:
            drawn = self._envs[slot].render()
        except NotImplementedError:  # Gymnasium's own answer for environments that have no such method
            return None
        return drawn if isinstance(drawn, np.ndarray) else None

    def close(self) -> None:
        for env in self._envs:
            env.close()
        self._alive[:] = False
