"""The configuration of a run: the frozen dataclasses of its parts, and what follows what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from frmdn.agent.agent import AgentConfig
from frmdn.agent.memory import MemoryConfig
from frmdn.agent.training import FitConfig
from frmdn.agent.vision import VisionConfig
from frmdn.controller.dreaming import DreamConfig
from frmdn.controller.evolution import SearchConfig
from frmdn.envs.catalogue import check_world, get_spec, usual
from frmdn.envs.options import SEEN, WorldConfig
from frmdn.envs.recorded import RECORDED, Recording
from frmdn.envs.spec import EnvSpec
from frmdn.rollouts.collect import CollectConfig

from . import settings
from .settings import to_json


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

    env: str  # Gymnasium id; "recorded": there is none, only recordings of it
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
    dream: DreamConfig = field(default_factory=DreamConfig)
    rounds: RoundsConfig = field(default_factory=RoundsConfig)
    world: WorldConfig = field(default_factory=WorldConfig)  # how the environment is played, wherever it is
    recording: Recording | None = None  # what was imported in place of collecting; written by frmdn import

    def __post_init__(self) -> None:
        if self.memory.latent != self.vision.latent:
            raise ValueError(
                f"memory.latent is {self.memory.latent}, but vision.latent is {self.vision.latent}: "
                "set both to one value, or set vision.latent alone"
            )
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, not {self.seed}")
        check_world(self.env, self.world)
        self._check_recording()

    def _check_recording(self) -> None:
        recording = self.recording
        if recording is None:
            if self.env == RECORDED:
                raise ValueError(f"env is {RECORDED!r}, but there is no recording: make one by frmdn import")
            return
        if (self.vision.frame_size, self.vision.channels) != (recording.frame_size, recording.channels):
            raise ValueError(
                f"vision.frame_size is {self.vision.frame_size} and vision.channels {self.vision.channels}, but the "
                f"imported frames have {recording.frame_size} and {recording.channels}: import again with that --size"
            )
        if self.env == RECORDED and self.rounds.count > 1:
            raise ValueError(f"rounds.count is {self.rounds.count}, but recordings have nothing to play: name an --env")

    @property
    def spec(self) -> EnvSpec:
        """The world of the run: its environment, or what was recorded of one."""
        if self.env == RECORDED and self.recording is not None:
            return self.recording.spec(self.collect.max_steps)
        return get_spec(self.env, world=self.world)


def from_json(value: Mapping[str, Any]) -> RunConfig:
    """The configuration of a JSON object; ValueError names a key that is unknown, missing or of the wrong type."""
    return settings.from_json(RunConfig, value)


def override(value: Mapping[str, Any], words: Sequence[str]) -> dict[str, Any]:
    """The JSON configuration with settings such as `search.population=32` replaced, and with what follows them.

    Raises ValueError where a word has no `=`, its key is unknown (naming the nearest ones), or its type is wrong.
    """
    return to_json(settings.override(from_json(value), words, LINKS))


@dataclass(frozen=True)
class _Asked:
    world: WorldConfig


def asked_world(env: str, words: Sequence[str]) -> WorldConfig | None:
    """How to find and see the world of this id, from those of the words that say it: before anything else is known.

    None where nothing is said of it. Raises ValueError as `override` does.
    """
    own = [f"world.{name}" for name in ("imports", *SEEN)]
    chosen = [word for word in words if word.partition("=")[0] in own]
    return settings.override(_Asked(usual(env)), chosen).world if chosen else None


def named_world(env: str, words: Sequence[str] = ()) -> EnvSpec:
    """The environment of an id, maybe behind the module that registers it, seen as settings `world.KEY=VALUE` say."""
    return get_spec(env, world=asked_world(env, words))


def _spec(plain: Mapping[str, Any]) -> EnvSpec:
    if plain["env"] == RECORDED:
        return from_json(plain).spec
    return get_spec(plain["env"], world=settings.from_json(WorldConfig, plain["world"], "world"))


LINKS: settings.Links = {
    "memory.latent": ("vision.latent", lambda plain: plain["vision"]["latent"]),
    "memory.action": ("world.actions", lambda plain: _spec(plain).action.size),
    "vision.channels": (tuple(f"world.{name}" for name in SEEN), lambda plain: _spec(plain).channels),
}


def _check_data(batch: int, validation: float) -> None:
    if batch < 1:
        raise ValueError(f"batch must be at least 1, not {batch}")
    if not 0 <= validation <= 0.5:
        raise ValueError(f"validation must be a share from 0 to 0.5, not {validation}")
