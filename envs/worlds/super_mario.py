"""Super Mario Bros by stage (`SuperMarioBros-1-1-v0`) or as the whole game (`SuperMarioBros-v0`).

The package that brings the game brings its ROM too; this project does not.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from typing import Any

import gymnasium
import numpy as np

from ..frames import Frames
from ..measure import Measure
from ..options import SEEN, WorldConfig
from ..spec import ActionCodec, EnvSpec
from . import emulator
from .super_mario_console import Console, Status, Target, package

NAME = "SuperMarioBros"
ID = re.compile(rf"{NAME}(?:-([1-8])-([1-4]))?-v0")
PICTURE = (240, 256, 3)
ROWS = (32, 224)  # above: the score; below: half of the ground. 192 x 256 pixels become 64 x 64 by whole numbers
BUTTONS = {"A": 1, "B": 2, "up": 16, "down": 32, "left": 64, "right": 128}
RIGHT = ("wait", "right", "right A", "right B", "right A B")
SIMPLE = (*RIGHT, "A", "left")
ACTIONS = {  # the sets that the package names RIGHT_ONLY, SIMPLE_MOVEMENT and COMPLEX_MOVEMENT
    "right": RIGHT,
    "simple": SIMPLE,
    "complex": (*SIMPLE, "left A", "left B", "left A B", "down", "up"),
}
REWARDS = ("classic", "package")
DEFAULTS = WorldConfig(repeat=4, sticky=0.25, noops=30, stuck=100, actions="simple", reward="classic")
STAGE_STEPS, GAME_STEPS = 2000, 20_000  # decisions, of four frames each; a stage's clock allows at most 2400
FURTHEST = 5  # pixels that Mario can move in a frame; more is a pipe, or a new life
MEASURES = (
    Measure("completion_rate", "completed", "rate", "share of the episodes that reached the end"),
    Measure("distance", "distance", "mean", "furthest place reached, pixels from the start of the stage"),
    Measure("deaths", "deaths", "sum", "lives lost"),
)


def matches(id: str) -> bool:
    """Whether the id asks for this game, rightly or wrongly."""
    return id.startswith(NAME)


def super_mario_spec(id: str, world: WorldConfig | None = None) -> EnvSpec:
    """The description of a stage or of the whole game; what `world` leaves open is as in `DEFAULTS`."""
    found = ID.fullmatch(id)
    if found is None:
        raise ValueError(f"{id} is no stage: write {NAME}-<world 1 to 8>-<stage 1 to 4>-v0, or {NAME}-v0 for all")
    target = (int(found[1]), int(found[2])) if found[1] else None
    world = world or DEFAULTS
    world.refuse(SEEN, id)
    world = complete(world, target)
    assert world.actions and world.reward and world.repeat and world.max_steps
    if world.actions not in ACTIONS:
        raise ValueError(f"actions must be one of {', '.join(ACTIONS)}, not {world.actions!r}")
    if world.reward not in REWARDS:
        raise ValueError(f"reward must be one of {', '.join(REWARDS)}, not {world.reward!r}")
    names = ACTIONS[world.actions]
    return EnvSpec(
        id=id,
        action=ActionCodec("discrete", n=len(names), names=names),
        build=partial(build_super_mario, target, world),
        rows=ROWS,
        height=PICTURE[0],
        max_steps=world.max_steps,
        repeat=world.repeat,
        world=world,
        measures=MEASURES,
        references=(("hold_right", names.index("right")), ("hold_right_and_b", names.index("right B"))),
        about=(("package", package()), ("reward", world.reward), ("actions", world.actions)),
        hint=emulator.hint(),
    )


def complete(world: WorldConfig, target: Target) -> WorldConfig:
    """`world` with the game's own choices where it leaves one open."""
    limit = STAGE_STEPS if target else GAME_STEPS
    own = {**{name: getattr(DEFAULTS, name) for name in vars(world)}, "max_steps": limit}
    return replace(world, **{name: own[name] for name, value in vars(world).items() if value is None})


def build_super_mario(
    target: Target, world: WorldConfig, *, max_episode_steps: int, render_mode: str | None = None, plain: bool = False
) -> gymnasium.Env[Any, Any]:
    """The game behind the interface that `EnvSpec` asks for. MissingExtra where the package is not installed."""
    return gymnasium.wrappers.TimeLimit(SuperMario(target, world, render_mode, plain), max_episode_steps)


