"""A run of seconds in the counting world, for the fuzzer and the faults, which both start it as a user would."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium

ENV = "Counting-v0"
SETTINGS: dict[str, Any] = {
    "collect.episodes": 4,
    "collect.max_steps": "null",
    "collect.slots": 2,
    "vision.latent": 4,
    "vision_fit.steps": 2,
    "vision_fit.log_every": 1,
    "vision_fit.checkpoint_every": 1,
    "vision_data.batch": 4,
    "memory.hidden": 4,
    "memory_fit.steps": 2,
    "memory_fit.log_every": 1,
    "memory_fit.checkpoint_every": 1,
    "memory_data.batch": 2,
    "memory_data.length": 5,
    "search.generations": 2,
    "search.slots": 2,
    "evaluate.episodes": 2,
}


def register(length: int = 10) -> None:
    """The world, unless it is known; episodes end after so many steps."""
    if ENV not in gymnasium.registry:
        gymnasium.register(ENV, entry_point="frmdn.envs.worlds.counting:CountingEnv", max_episode_steps=length)


def words(folder: Path, settings: Mapping[str, Any] = SETTINGS, workers: int = 0) -> list[str]:
    """The command that begins the run, and goes on with it."""
    found = ["run", "--out", str(folder), "--env", ENV, "--preset", "smoke", "--device", "cpu"]
    found += ["--workers", str(workers)]
    return found + [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
