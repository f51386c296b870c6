"""A deterministic spy: frames that name their seed and step, rewards that name their action.

With it a test proves that a pipe drops, reorders and mixes nothing. It can also fail on purpose.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import gymnasium
import numpy as np

from ..frames import Frames
from ..spec import ActionCodec, EnvSpec

CODE = 6  # bytes that name a frame: four of the seed, two of the step


@dataclass(frozen=True)
class Failure:
    """What goes wrong on purpose, in episodes of `seed` (None: of every seed), when step `step` (from 0) is taken."""

    kind: str  # "raise" a RuntimeError | "kill" this process with SIGKILL | "sleep" for `seconds`
    step: int = 0
    seed: int | None = None
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in ("raise", "kill", "sleep"):
            raise ValueError(f"kind must be raise, kill or sleep, not {self.kind!r}")


class CountingEnv(gymnasium.Env[Frames, Any]):
    """Episodes of `length` steps; frame t of seed s can be read back as (s, t) by `read_frame`.

    The frame is cut into six horizontal bands of one grey each, so it survives being stored, but not being resized.
    Reward t is t + 0.5 * (first number of a Box action, or the Discrete action): a wrong order or action changes it.
    `terminates`: whether the end after `length` steps is a termination or a truncation.
    """

    def __init__(
        self,
        length: int = 10,
        *,
        discrete: int = 0,
        terminates: bool = True,
        size: int = 64,
        failure: Failure | None = None,
        render_mode: str | None = None,
    ) -> None:
        if not 1 <= length < 2**16:
            raise ValueError(f"length must lie in 1..{2**16 - 1}, which two bytes can count, not {length}")
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": 10}
        self.length, self.terminates, self.failure, self.render_mode = length, terminates, failure, render_mode
        self.observation_space = gymnasium.spaces.Box(0, 255, (size, size, 3), np.uint8)
        self.action_space = (
            gymnasium.spaces.Discrete(discrete) if discrete else gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
        )
        self._seed, self._step = 0, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Frames, dict[str, Any]]:
        super().reset(seed=seed)
        self._seed = int(self.np_random.integers(2**31)) if seed is None else seed
        self._step = 0
        return self._frame(), {"steps": 0}

    def step(self, action: Any) -> tuple[Frames, float, bool, bool, dict[str, Any]]:
        if self._step >= self.length:
            raise RuntimeError(f"step after the end: this episode has {self.length} steps")
        self._fail()
        first = float(action if isinstance(self.action_space, gymnasium.spaces.Discrete) else action[0])
        reward = self._step + 0.5 * first
        self._step += 1
        ended = self._step == self.length
        ends = ended and self.terminates, ended and not self.terminates
        return self._frame(), reward, *ends, {"steps": self._step}

    def render(self) -> Frames:
        return self._frame()

    def _fail(self) -> None:
        plan = self.failure
        if plan is None or plan.step != self._step or plan.seed not in (None, self._seed):
            return
        if plan.kind == "sleep":
            time.sleep(plan.seconds)
        elif plan.kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        else:
            raise RuntimeError(f"CountingEnv fails on purpose at step {self._step} of seed {self._seed}")

    def _frame(self) -> Frames:
        code = self._seed.to_bytes(4, "big") + self._step.to_bytes(2, "big")
        size = self.observation_space.shape[0]
        rows = np.frombuffer(code, np.uint8)[np.arange(size) * CODE // size]
        return np.ascontiguousarray(np.broadcast_to(rows[:, None, None], (size, size, 3)))


def read_frame(frame: Frames) -> tuple[int, int]:
    """(seed, step) of a frame u8[S,S,3] of the spy. Raises ValueError where its pixels contradict one another."""
    size = len(frame)
    bands = np.arange(size) * CODE // size
    code = frame[np.searchsorted(bands, np.arange(CODE)), 0, 0]
    if (frame != code[bands][:, None, None]).any():
        raise ValueError("not a frame of CountingEnv: its pixels contradict one another")
    return int.from_bytes(code[:4].tobytes(), "big"), int.from_bytes(code[4:].tobytes(), "big")


def build_counting(
    *, max_episode_steps: int, render_mode: str | None = None, **settings: Any
) -> gymnasium.Env[Any, Any]:
    env = CountingEnv(render_mode=render_mode, **settings)
    return gymnasium.wrappers.TimeLimit(env, max_episode_steps) if max_episode_steps < env.length else env


def counting_spec(
    length: int = 10,
    *,
    discrete: int = 0,
    terminates: bool = True,
    frame_size: int = 64,
    failure: Failure | None = None,
) -> EnvSpec:
    """The spy as an EnvSpec; `discrete` = n makes its actions Discrete(n) in place of a Box of two numbers."""
    settings: dict[str, Any] = {"length": length, "discrete": discrete, "terminates": terminates, "size": frame_size}
    env = CountingEnv(**settings)
    return EnvSpec(
        "Counting-v0",
        ActionCodec.from_space(env.action_space),
        partial(build_counting, failure=failure, **settings),
        frame_size=frame_size,
        max_steps=length,
    )