class SuperMario(gymnasium.Env[Frames, int]):
    """Pictures u8[240,256,3] of one frame each; the action is the number of a combination of buttons.

    An episode depends on its seed (which draws its idle start) and its actions alone, not on the episodes before it.
    A stage ends with Mario's life or at the flag, the whole game with its last life. `info` has what `MEASURES` reads.

    Args:
        target: (world, stage), or None for the whole game.
        world: with all its choices made; `stuck` counts decisions of `repeat` frames.
        plain: play on the package's own build of the emulator, whether or not there is a faster one.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 60}  # noqa: RUF012  (Gymnasium's own class attribute)
    observation_space = gymnasium.spaces.Box(0, 255, PICTURE, np.uint8)

    def __init__(self, target: Target, world: WorldConfig, render_mode: str | None = None, plain: bool = False) -> None:
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode must be None or rgb_array, not {render_mode!r}")
        world = complete(world, target)
        self.render_mode, self.target, self.world = render_mode, target, world
        self._buttons = [held(name) for name in ACTIONS[str(world.actions)]]
        self.action_space = gymnasium.spaces.Discrete(len(self._buttons))
        self._patience = int(world.stuck or 0) * int(world.repeat or 1)  # frames; 0: without end
        self._console = Console(target, plain)
        self._journey: Journey | None = None  # None: an episode must begin first

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Frames, dict[str, Any]]:
        super().reset(seed=seed)
        status = self._console.reset()
        for _ in range(int(self.np_random.integers(int(self.world.noops or 0) + 1))):
            status, _, _ = self._console.press(0)
        self._journey = Journey(status)
        return self._console.picture(), self._info()

    def step(self, action: int) -> tuple[Frames, float, bool, bool, dict[str, Any]]:
        if self._journey is None:
            raise gymnasium.error.ResetNeeded("this episode is over, or none has begun: call reset before step")
        if not self.action_space.contains(action):
            raise ValueError(f"action must be a whole number from 0 to {len(self._buttons) - 1}, not {action!r}")
        before = self._journey.status
        status, own, terminated = self._console.press(self._buttons[int(action)])
        reward = classic_reward(before, status) if self.world.reward == "classic" else own
        self._journey.follow(status)
        truncated = not terminated and 0 < self._patience <= self._journey.waited
        picture, info = self._console.picture(), self._info()
        if terminated:
            self._journey = None
        return picture, reward, terminated, truncated, info

    def render(self) -> Frames:
        return self._console.picture()

    def close(self) -> None:
        self._console.close()
        self._journey = None

    def __reduce__(self) -> Any:
        return self._console.__reduce__()  # a shallow copy would share the emulator

    def _info(self) -> dict[str, Any]:
        assert self._journey is not None
        return {**self._journey.status._asdict(), **self._journey.measures(self.target)}


class Journey:
    """How far an episode has come; a stage's places count once, wherever a pipe leads in between."""

    def __init__(self, status: Status) -> None:
        self.status = status
        self.waited = 0  # frames since the last step forward
        self.deaths = 0
        self.flags: set[tuple[int, int]] = set()  # (world, stage) whose end was reached
        self._best: dict[tuple[int, int], int] = {}  # furthest x by (world, stage)
        self._areas: dict[tuple[int, int, int], int] = {}  # furthest x by (world, stage, area)
        self._note(status)

    def follow(self, status: Status) -> None:
        """Take note of the next frame."""
        self.deaths += status.dying and not self.status.dying
        self.status = status
        self.waited += 1
        self._note(status)

    def measures(self, target: Target) -> dict[str, float]:
        completed = (target or (8, 4)) in self.flags
        return {
            "completed": float(completed),
            "distance": float(sum(self._best.values())),
            "deaths": float(self.deaths),
        }

    def _note(self, status: Status) -> None:
        if status.flag:
            self.flags.add((status.world, status.stage))
        if status.dying:
            return
        stage, area = (status.world, status.stage), (status.world, status.stage, status.area)
        if status.x > self._areas.get(area, -1):
            self._areas[area], self.waited = status.x, 0
        self._best[stage] = max(self._best.get(stage, 0), status.x)


def classic_reward(before: Status, now: Status) -> float:
    """The reward of the package's generations up to 7: pixels to the right, minus the clock, minus 25 for a death.

    Steps of more than five pixels (pipes, new lives) and clocks set anew count 0; the sum is cut to -15..15 a frame.
    """
    step, clock = now.x - before.x, now.time - before.time
    total = (step if abs(step) <= FURTHEST else 0) + min(clock, 0) - (25 if now.dying else 0)
    return float(min(max(total, -15), 15))


def held(name: str) -> int:
    """The buttons of an action, e.g. "right A", as the console takes them: one bit each."""
    return 0 if name == "wait" else sum(BUTTONS[button] for button in name.split())
