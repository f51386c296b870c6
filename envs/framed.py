"""A Gymnasium environment that shows our frames, and repeats actions in between."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec as GymnasiumSpec

from .adapters.pictures import as_picture
from .adapters.returned import began, called, stepped
from .frames import FramePipe, Frames


class FrameEnv(gymnasium.Env[Frames, Any]):
    """A Gymnasium environment whose observation is our frame u8[S,S,C]; actions stay those of the inner environment.

    One step applies the action `repeat` times (fewer when the episode ends) and adds up the rewards. With the chance
    `sticky` it applies the action of the step before instead, which the episode's seed decides. With `pool` the frame
    is the brighter of the last two pictures of a step, pixel by pixel: a flicker in every second one does not hide.
    A first reset without a seed uses `seed`; later ones go on from there, as Gymnasium does.
    What the inner environment returns is converted where that is clear: a reward of one number in any shape, RGBA, grey
    where colours are declared, whole numbers of any type. Else ValueError names it and the remedy.
    Not a gymnasium.Wrapper, because it is what an `EnvSpec` calls the environment: Gymnasium's checker and people who
    ask for `unwrapped` must meet the frames.
    """

    def __init__(
        self,
        inner: gymnasium.Env[Any, Any],
        pipe: FramePipe,
        *,
        repeat: int = 1,
        sticky: float = 0.0,
        pool: bool = False,
        seed: int = 0,
        spec: GymnasiumSpec | None = None,
    ) -> None:
        self.inner, self.pipe, self.repeat = inner, pipe, repeat
        self.sticky, self.pool = sticky, pool
        self.spec = spec
        self.metadata = inner.metadata
        self.render_mode = inner.render_mode
        self.action_space = inner.action_space
        self.observation_space = gymnasium.spaces.Box(0, 255, (pipe.size, pipe.size, pipe.channels), np.uint8)
        self._first_seed: int | None = seed
        self._last: Any = None  # the action of the step before
        self._picture: Frames | None = None  # the last picture, where pictures are pooled
        self._name = called(inner) if spec is None else spec.id

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Frames, dict[str, Any]]:
        seed = self._first_seed if seed is None else seed
        self._first_seed = None
        super().reset(seed=seed)
        shown, info = began(self.inner.reset(seed=seed, options=options), self._name)
        picture = as_picture(shown, self.pipe.channels, self._name)
        self._last, self._picture = None, picture.copy() if self.pool else None
        return self.pipe(picture), info

    def step(self, action: Any) -> tuple[Frames, float, bool, bool, dict[str, Any]]:
        total, terminated, truncated = 0.0, False, False
        if self.sticky and self._last is not None and self.np_random.random() < self.sticky:
            action = self._last
        self._last = action
        channels, name = self.pipe.channels, self._name
        before: Frames | None = None
        last = self._picture
        for _ in range(self.repeat):
            shown, reward, terminated, truncated, info = stepped(self.inner.step(action), name)
            total += reward
            if self.pool:  # copies: some worlds draw into one screen for ever
                before, last = last, as_picture(shown, channels, name).copy()
            if terminated or truncated:
                break
        self._picture = last
        if before is None or last is None:
            return self.pipe(as_picture(shown, channels, name)), total, terminated, truncated, info
        return self.pipe(np.maximum(last, before)), total, terminated, truncated, info

    def render(self) -> Any:
        return self.inner.render()

    def close(self) -> None:
        self.inner.close()
