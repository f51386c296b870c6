"""What an agent file says of its agent, beside the weights: strict JSON, which builds dataclasses and nothing else."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, cast

from frmdn.agent.agent import AgentConfig
from frmdn.agent.memory import MemoryConfig
from frmdn.agent.vision import VisionConfig
from frmdn.envs.measure import Measure
from frmdn.envs.options import WorldConfig
from frmdn.envs.spec import ActionCodec, EnvSpec

from ..files import is_a
from ..settings import from_json, to_json

if TYPE_CHECKING:
    import gymnasium

LARGEST_FRAME = 4096  # pixels a side


@dataclass(frozen=True)
class NamedWorld:
    """Builds the official environment of an id, once somebody plays it; acting alone never does.

    ValueError: Gymnasium is missing, does not know the id, or has another world under it than the agent was trained in.
    """

    id: str
    world: WorldConfig
    action: ActionCodec
    channels: int
    imports: tuple[str, ...] = ()  # modules that the user names; those in `world` are a file's, and not to be trusted

    def __call__(self, **options: Any) -> gymnasium.Env[Any, Any]:
        try:
            from frmdn.envs.catalogue import get_spec
        except ImportError as error:
            raise ValueError(
                f"{self.id} cannot be made here ({error}): pip install frmdn brings what it needs; frmdn.load acts "
                "without it"
            ) from None
        try:
            spec = get_spec(self.id, world=replace(self.world, imports=self.imports))
        except ValueError as error:
            unasked = [name for name in self.world.imports if name not in self.imports]
            if not unasked:
                raise
            raise ValueError(
                f"{error}. Its file names the modules {', '.join(unasked)[:100]}: if you trust them, add --import, or "
                "imports= in frmdn.load"
            ) from None
        if (spec.action, spec.channels) != (self.action, self.channels):
            raise ValueError(
                f"{self.id} is another world here than the agent was trained in (actions {spec.action} and "
                f"{spec.channels} channels, not {self.action} and {self.channels}): install the versions that its file "
                "names"
            )
        return spec.build(**options)


@dataclass(frozen=True)
class World:
    """An `EnvSpec` as JSON: all of it but what makes the environment, for which its id stands."""

    id: str
    settings: WorldConfig
    action: ActionCodec
    frame_size: int
    channels: int
    max_steps: int
    repeat: int
    rows: tuple[int, ...] | None = None
    height: int | None = None
    idle_reward: float | None = None
    painted: bool = False
    measures: tuple[Measure, ...] = ()
    about: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.frame_size <= LARGEST_FRAME:
            raise ValueError(f"frame_size must lie in 1..{LARGEST_FRAME}, not {self.frame_size}")
        if ":" in self.id:
            raise ValueError(f"id must be a plain one, without a module before it, not {self.id[:60]!r}")
        if any(len(pair) != 2 for pair in self.about):
            raise ValueError(f"about must be pairs of words, not {self.about}")
        _ = self.spec().pipe  # rows that are no range of the picture are refused now, not at the first frame

    @classmethod
    def of(cls, spec: EnvSpec) -> World:
        """The record of a world of pictures."""
        same = ("id", "action", "frame_size", "channels", "max_steps", "repeat", "rows", "height", "idle_reward")
        told = {name: getattr(spec, name) for name in (*same, "painted", "measures", "about")}
        return cls(settings=spec.world, **told)

    def spec(self, imports: tuple[str, ...] = ()) -> EnvSpec:
        """The description of the world, which `imports` register. It needs no Gymnasium before `make` is called."""
        return EnvSpec(
            id=self.id,
            action=self.action,
            build=NamedWorld(self.id, self.settings, self.action, self.channels, imports),
            frame_size=self.frame_size,
            channels=self.channels,
            rows=cast("tuple[int, int] | None", self.rows),  # FramePipe refuses other than two
            height=self.height,
            max_steps=self.max_steps,
            repeat=self.repeat,
            idle_reward=self.idle_reward,
            painted=self.painted,
            world=self.settings,
            measures=self.measures,
            about=tuple((pair[0], pair[1]) for pair in self.about),
        )


@dataclass(frozen=True)
class Header:
    """Everything of a trained agent that is no tensor."""

    world: World
    vision: VisionConfig
    memory: MemoryConfig
    agent: AgentConfig
    seed: int  # root of the run's random numbers
    episodes: int  # of its evaluation, done or not
    done_threshold: float | None  # how its dreams end, and reward
    reward: Literal["learned", "survival"]
    versions: dict  # of what wrote the file
    evaluation: dict | None = None  # the run's evaluation.json; None: not measured

    def __post_init__(self) -> None:
        if self.seed < 0 or self.episodes < 1:
            raise ValueError(f"seed must not be negative and episodes be at least 1, not {self.seed}, {self.episodes}")
        if self.done_threshold is not None and not 0 < self.done_threshold < 1:
            raise ValueError(f"done_threshold must lie between 0 and 1, or be null, not {self.done_threshold}")
        if not all(isinstance(version, str) for version in self.versions.values()):
            raise ValueError("versions must be words")
        if self.evaluation is not None:
            _check_evaluation(self.evaluation, "evaluation")
        frame, seen = (self.world.frame_size, self.world.channels), (self.vision.frame_size, self.vision.channels)
        if frame != seen:
            raise ValueError(f"world and vision disagree about frames: {frame} and {seen}")

    @property
    def text(self) -> str:
        """The header as one line of JSON."""
        return json.dumps(to_json(self), allow_nan=False)

    @classmethod
    def read(cls, text: str) -> Header:
        """The header of such a line; ValueError where it is no JSON, or holds a wrong, missing or unknown key."""
        try:
            return from_json(cls, json.loads(text, parse_constant=_refuse, parse_float=_finite))
        except (OverflowError, RecursionError):
            raise ValueError("its description is nested too deep, or holds a number that is too large") from None


def _check_evaluation(report: Any, where: str) -> None:
    """Raise ValueError unless a report, and those of its baselines, have the figures that people are shown."""
    found = report if isinstance(report, dict) else {}
    for key in ("mean", "std", "episodes"):
        if not is_a(found.get(key), float):
            raise ValueError(f"{where}.{key} must be a number, not {str(found.get(key))[:60]}")
    for key, count in (("ci95", 2), ("returns", None)):
        numbers = found.get(key)
        if not isinstance(numbers, list) or not all(is_a(each, float) for each in numbers):
            raise ValueError(f"{where}.{key} must be a list of numbers, not {str(numbers)[:60]}")
        if count not in (None, len(numbers)):
            raise ValueError(f"{where}.{key} must be a list of numbers, not {str(numbers)[:60]}")
    baselines = found.get("baselines", {})
    if not isinstance(baselines, dict):
        raise ValueError(f"{where}.baselines must be reports by name, not {str(baselines)[:60]}")
    for name, each in baselines.items():
        _check_evaluation(each, f"{where}.baselines.{name[:30]}")


def _refuse(word: str) -> float:
    raise ValueError(f"its description holds {word}")


def _finite(word: str) -> float:
    number = float(word)
    return number if math.isfinite(number) else _refuse(word[:20])
