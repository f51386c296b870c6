"""The seven stages as a table: what each one reads, where it writes, and which settings it depends on.

This module is light on purpose: `frmdn status` and `frmdn --help` need the table, but neither torch nor an environment.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
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
    ),
    Stage(
        "evolve",
        "controller",
        ("vision", "memory"),
        ("env", "world", "seed", "backend", "agent", "search"),
        "generations",
        "evolve the controller with CMA-ES",
        "mean.safetensors",
        grows="search.generations",
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
BY_NAME = {stage.name: stage for stage in STAGES}


def digest(value: object) -> str:
    """The SHA-256 of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, allow_nan=False).encode()).hexdigest()


def fingerprints(config: Mapping[str, Any]) -> dict[str, str]:
    """Stage name -> fingerprint of its slice of the configuration and of all that it reads.

    A setting makes stale the stages that depend on it and those behind them, and no other.
    """
    prints: dict[str, str] = {}
    for stage in STAGES:
        settings = _slice(stage, config)
        inputs = {name: prints[name] for name in stage.inputs}
        prints[stage.name] = digest({"stage": stage.name, "settings": settings, "inputs": inputs})
    return prints


def _slice(stage: Stage, config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a stage depends on; run folders from before there was `world` have none."""
    return {key: config[key] for key in stage.settings if key != "world" or key in config}


def root_and_size(stage: Stage, config: Mapping[str, Any]) -> tuple[str, int]:
    """A fingerprint of the stage's settings without the one that grows, and that one (0 where none does).

    Episodes and generations depend on those before them only, so a larger size goes on where a smaller one ended.
    """
    settings = _slice(stage, config)
    if stage.grows is None:
        return digest(settings), 0
    section, key = stage.grows.split(".")
    rest = {name: value for name, value in settings[section].items() if name != key}
    return digest({**settings, section: rest}), int(settings[section][key])
