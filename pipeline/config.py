"""The configuration of a run: the frozen dataclasses of its parts, strict JSON both ways, and typed overrides."""

from __future__ import annotations

import difflib
import json
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from typing import Any, Literal, TypeVar

from frmdn.agent.agent import AgentConfig
from frmdn.agent.memory import MemoryConfig
from frmdn.agent.training import FitConfig
from frmdn.agent.vision import VisionConfig
from frmdn.controller.dreaming import DreamConfig
from frmdn.controller.evolution import SearchConfig
from frmdn.envs.catalogue import check_world, get_spec
from frmdn.envs.options import WorldConfig
from frmdn.rollouts.collect import CollectConfig

Record = TypeVar("Record")
LINKED = {"memory.latent": "vision.latent"}  # follows unless set by hand


@dataclass(frozen=True)
class FrameData:
    """How stored frames become batches for the vision."""

    batch: int = 128  # images
    validation: float = 0.05  # share of the episodes that are held out, 0 to 0.5

    def __post_init__(self) -> None:
        _check_data(self.batch, self.validation)


@dataclass(frozen=True)
class SequenceData:
    """How stored latents become batches for the memory."""

    batch: int = 32  # sequences
    length: int = 128  # transitions a sequence; shorter episodes are padded
    validation: float = 0.05  # share of the episodes that are held out, 0 to 0.5
    noise: float = 1.0  # of latents, in the vision's own deviations; 0: their means, which agents act on
    members: int = 1  # memories trained, from other initial weights on other batches: more are an ensemble to dream in

    def __post_init__(self) -> None:
        _check_data(self.batch, self.validation)
        for name in ("length", "members"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not self.noise >= 0:
            raise ValueError(f"noise must not be negative, not {self.noise}")


@dataclass(frozen=True)
class EvaluateConfig:
    """How the finished agent is measured, always on the official environment."""

    episodes: int = 16  # held-out seeds
    max_steps: int | None = None  # None: as long as the environment allows
    baselines: bool = False  # also evolve vision-only and untrained-memory controllers with the same search budget

    def __post_init__(self) -> None:
        if self.episodes < 1:
            raise ValueError(f"episodes must be at least 1, not {self.episodes}")
        if self.max_steps is not None and self.max_steps < 1:
            raise ValueError(f"max_steps must be at least 1, or null for the environment's own, not {self.max_steps}")


@dataclass(frozen=True)
class RoundsConfig:
    """How often to collect with the agent so far, train on what it met, and evolve again; docs/how-to/dreams.md."""

    count: int = 1  # rounds in all; the stages before `rounds` are the first
    episodes: int = 32  # that the agent plays in each further round
    parameter_noise: float = 0.1  # of an exploring agent: standard deviation, in root mean squares of its parameters
    action_noise: float = 0.2  # and of its actions, in half widths of the box; the chance of any action where discrete
    vision_steps: int = 0  # further training of the vision in each round; 0 keeps it, and all latents with it
    memory_steps: int | None = None  # of the memory in each further round; None: as in the first
    generations: int | None = None  # of the search in each further round; None: as in the first
    finalists: int = 1  # rounds whose agents, best on the validation seeds, meet once more; 1: the best one wins
    final_episodes: int = 48  # that each finalist plays, on further validation seeds
    number: int = 1  # which round a folder is of; set by frmdn itself

    def __post_init__(self) -> None:
        least = {"count": 1, "episodes": 1, "vision_steps": 0, "memory_steps": 1, "generations": 1, "number": 1}
        least |= {"finalists": 1, "final_episodes": 1}
        for name, low in least.items():
            value = getattr(self, name)
            if value is not None and value < low:
                raise ValueError(f"{name} must be at least {low}, not {value}")
        if not (self.parameter_noise >= 0 and 0 <= self.action_noise <= 1):
            raise ValueError(
                f"parameter_noise must not be negative and action_noise lie in 0..1, not {self.parameter_noise} and "
                f"{self.action_noise}"
            )


@dataclass(frozen=True)
class RunConfig:
    """Everything that the artefacts of a run depend on. Workers and addresses are not in it: they change nothing."""

    env: str  # official Gymnasium id
    seed: int  # root of every random number of the run
    collect: CollectConfig
    vision: VisionConfig
    vision_fit: FitConfig
    vision_data: FrameData
    memory: MemoryConfig
    memory_fit: FitConfig
    memory_data: SequenceData
    agent: AgentConfig
    search: SearchConfig
    evaluate: EvaluateConfig
    backend: Literal["auto", "envpool", "gymnasium"] = "auto"  # of collecting and evolving
    dream: DreamConfig = field(default_factory=DreamConfig)
    rounds: RoundsConfig = field(default_factory=RoundsConfig)
    world: WorldConfig = field(default_factory=WorldConfig)  # how the environment is played, wherever it is

    def __post_init__(self) -> None:
        if self.memory.latent != self.vision.latent:
            raise ValueError(
                f"memory.latent is {self.memory.latent}, but vision.latent is {self.vision.latent}: "
                "set both to one value, or set vision.latent alone"
            )
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, not {self.seed}")
        check_world(self.env, self.world)


def to_json(config: RunConfig) -> dict[str, Any]:
    """The configuration as plain JSON values."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(config), allow_nan=False))
    return plain


def from_json(value: Mapping[str, Any]) -> RunConfig:
    """The configuration of a JSON object; ValueError names a key that is unknown, missing or of the wrong type."""
    return _read(RunConfig, value, "")


def override(value: Mapping[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """The JSON configuration with settings such as `search.population=32` replaced.

    Raises ValueError where a setting has no `=`, its key is unknown (naming the nearest ones), or its type is wrong.
    """
    result = to_json(from_json(value))  # names all settings: an older folder lacks those that are younger than itself
    flat = flatten(result)
    chosen: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise ValueError(f"--set {setting!r} has no '=': write --set section.key=value, e.g. search.population=32")
        if key not in flat:
            raise ValueError(f"--set {key}: no such setting{_near(key, list(flat))}")
        chosen[key] = _parse(text)
    for follower, leader in LINKED.items():
        if leader in chosen and follower not in chosen:
            chosen[follower] = chosen[leader]
    for key, item in chosen.items():
        section, _, name = key.rpartition(".")
        (result[section] if section else result)[name] = item
    if "world.actions" in chosen and "memory.action" not in chosen:
        world = _read(WorldConfig, result["world"], "world")
        result["memory"]["action"] = get_spec(result["env"], world=world).action.size
    return to_json(from_json(result))


def flatten(value: Mapping[str, Any]) -> dict[str, Any]:
    """{"search": {"sigma": 0.1}} -> {"search.sigma": 0.1}."""
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat |= {f"{key}.{name}": inner for name, inner in item.items()} if isinstance(item, Mapping) else {key: item}
    return flat


def differences(stored: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """One text for each key that differs, e.g. `search.sigma: 0.1 there, 0.2 asked for`."""
    old, new = flatten(stored), flatten(asked)
    texts = []
    for key in sorted(old.keys() | new.keys()):
        if old.get(key, MISSING) != new.get(key, MISSING):
            texts.append(f"{key}: {_show(old, key)} there, {_show(new, key)} asked for")
    return texts


def _show(flat: Mapping[str, Any], key: str) -> str:
    return json.dumps(flat[key]) if key in flat else "absent"


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        words = {"none": None, "true": True, "false": False}
        return words.get(text.lower(), text)


def _read(kind: type[Record], value: Any, where: str) -> Record:
    """Build a dataclass from a JSON object, checking every key and type on the way."""
    if not isinstance(value, Mapping):
        raise ValueError(f"{where or 'the configuration'} must be an object, not {value!r}")
    hints, prefix = typing.get_type_hints(kind), f"{where}." if where else ""
    known = {item.name: item for item in fields(kind)}  # type: ignore[arg-type]
    for key in value:
        if key not in known:
            raise ValueError(f"{prefix}{key}: no such setting{_near(key, list(known), prefix)}")
    arguments = {}
    for name, known_field in known.items():
        if name in value:
            arguments[name] = _typed(hints[name], value[name], prefix + name)
        elif known_field.default is MISSING and known_field.default_factory is MISSING:
            raise ValueError(f"{prefix}{name} is missing: give it a value")
    try:
        return kind(**arguments)
    except ValueError as error:
        raise ValueError(f"{where}: {error}" if where else str(error)) from None


def _typed(hint: Any, value: Any, where: str) -> Any:
    if is_dataclass(hint):
        return _read(typing.cast(type, hint), value, where)
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        if value not in options:
            raise ValueError(f"{where} must be one of {', '.join(map(str, options))}, not {value!r}")
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in options:
            return None
        return _typed(next(option for option in options if option is not type(None)), value, where)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ValueError(f"{where} must be a list, not {value!r}")
        return tuple(_typed(options[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    return _scalar(hint, value, where)


def _scalar(hint: type, value: Any, where: str) -> Any:
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise ValueError(f"{where} must be of type {hint.__name__}, not {value!r} ({type(value).__name__})")
    return value


def _near(key: str, known: Sequence[str], prefix: str = "") -> str:
    """`; did you mean a, b?`, from names alike or from the same name in another section."""
    near = difflib.get_close_matches(key, known, n=3, cutoff=0.6)
    near += [name for name in known if name.rpartition(".")[2] == key.rpartition(".")[2] and name not in near]
    return f"; did you mean {', '.join(prefix + name for name in near[:3])}?" if near else ""


def _check_data(batch: int, validation: float) -> None:
    if batch < 1:
        raise ValueError(f"batch must be at least 1, not {batch}")
    if not 0 <= validation <= 0.5:
        raise ValueError(f"validation must be a share from 0 to 0.5, not {validation}")
