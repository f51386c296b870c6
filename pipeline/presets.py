"""The presets: one table from a name to the settings of every stage."""

from __future__ import annotations

import difflib
from dataclasses import replace
from typing import Any

from frmdn.agent.agent import AgentConfig
from frmdn.agent.memory import MemoryConfig
from frmdn.agent.training import FitConfig
from frmdn.agent.vision import VisionConfig
from frmdn.controller.dreaming import DreamConfig
from frmdn.controller.evolution import SearchConfig
from frmdn.envs.catalogue import get_spec
from frmdn.envs.recorded import Recording
from frmdn.envs.spec import EnvSpec
from frmdn.rollouts.collect import CollectConfig

from .config import EvaluateConfig, FrameData, RoundsConfig, RunConfig, SequenceData

Settings = dict[str, dict[str, Any]]
CAR, DOOM = "CarRacing-v3", "VizdoomTakeCover-v1"

# What both quick presets train their vision with.
QUICK_VISION: Settings = {
    "vision": {"decoder": "fast"},
    "vision_fit": {"steps": 1200, "learning_rate": 1e-3, "schedule": "cosine", "bf16": True, "checkpoint_every": 100},
    "vision_data": {"batch": 128},
}

PRESETS: dict[str, Settings] = {
    # Under two minutes on two cores: every stage runs, nothing is learnt. For tests.
    "smoke": {
        "collect": {"episodes": 8, "policy": "brownian", "max_steps": 100, "slots": 4},
        "vision": {"decoder": "fast"},
        "vision_fit": {"steps": 40, "learning_rate": 5e-4, "bf16": True, "log_every": 10, "checkpoint_every": 20},
        "vision_data": {"batch": 32, "validation": 0.2},
        "memory": {"hidden": 64},
        "memory_fit": {"steps": 40, "learning_rate": 1e-3, "clip": 1.0, "log_every": 10, "checkpoint_every": 20},
        "memory_data": {"batch": 8, "length": 32, "validation": 0.2},
        "search": {"population": 4, "episodes": 1, "generations": 2, "slots": 2, "stall_steps": 50, "max_steps": 100},
        "evaluate": {"episodes": 2, "max_steps": 200},
    },
    # About twelve minutes on two cores; what CarRacing has of its own stands below.
    "quick": {
        "collect": {"episodes": 192, "policy": "brownian", "max_steps": 500, "slots": 8},
        **QUICK_VISION,
        "memory": {"hidden": 128},  # half the published size: quicker to train and to run, 483 parameters to search
        "memory_fit": {
            "steps": 800,
            "learning_rate": 2e-3,
            "clip": 1.0,
            "schedule": "cosine",
            "checkpoint_every": 100,
        },
        "memory_data": {"batch": 32, "length": 128},
        "search": {
            "population": 64,
            "episodes": 1,
            "generations": 30,
            "sigma": 0.1,
            "slots": 16,
            "stall_steps": 50,  # hopeless candidates end early; the others must keep the road for a whole lap
        },
        "evaluate": {"episodes": 16},
    },
    # Half an hour on two cores: evolved in dreams only, in rounds; docs/how-to/dreams.md.
    "quick-dream": {
        "collect": {"episodes": 96, "policy": "brownian", "max_steps": 500, "slots": 8},
        **QUICK_VISION,
        "memory": {"hidden": 128, "reward_head": "two_hot", "reward_weight": 10.0},
        "memory_fit": {
            "steps": 1000,
            "learning_rate": 2e-3,
            "clip": 1.0,
            "schedule": "cosine",
            "checkpoint_every": 100,
        },
        "memory_data": {"batch": 32, "length": 128},
        "search": {
            "population": 48,
            "episodes": 8,
            "generations": 12,  # of a round: after some ten, CMA has found what the memory gets wrong
            "sigma": 0.1,
            "slots": 8,
            "stall_steps": 100,  # of the checks in reality: what has left the road does not come back
            "validate_every": 6,
            "validate_episodes": 24,
        },
        # Dreams as long as reality that are over once nothing is gained rank drivers as reality does. Shorter ones
        # reward whoever races off the road last, more certain ones are exploited (docs/decisions/0006-dreams.md).
        "dream": {
            "world": "dream",
            "temperature": 1.15,
            "horizon": 1000,
            "stall_steps": 30,
            "middle": 0.5,
            "warmup": 8,
        },
        # Noise on the parameters shows the memory other ways to drive than the one whose mistake is always the same.
        "rounds": {"count": 12, "episodes": 48, "parameter_noise": 0.6, "memory_steps": 600, "finalists": 4},
        "evaluate": {"episodes": 16},
    },
    # Hours on a workstation.
    "standard": {
        "collect": {"episodes": 1000, "policy": "brownian", "slots": 16},
        "vision": {},
        "vision_fit": {
            "steps": 20_000,
            "learning_rate": 5e-4,
            "schedule": "cosine",
            "bf16": True,
            "checkpoint_every": 500,
        },
        "vision_data": {"batch": 128},
        "memory": {},
        "memory_fit": {
            "steps": 10_000,
            "learning_rate": 1e-3,
            "clip": 1.0,
            "schedule": "cosine",
            "checkpoint_every": 500,
        },
        "memory_data": {"batch": 64, "length": 256},
        "search": {"population": 64, "episodes": 8, "generations": 200, "sigma": 0.1, "stall_steps": 200},
        "evaluate": {"episodes": 100},
    },
    # Ha and Schmidhuber (2018), appendix A; training lengths as in their code: ten epochs of V, 4,000 updates of M.
    # Their memory has no flow: add --memory rmdn to have that too.
    "paper": {
        "collect": {"episodes": 10_000, "policy": "linear", "slots": 16},
        "vision": {"decoder": "paper"},
        "vision_fit": {"steps": 1_000_000, "learning_rate": 1e-4, "checkpoint_every": 2000, "log_every": 200},
        "vision_data": {"batch": 100, "validation": 0.01},
        "memory": {"hidden": 256, "components": 5},
        "memory_fit": {"steps": 4000, "learning_rate": 1e-3, "clip": 1.0, "checkpoint_every": 200},
        "memory_data": {"batch": 100, "length": 999, "validation": 0.01},
        "search": {"population": 64, "episodes": 16, "generations": 1800, "sigma": 0.1, "stall_steps": None},
        "evaluate": {"episodes": 100},
    },
}

