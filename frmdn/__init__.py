"""World-model agents: a vision sees, a memory expects, a controller acts; and the densities behind them.

What stands here is the public interface. Names are imported when they are first used, so `import frmdn` is light.

>>> run = frmdn.open("runs/tiny")  # a folder that `frmdn run --out runs/tiny` made
>>> player, env = run.player(), run.spec.make()
>>> frame, _ = env.reset(seed=1)
>>> frame, reward, terminated, truncated, info = env.step(player.act(frame))
>>> report = frmdn.evaluate(run, episodes=2)
>>> dreams = run.dream_env(8)
>>> features, _ = dreams.reset(seed=0)
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import density
    from .agent.agent import Agent, AgentConfig
    from .agent.density import ConditionalDensity, GaussianMixture, frmdn, mdn, rmdn
    from .agent.dream import Dream, DreamState
    from .agent.memory import Memory, MemoryConfig
    from .agent.vision import ConvVAE, VisionConfig
    from .controller.agent import make_agent
    from .controller.evaluate import EvaluationReport
    from .controller.evolution import SearchConfig
    from .controller.linear import LinearController
    from .envs.adapters.stable_baselines import stable_baselines
    from .envs.catalogue import get_spec
    from .envs.dream import DreamEnv, DreamSlots
    from .envs.errors import MissingExtra
    from .envs.options import WorldConfig
    from .envs.spec import ActionCodec, EnvSpec
    from .pipeline.front.player import Player
    from .pipeline.front.playing import collect, evaluate
    from .pipeline.front.run import Run, open
    from .pipeline.front.search import Evolved, evolve
    from .pipeline.trained.file import load
    from .rollouts.episodes.episode import Episode
    from .rollouts.episodes.store import EpisodeStore

    __version__: str

__all__ = [
    "ActionCodec",
    "Agent",
    "AgentConfig",
    "ConditionalDensity",
    "ConvVAE",
    "Dream",
    "DreamEnv",
    "DreamSlots",
    "DreamState",
    "EnvSpec",
    "Episode",
    "EpisodeStore",
    "EvaluationReport",
    "Evolved",
    "GaussianMixture",
    "LinearController",
    "Memory",
    "MemoryConfig",
    "MissingExtra",
    "Player",
    "Run",
    "SearchConfig",
    "VisionConfig",
    "WorldConfig",
    "collect",
    "density",
    "evaluate",
    "evolve",
    "frmdn",
    "get_spec",
    "load",
    "make_agent",
    "mdn",
    "open",
    "rmdn",
    "stable_baselines",
]

# Where each public name lives. `density` is a module itself.
_HOMES = {
    "agent.agent": ("Agent", "AgentConfig"),
    "agent.density": ("ConditionalDensity", "GaussianMixture", "frmdn", "mdn", "rmdn"),
    "agent.dream": ("Dream", "DreamState"),
    "agent.memory": ("Memory", "MemoryConfig"),
    "agent.vision": ("ConvVAE", "VisionConfig"),
    "controller.agent": ("make_agent",),
    "controller.evaluate": ("EvaluationReport",),
    "controller.evolution": ("SearchConfig",),
    "controller.linear": ("LinearController",),
    "envs.adapters.stable_baselines": ("stable_baselines",),
    "envs.catalogue": ("get_spec",),
    "envs.dream": ("DreamEnv", "DreamSlots"),
    "envs.errors": ("MissingExtra",),
    "envs.options": ("WorldConfig",),
    "envs.spec": ("ActionCodec", "EnvSpec"),
    "pipeline.front.player": ("Player",),
    "pipeline.front.playing": ("collect", "evaluate"),
    "pipeline.front.run": ("Run", "open"),
    "pipeline.front.search": ("Evolved", "evolve"),
    "pipeline.trained.file": ("load",),
    "rollouts.episodes.episode": ("Episode",),
    "rollouts.episodes.store": ("EpisodeStore",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

_here = Path(__file__).resolve().parent
if not (_here / "agent").is_dir():  # a source checkout: its folders stand beside this one, not in it
    __path__.append(str(_here.parent))


if not TYPE_CHECKING:  # so that a type checker knows which names there are, and reports the others

    def __getattr__(name: str) -> Any:
        """Import a public name on its first use, and keep it."""
        if name == "__version__":
            from importlib.metadata import version

            value: Any = version("frmdn")
        elif name in _HOME:
            value = getattr(import_module(f".{_HOME[name]}", __name__), name)
        elif name == "density":
            value = import_module(".density", __name__)
        else:
            raise AttributeError(f"module 'frmdn' has no attribute {name!r}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
