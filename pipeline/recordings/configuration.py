"""The configuration of a run whose episodes were imported, with or without an environment to play."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from frmdn.envs.recorded import RECORDED, Recording
from frmdn.envs.spec import EnvSpec

from ..config import RunConfig, from_json, named_world
from ..presets import preset
from ..settings import to_json


def recorded_config(name: str, recording: Recording, world: EnvSpec | None, seed: int) -> RunConfig:
    """The configuration of a preset for recordings; how many episodes there are is known once they are stored.

    Raises ValueError where the environment `world` does not have their frames and actions, or the preset is unknown.
    """
    if world is not None:
        recording.check(world)
    return preset(name, world or recording.spec(), seed, recording)


def renewed(stored: Mapping[str, Any], recording: Recording, world: EnvSpec | None) -> dict[str, Any]:
    """A stored configuration for the recordings as they are now, and for an environment, where there is one."""
    config = from_json(stored)
    if world is not None:
        recording.check(world)
        config = replace(config, env=world.id, world=world.world)
    vision = replace(config.vision, frame_size=recording.frame_size, channels=recording.channels)
    memory = replace(config.memory, action=recording.action.size)
    return to_json(replace(config, vision=vision, memory=memory, recording=recording))


def attach(stored: Mapping[str, Any], env: str, words: Sequence[str]) -> dict[str, Any]:
    """A stored configuration with an environment to search and to evaluate in; ValueError where it does not match."""
    config = from_json(stored)
    assert config.recording is not None
    if env == RECORDED:
        return to_json(replace(config, env=RECORDED))
    world = named_world(env, words)
    config.recording.check(world)
    return to_json(replace(config, env=world.id, world=world.world))


def counted(stored: Mapping[str, Any], episodes: int, steps: int) -> dict[str, Any]:
    """A stored configuration that knows how many episodes were stored, and how many transitions the longest has."""
    return {**stored, "collect": {**stored["collect"], "episodes": episodes, "max_steps": steps}}
