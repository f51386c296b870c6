"""VizdoomTakeCover-v1, as in World Models (Ha and Schmidhuber 2018, section 4): dodge fireballs, stay alive."""

from __future__ import annotations

import contextlib
import importlib
import math
import os
import shutil
import tempfile
import weakref
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from ..errors import MissingExtra
from ..frames import Frames
from ..spec import ActionCodec, EnvSpec

ID = "VizdoomTakeCover-v1"
LIMIT = 2100  # tics of the game, of which 35 are a second: the published length of an episode
PICTURE = (240, 320, 3)
THIRD = 1 / 3  # of the way from rest to either end, beyond which a button is held
STAY, RIGHT, LEFT = 0, 1, 2  # the game's own names of its actions


def take_cover_spec(repeat: int = 1) -> EnvSpec:
    """One number steers: below -1/3 left, above 1/3 right, between them stay. One tic alive is worth 1."""
    return EnvSpec(
        id=ID,
        action=ActionCodec("box", low=(-1.0,), high=(1.0,), rest=(0.0,)),
        build=build_take_cover,
        rows=(88, 184),  # ceiling above, and below floor that only fireballs already upon us cross
        height=PICTURE[0],
        max_steps=math.ceil(LIMIT / repeat),
        repeat=repeat,
    )


def build_take_cover(*, max_episode_steps: int, render_mode: str | None = None) -> gymnasium.Env[Any, Any]:
    """The game behind the interface that `EnvSpec` asks for. MissingExtra where the package is not installed."""
    return gymnasium.wrappers.TimeLimit(TakeCover(render_mode), max_episode_steps)


class TakeCover(gymnasium.Env[Frames, NDArray[np.float32]]):
    """The pictures u8[240,320,3] of the game, steered by one number f32[1] in -1..1.

    An episode depends on its seed and its actions alone, not on the episodes before it. Not to be pickled: the game
    runs in a process of its own, which `close` ends.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 35}  # noqa: RUF012  (Gymnasium's own class attribute)
    observation_space = gymnasium.spaces.Box(0, 255, PICTURE, np.uint8)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, render_mode: str | None = None) -> None:
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode must be None or rgb_array, not {render_mode!r}")
        self.render_mode = render_mode
        folder = tempfile.mkdtemp(prefix="frmdn-doom-")
        self._sweep = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self._game: Any = _start(folder)
        self._picture = np.zeros(PICTURE, np.uint8)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Frames, dict[str, Any]]:
        super().reset(seed=seed)
        game = self._game.unwrapped
        game.reset(seed=int(self.np_random.integers(2**31)))
        self._picture = game.state.screen_buffer.copy()
        return self._picture, {}

    def step(self, action: NDArray[np.float32]) -> tuple[Frames, float, bool, bool, dict[str, Any]]:
        steer = float(np.asarray(action).reshape(()))
        if math.isnan(steer):
            raise ValueError("the action is NaN: check the policy that made it")
        button = LEFT if steer < -THIRD else RIGHT if steer > THIRD else STAY
        seen, reward, terminated, _, _ = self._game.unwrapped.step(button)
        if not terminated:  # the game shows nothing of its last tic; a black frame would be a scene of its own
            self._picture = seen["screen"].copy()
        return self._picture, float(reward), bool(terminated), False, {}

    def render(self) -> Frames:
        return self._picture

    def close(self) -> None:
        if self._game is not None:
            self._game.close()
            self._game = None
            self._sweep()

    def __reduce__(self) -> Any:
        raise TypeError("a running game cannot be pickled: send the EnvSpec, and make the game where it is played")


def _start(folder: str) -> Any:
    """The game, running in `folder`: it leaves its settings and a folder of its own wherever it is started."""
    try:
        importlib.import_module("vizdoom.gymnasium_wrapper")  # registers the id
    except ImportError as error:
        raise MissingExtra("ViZDoom", "doom", ID) from error
    env = gymnasium.make(ID, disable_env_checker=True)
    game = env.unwrapped.game
    game.set_doom_config_path(os.devnull)  # it would write its settings there when it ends
    with contextlib.chdir(folder):
        game.init()
    return env