# Of any other world nobody knows how long its rewards may keep one waiting, or what waiting is worth: to end episodes
# early would favour whoever is ended before it is punished.
PATIENT: Settings = {"search": {"stall_steps": None}, "dream": {"stall_steps": None}}

# What a world needs otherwise: start of its id -> preset ("*": every one) -> settings that replace those above.
WORLDS: dict[str, dict[str, Settings]] = {
    DOOM: {
        "smoke": {
            "collect": {"max_steps": None},
            "memory": {"hidden": 32, "end_balance": 10.0},
            "agent": {"features": "zhc"},
            "search": {"stall_steps": None, "validate_every": 1, "validate_episodes": 2},
            "dream": {"world": "dream", "reward": "survival", "horizon": 50, "starts": 16, "slots": 8},
        },
        # One hour on two cores at most: evolved in dreams only. Monsters gather as an episode goes on,
        # and random play hardly sees that, so two more rounds collect what the agent lives to see.
        # A far fireball is a few pixels large: without rarity the vision drops it, and the dream has nothing to dodge.
        "quick": {
            "collect": {"episodes": 320, "max_steps": None},
            "vision": {"latent": 64, "rarity": 0.8},
            "vision_fit": {"steps": 1500},
            "memory": {"hidden": 256, "end_balance": 10.0},  # half the published size: a third of its time
            "memory_fit": {"steps": 1200},
            "agent": {"features": "zhc"},
            "search": {
                "population": 64,
                "episodes": 8,
                "generations": 50,
                "slots": 4,  # games, each a process of its own
                "first_steps": 300,
                "growing": 30,
                "stall_steps": None,
                "validate_every": 10,
                "validate_episodes": 24,
            },
            "dream": {
                "world": "dream",
                "temperature": 1.15,
                "reward": "survival",
                "horizon": 1000,
            },
            "rounds": {"count": 3, "episodes": 128, "memory_steps": 800, "generations": 40},
            "evaluate": {"episodes": 100},
        },
    },
    CAR: {
        "quick": {
            "vision_fit": {"steps": 800},
            # Two dozen principal components hold 95 % of what 160 features do, and 75 numbers are found with
            # fewer candidates than 483. Short episodes first teach to be fast, whole ones to stay on the road.
            # From then on CMA's mean wanders about a good place, and the average of its path is nearer to that
            # (docs/decisions/0004-search.md).
            "search": {
                "subspace": 24,
                "population": 32,
                "generations": 50,
                "sigma": 0.2,
                "first_steps": 300,
                "growing": 30,
                "average": 0.3,
                "validate_every": 10,
                "validate_episodes": 8,
            },
        },
    },
    "SuperMarioBros": {
        # Mario and his enemies are sixteen pixels wide: a plain VAE of 32 numbers loses them, and so does a short
        # training or a KL that leaves them no room (docs/notes/super-mario.md). With five to seven actions the
        # controller has a thousand parameters, too many for a full covariance to be learnt in tens of generations.
        "*": {"vision": {"latent": 64, "rarity": 0.5, "kl_floor": 2.5}, "search": {"diagonal": True}},
        "smoke": {"collect": {"max_steps": 60}, "search": {"stall_steps": 25, "max_steps": 60}},
        # Under forty minutes on two cores, of which the search takes the most.
        "quick": {
            # Random play alone dies in the first third of a stage, and the vision paints over what it never saw.
            "collect": {"episodes": 320, "max_steps": None, "returning": 0.9},
            "vision_fit": {"steps": 10_000},  # of small batches: as many pictures as 2,500 large ones, and far sharper
            "vision_data": {"batch": 32},
            "memory_data": {"length": 64},
            # No button that leads back, so that all of the search is on the way; more candidates with one episode
            # each, and a short patience with those that stand still, so that the time sees more of them.
            "world": {"actions": "right"},
            "search": {
                "population": 64,
                "episodes": 1,
                "generations": 150,  # more than the time allows
                "stall_steps": 20,
                "seconds": 1500.0,
                "average": 0.3,  # returns are so noisy that the last mean is a matter of luck
                "validate_episodes": 8,
            },
            "evaluate": {"episodes": 20},
        },
    },
}


