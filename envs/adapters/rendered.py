"""Environments that show their state in numbers, seen as what they render."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from .pictures import as_picture
from .returned import Began, Stepped, refusal


class Rendered(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Observations are what the environment renders, u8[H,W,3]; it must have been made to render rgb_array."""

    def __init__(self, env: gymnasium.Env[Any, Any], name: str) -> None:
        super().__init__(env)
        self.name = name
        self.observation_space = gymnasium.spaces.Box(0, 255, (1, 1, 3), np.uint8)  # until the first picture is there
        if env.render_mode != "rgb_array":
            raise refusal(
                name, "it renders no rgb_array, which world.render needs: see its metadata and its render_mode"
            )

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Began:
        _, info = self.env.reset(seed=seed, options=options)
        picture = self._look()
        self.observation_space = gymnasium.spaces.Box(0, 255, picture.shape, np.uint8)
        return picture, info

    def step(self, action: Any) -> Stepped:
        _, reward, terminated, truncated, info = self.env.step(action)
        return self._look(), float(reward), terminated, truncated, info

    def _look(self) -> NDArray[np.uint8]:
        drawn = self.env.render()
        if not isinstance(drawn, np.ndarray):
            raise refusal(self.name, f"render() gives a {type(drawn).__name__}, but rgb_array is an array (H, W, 3)")
        return as_picture(drawn, 3, self.name)
