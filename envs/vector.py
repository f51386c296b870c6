"""Many episodes at once: each slot holds one environment, which a seed starts anew whatever it played before.

Gymnasium's VectorEnv cannot reseed one of its environments alone, and EnvPool cannot reseed at all, so both are driven
one environment at a time here; `docs/decisions/0003-envpool.md` has the measurements.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from .errors import MissingExtra
from .frames import Frames
from .slots import SlotEnv, Slots, Step
from .spec import EnvSpec, Vectors
from .worlds.car_slots import CarSlots, paints

BACKENDS = ("painted", "envpool", "gymnasium")


def available_backend(spec: EnvSpec) -> str:
    """The first back end of the spec that works here."""
    works = {"painted": lambda: paints(spec), "envpool": lambda: _envpool() is not None, "gymnasium": lambda: True}
    return next((backend for backend in spec.backends if works[backend]()), "gymnasium")


def make_slots(spec: EnvSpec, slots: int, backend: str = "auto") -> SlotEnv:
    """The slots of one process. "auto" takes the first back end of `spec.backends` that works here.

    Raises ValueError for a back end that does not exist or lacks the world, MissingExtra for one that is not installed.
    """
    if slots < 1:
        raise ValueError(f"slots must be at least 1, not {slots}")
    if backend == "auto":
        backend = available_backend(spec)
    if backend not in BACKENDS:
        raise ValueError(f"backend must be one of auto, {', '.join(BACKENDS)}, not {backend!r}")
    if backend not in spec.backends:
        raise ValueError(f"backend {backend!r} does not have {spec.id}: use {' or '.join(spec.backends)}")
    kinds: dict[str, Callable[..., SlotEnv]] = {"painted": CarSlots, "envpool": EnvPoolSlots}
    return kinds.get(backend, GymnasiumSlots)(spec, slots)


class GymnasiumSlots(Slots):
    """Slots of Gymnasium environments, reused between episodes: each CarRacing that is made anew leaks memory.

    With `render_mode="rgb_array"` they also draw what people see of the world, for `picture`.
    """

    backend = "gymnasium"

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
        drawn = self._envs[slot].render()
        return drawn if isinstance(drawn, np.ndarray) else None

    def close(self) -> None:
        for env in self._envs:
            env.close()
        self._alive[:] = False


class EnvPoolSlots(Slots):
    """Slots of EnvPool: a pool of one environment per episode, because EnvPool takes seeds at creation only."""

    backend = "envpool"

    def __init__(self, spec: EnvSpec, slots: int) -> None:
        super().__init__(spec, slots)
        self._module = _envpool()
        if self._module is None:
            raise MissingExtra("EnvPool", "fast", "backend 'envpool'")
        self._pools: list[Any] = [None] * slots
        self._pipe = spec.pipe

    def start(self, slot: int, seed: int) -> Frames:
        self._check_start(slot, seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # EnvPool builds its spaces with float64 bounds
            pool = self._module.make(
                self.spec.id,
                env_type="gymnasium",
                num_envs=1,
                num_threads=1,
                seed=seed,
                env_seed=[seed],
                max_episode_steps=self.spec.max_steps * self.spec.repeat,
            )
        self._pools[slot] = pool
        pictures, _ = pool.reset()
        self._alive[slot] = True
        return self._pipe(pictures[0])

    def step(self, slots: NDArray[np.int64], actions: Vectors) -> Step:
        slots = np.asarray(slots, np.int64)
        native = self._native(slots, actions)
        out = self._blank(len(slots))
        going = list(enumerate(slots.tolist()))
        for turn in range(self.spec.repeat):
            going = self._turn(going, native, out, last=turn == self.spec.repeat - 1)
        return self._done(slots, out)

    def _turn(
        self, going: Sequence[tuple[int, int]], native: NDArray[Any], out: Step, last: bool
    ) -> list[tuple[int, int]]:
        """One step of the world in every slot that is still going: (row, slot) pairs in, those still going out."""
        for row, slot in going:  # all threads are at work before the first one is waited for
            self._pools[slot].send(native[row : row + 1])
        still = []
        for row, slot in going:
            pictures, rewards, terminated, truncated, _ = self._pools[slot].recv()
            out.rewards[row] += rewards[0]
            out.terminated[row], out.truncated[row] = terminated[0], truncated[0]
            ended = bool(terminated[0] or truncated[0])
            if last or ended:
                self._pipe.into(pictures[0], out.frames[row])
            if not ended:
                still.append((row, slot))
        return still

    def close(self) -> None:
        self._pools = [None] * self.slots
        self._alive[:] = False


def _envpool() -> Any:
    """The module, or None where it is not installed."""
    try:
        import envpool
    except ImportError:
        return None
    return envpool
