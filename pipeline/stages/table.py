"""The stages as a table: what each one reads, where it writes, and which settings it depends on.

This module is light on purpose: `frmdn status` and `frmdn --help` need the table, but neither torch nor an environment.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

RECORDED = "recorded"  # as `frmdn.envs.recorded` has it, without its imports


@dataclass(frozen=True)
class Stage:
    """One step of the data path."""

    name: str
    folder: str  # inside the run folder
    inputs: tuple[str, ...]  # stages whose artefacts it reads
    settings: tuple[str, ...]  # keys of the run's configuration on which its artefacts depend
    unit: str  # what it can be resumed after
    help: str
    products: str  # glob in the folder: one file per episode or member, or the one file that the stage is for
    grows: str | None = None  # the setting that says how many units: raising it keeps the units that are there
    last: str | None = None  # a setting that matters once all units are there: changing it keeps them too


STAGES = (
    Stage(
        "collect",
        "rollouts",
        (),
        ("env", "world", "seed", "collect"),
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
        "**/model.safetensors",
        grows="memory_data.members",
    ),
    Stage(
        "evolve",
        "controller",
        ("vision", "memory"),
        ("env", "world", "seed", "agent", "search", "dream"),
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
        "write report.html and the video",
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
ACTING = ("evolve", "rounds", "evaluate")  # stages that a run without an environment has not
BY_NAME = {stage.name: stage for stage in (*STAGES, ROUNDS)}


def check(config: Mapping[str, Any]) -> None:
    """Raise ValueError, naming the setting, where a configuration has not the form that this file reads."""
    for stage in STAGES:
        for key in stage.settings:
            kind = {"env": str, "seed": int}.get(key, Mapping)
            if not isinstance(config.get(key), kind):
                raise ValueError(f"{key} is {'damaged' if key in config else 'missing'}")
    rounds = config.get("rounds", {})
    if not isinstance(rounds, Mapping):
        raise ValueError("rounds is damaged")
    for name in (*(stage.grows for stage in STAGES if stage.grows), "rounds.number", "rounds.count"):
        section, key = name.split(".")
        value = config.get(section, {}).get(key, 1 if section == "rounds" else None)
        if not isinstance(value, int) or not 0 < value < 10**9:
            raise ValueError(f"{name} is damaged")
    if not isinstance(rounds.get("vision_steps", 0), int):
        raise ValueError("rounds.vision_steps is damaged")
    recording = config.get("recording")
    if recording is not None:
        action = recording.get("action") if isinstance(recording, Mapping) else None
        if not isinstance(action, Mapping) or not isinstance(action.get("low"), list | tuple):
            raise ValueError("recording is damaged")


def table(config: Mapping[str, Any]) -> tuple[Stage, ...]:
    """The stages of a run folder: seven, with `rounds` among them where there are several.

    Where recordings were imported, `collect` depends on how alone; without an environment the stages that play are
    left out.

    A folder of a further round collects, trains and evolves only, and sees through the vision of the first round
    unless it trains that on.
    """
    rounds = config.get("rounds", {})
    if rounds.get("number", 1) > 1:
        names = ["collect", *(["vision"] if rounds.get("vision_steps") else []), "encode", "memory", "evolve"]
        return tuple(
            replace(
                BY_NAME[name],
                inputs=tuple(source for source in BY_NAME[name].inputs if source in names),
                settings=(*BY_NAME[name].settings, "rounds"),
            )
            for name in names
        )
    stages = _imported(config) if config.get("recording") else STAGES
    if rounds.get("count", 1) == 1:
        return stages
    acting = (replace(stage, inputs=(*stage.inputs, "rounds")) for stage in stages[-2:])
    return (*stages[:-2], ROUNDS, *acting)


def _imported(config: Mapping[str, Any]) -> tuple[Stage, ...]:
    stages = (replace(STAGES[0], settings=("recording",), grows=None), *STAGES[1:])
    if config["env"] != RECORDED:
        return stages
    return tuple(
        replace(stage, inputs=tuple(name for name in stage.inputs if name not in ACTING))
        for stage in stages
        if stage.name not in ACTING
    )


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
    size = int(config[section][key])
    apart = {key, (stage.last or "").rpartition(".")[2]}
    rest = {name: value for name, value in settings[section].items() if name not in apart}
    return digest({**settings, section: rest}), size


def _slice(stage: Stage, config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a stage depends on. How dreams would be matters to nobody where the search is in reality; the
    bounds of recorded actions, which a further recording moves, change no episode."""
    found = {key: config[key] for key in stage.settings}
    if "recording" in found:
        action = {key: value for key, value in found["recording"]["action"].items() if key in ("kind", "n", "start")}
        action["size"] = len(found["recording"]["action"]["low"])
        found["recording"] = {**found["recording"], "action": action}
    if found.get("dream", {}).get("world") == "reality":
        del found["dream"]
    return found