def preset(name: str, spec: EnvSpec, seed: int = 0, recording: Recording | None = None) -> RunConfig:
    """The configuration of a preset for one environment; an unknown name raises ValueError with the known ones.

    With a `recording` nothing is collected: how many episodes there are is known once they are stored.
    """
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ValueError(f"--preset {name}: no such preset; {hint}choose one of {', '.join(PRESETS)}")
    table = _table(name, spec.id)
    if "world" in table:
        spec = get_spec(spec.id, world=replace(spec.world, **table["world"]))
    vision = VisionConfig(channels=spec.channels, frame_size=spec.frame_size, **table["vision"])
    return RunConfig(
        env=spec.id,
        seed=seed,
        collect=CollectConfig(1, "recorded") if recording else CollectConfig(**table["collect"]),
        vision=vision,
        vision_fit=FitConfig(**table["vision_fit"]),
        vision_data=FrameData(**table["vision_data"]),
        memory=MemoryConfig(latent=vision.latent, action=spec.action.size, **table["memory"]),
        memory_fit=FitConfig(**table["memory_fit"]),
        memory_data=SequenceData(**table["memory_data"]),
        agent=AgentConfig(**table.get("agent", {})),
        search=SearchConfig(**table["search"]),
        evaluate=EvaluateConfig(**table["evaluate"]),
        dream=DreamConfig(**table.get("dream", {})),
        rounds=RoundsConfig(**table.get("rounds", {})),
        world=spec.world,
        recording=recording,
    )


def _table(name: str, id: str) -> Settings:
    """The settings of a preset, with the patience of other worlds than CarRacing, and what their own entry replaces."""
    layers = [PRESETS[name]] + ([] if id == CAR else [PATIENT])
    for start, own in WORLDS.items():
        if id.startswith(start):
            layers += [own[key] for key in ("*", name) if key in own]
    sections = {section for layer in layers for section in layer}
    return {section: {k: v for layer in layers for k, v in layer.get(section, {}).items()} for section in sections}
