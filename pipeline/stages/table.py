"""The stages as a table: what each one reads, where it writes, and which settings it depends on.

This module is light on purpose: `frmdn status` and `frmdn --help` need the table, but neither torch nor an environment.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Stage:
    """One step of the data path."""

    name: str
    folder: str  # inside the run folder
    inputs: tuple[str, ...]  # stages whose artefacts it reads
    settings: tuple[str, ...]  # keys of the run's configuration on which its artefacts depend
    unit: str  # what it can be resumed after
    help: str
    products: str  # glob in the folder: one file per episode, or the one file that the stage is for
    grows: str | None = None  # the setting that says how many units: raising it keeps the units that are there
    last: str | None = None  # a setting that matters once all units are there: changing it keeps them too


STAGES = (
    Stage(
        "collect",
        "rollouts",
        (),
        ("env", "world", "seed", "backend", "collect"),
        "episodes",
        "play and store episodes",
        "episodes/*.h5",
        grows="collect.episodes",
    ),
    Stage(
        "vision",
        "vision",
        ("collect",),
        ("seed", "vision", "vision_fit", "vision_data"),
        "steps",
        "train the ConvVAE on the stored frames",
        "model.safetensors",
    ),
    Stage(
        "encode", "latents", ("collect", "vision"), (), "episodes", "encode the episodes into latents", "*.safetensors"
    ),
    Stage(
        "memory",
        "memory",
        ("encode",),
        ("seed", "memory", "memory_fit", "memory_data"),
        "steps",
        "train the memory on the latents",
        "model.safetensors",
        grows="memory_data.members",
    ),
    Stage(
        "evolve",
        "controller",
        ("vision", "memory"),
        ("env", "world", "seed", "backend", "agent", "search", "dream"),
        "generations",
        "evolve the controller with CMA-ES",
        "mean.safetensors",
        grows="search.generations",
        last="search.average",
    ),
    Stage(
        "evaluate",
        "evaluation",
        ("vision", "memory", "evolve"),
        ("env", "world", "seed", "agent", "evaluate"),
        "episodes",
        "play held-out seeds of the official environment",
        "../evaluation.json",
    ),
    Stage(
        "report",
        "report",
        ("collect", "vision", "encode", "memory", "evolve", "evaluate"),
        (),
        "parts",
        "write report.html, the video and the TensorBoard files",
        "../report.html",
    ),
)
ROUNDS = Stage(  # in the table of a run of several rounds, before `evaluate`
    "rounds",
    "rounds",
    ("collect", "vision", "encode", "memory", "evolve"),
    ("rounds",),
    "rounds",
    "collect with the agent so far, train on, and evolve again",
    "kept.json",
    grows="rounds.count",
)
BY_NAME = {stage.name: stage for stage in (*STAGES, ROUNDS)}
# Settings younger than some run folders, at the value that they had before they had a name: so a folder that does not
# know them, and one that leaves them alone, have the same fingerprints.
LATER = {
    "collect.returning": 0.0,
    "memory.reward_head": "mean",
    "memory.reward_bins": 41,
    "memory.reward_limit": 150.0,
    "memory.end_balance": 1.0,
    "memory_data.members": 1,
    "memory_data.noise": 1.0,
    "dream.stall_steps": None,
    "search.average": 0.0,
    "rounds.finalists": 1,
    "rounds.final_episodes": 48,
    "vision.rarity": 0.0,
    "world.repeat": None,
    "world.sticky": 0.0,
    "world.pool": False,
    "world.max_steps": None,
    "world.noops": None,
    "world.stuck": None,
    "world.actions": None,
    "world.reward": None,
}


def table(config: Mapping[str, Any]) -> tuple[Stage, ...]:
    """The stages of a run folder: seven, with `rounds` among them where there are several.

    A folder of a further round collects, trains and evolves only, and sees through the vision of the first round
    unless it trains that on.
    """
    rounds = config.get("rounds", {})
    if rounds.get("number", 1) > 1:
        names = ["collect", *(["vision"] if rounds["vision_steps"] else []), "encode", "memory", "evolve"]
        return tuple(
            replace(
                BY_NAME[name],
                inputs=tuple(source for source in BY_NAME[name].inputs if source in names),
                settings=(*BY_NAME[name].settings, "rounds"),
            )
            for name in names
        )
    if rounds.get("count", 1) == 1:
        return STAGES
    acting = (replace(stage, inputs=(*stage.inputs, "rounds")) for stage in STAGES[-2:])
    return (*STAGES[:-2], ROUNDS, *acting)


def digest(value: object) -> str:
    """The SHA-256 of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, allow_nan=False).encode()).hexdigest()


def fingerprints(config: Mapping[str, Any]) -> dict[str, str]:
    """Stage name -> fingerprint of its slice of the configuration and of all that it reads.

    A setting makes stale the stages that depend on it and those behind them, and no other.
    """
    prints: dict[str, str] = {}
    for stage in table(config):
        inputs = {name: prints[name] for name in stage.inputs}
        prints[stage.name] = digest({"stage": stage.name, "settings": _slice(stage, config), "inputs": inputs})
    return prints


def root_and_size(stage: Stage, config: Mapping[str, Any]) -> tuple[str, int]:
    """A fingerprint of the stage's settings without the one that grows and the one that comes last; and the former.

    0 stands for a stage that does not grow. Episodes, generations, members and rounds depend on those before them only,
    so a larger size goes on where a smaller one ended.
    """
    settings = _slice(stage, config)
    if stage.grows is None:
        return digest(settings), 0
    section, key = stage.grows.split(".")
    size = int(config[section].get(key, LATER.get(stage.grows, 0)))
    apart = {key, (stage.last or "").rpartition(".")[2]}
    rest = {name: value for name, value in settings[section].items() if name not in apart}
    return digest({**settings, section: rest}), size


def _slice(stage: Stage, config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a stage depends on, without those that leave everything as it was before they existed."""
    found: dict[str, Any] = {}
    for key in stage.settings:
        value = config.get(key)
        if isinstance(value, Mapping):
            value = {name: item for name, item in value.items() if (f"{key}.{name}", item) not in LATER.items()}
        if key == "dream" and (value is None or value["world"] == "reality"):
            continue  # how dreams would be matters to nobody
        if key == "world" and not value:
            continue  # played as it usually is
        found[key] = value
    return found
