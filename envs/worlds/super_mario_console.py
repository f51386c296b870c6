"""The emulator with Super Mario Bros in it: both generations of gym-super-mario-bros, their traps cured.

7.4 (with nes-py 8.2 and gym) is for Python 3.11 and 3.12, 9.1 (with nes-py 9.0) for 3.13 and later. What differs
between them ends here; the game itself is the same, frame by frame.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import warnings
from functools import cache
from typing import Any, NamedTuple, NoReturn

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import MissingExtra
from ..frames import Frames
from . import emulator

PACKAGES = ("gym-super-mario-bros", "nes-py")
Target = tuple[int, int] | None  # (world, stage); None: the whole game, with its three lives


class Status(NamedTuple):
    """What the game's memory says after a frame."""

    x: int  # pixels from the left edge of the area
    time: int  # the game's clock, counting down
    world: int
    stage: int
    area: int
    life: int
    score: int
    coins: int
    flag: bool  # the flag, or the axe behind Bowser, is reached
    dying: bool


class Console:
    """One emulator that plays one stage, or the whole game. It lives as long as it is used: `reset` is a restored copy.

    Pictures are copies: the emulator draws into one screen, backwards in its colours. Not to be pickled or copied,
    because a copy would share the emulator's memory and free it twice.

    Args:
        target: (world, stage), or None for the whole game.
        plain: play on the package's own build even where there is a faster one (`emulator`).
    """

    def __init__(self, target: Target, plain: bool = False) -> None:
        self._game: Any = _game_class(plain)(target)
        red_green_blue = self._game.screen  # u8[240,256,3], a view; its colours run backwards through the memory
        assert red_green_blue.strides[2] == -1, "this emulator keeps its screen in another way"
        blue = red_green_blue[:, :, ::-1]
        shape, strides = (*blue.shape[:2], 4), blue.strides
        self._screen = np.lib.stride_tricks.as_strided(blue, shape, strides)  # blue, green, red, unused

    def reset(self) -> Status:
        """Begin again, where the stage has just begun."""
        game = self._open()
        game.reset()
        return _status(game._get_info(), game)

    def press(self, buttons: int) -> tuple[Status, float, bool]:
        """One frame with these buttons held (one bit each): the status, the package's own reward, and whether it ends.

        Raises ValueError after the end of an episode: the emulator must be reset first.
        """
        game = self._open()
        _, reward, *_, info = game.step(buttons)
        return _status(info, game), float(reward), bool(game.done)

    def picture(self) -> Frames:
        """A copy of the screen, u8[240,256,3] in red, green, blue."""
        self._open()
        return np.asarray(cv2.cvtColor(self._screen, cv2.COLOR_BGRA2RGB), np.uint8)

    def memory(self) -> NDArray[np.uint8]:
        """A copy of the game's memory, u8[2048]."""
        return np.array(self._open().ram, np.uint8)

    def close(self) -> None:
        """Let the emulator go; a second call does nothing."""
        if self._game is not None:
            game, self._game = self._game, None
            game.close()

    def __del__(self) -> None:
        if getattr(self, "_game", None) is not None:  # 7.4 does not free its emulator by itself
            self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a running emulator cannot be pickled: send the EnvSpec, and make the game where it is played")

    def _open(self) -> Any:
        if self._game is None:
            raise ValueError("this console is closed: make another one")
        return self._game


def package() -> str:
    """Which generation plays, e.g. "gym-super-mario-bros 7.4.0, nes-py 8.2.1"; "-" for what is not installed."""
    return ", ".join(f"{name} {emulator.version(name) or '-'}" for name in PACKAGES)


def _status(info: dict[str, Any], game: Any) -> Status:
    """`info` was read before the package pushed the game on to where Mario can move again; so are the others."""
    return Status(
        x=int(info["x_pos"]),
        time=int(info["time"]),
        world=int(info["world"]),
        stage=int(info["stage"]),
        area=int(info["area"]),
        life=int(info["life"]),
        score=int(info["score"]),
        coins=int(info["coins"]),
        flag=bool(info["flag_get"]),
        dying=bool(info["death"]),
    )


@cache
def _game_class(plain: bool) -> Any:
    """A class whose instances are games of one target, whichever generation is installed."""
    module, nes = _import("gym_super_mario_bros.smb_env"), _import("nes_py.nes_env")
    if hasattr(nes, "_LIB"):
        base, library, faster = module.SuperMarioBrosEnv, nes._LIB, None if plain else emulator.load(nes._LIB)
        if faster is not None:
            base, library = emulator.behind(base, faster), faster
        return _first_generation(base, library, _import("gym_super_mario_bros._roms"))
    return lambda target: module.SuperMarioBrosEnv(target=target)


def _first_generation(base: Any, library: Any, roms: Any) -> Any:
    """7.4 on NumPy 2, where bytes no longer grow into integers: a byte read from the game's memory is an int here."""

    class Memory(np.ndarray[Any, Any]):
        def __getitem__(self, key: Any) -> Any:
            value = super().__getitem__(key)
            return int(value) if isinstance(value, np.generic) else value

    class Game(base):
        def __init__(self, target: Target) -> None:
            # As the package's own constructors, without its check of the cartridge's header, which overflows.
            self._rom_path = roms.rom_path(False, "vanilla")
            self._env = library.Initialize(self._rom_path)
            self.np_random, self.viewer, self._has_backup, self.done = np.random.RandomState(0), None, False, True
            self.controllers = [self._controller_buffer(port) for port in range(2)]
            self.screen, self.ram = self._screen_buffer(), self._ram_buffer().view(Memory)
            self._target_world, self._target_stage, self._target_area = roms.decode_target(target, False)
            self._time_last = self._x_position_last = 0
            self.reset()
            self._skip_start_screen()
            self._backup()

        def _get_info(self) -> dict[str, Any]:
            return {**super()._get_info(), "area": self._area, "death": self._is_dying or self._is_dead}

    return Game


def _import(name: str) -> Any:
    """A module of the package. The gym behind 7.4 complains, and changes warning filters and the environment."""
    before = dict(os.environ)
    try:
        with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
            return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtra("gym-super-mario-bros", "mario", "Super Mario Bros") from error
    finally:
        for changed in [key for key in os.environ if os.environ[key] != before.get(key)]:
            if changed in before:
                os.environ[changed] = before[changed]
            else:
                del os.environ[changed]
