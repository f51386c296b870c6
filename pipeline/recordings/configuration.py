"""The configuration of a run whose episodes were imported, with or without an environment to play."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from frmdn.envs.catalogue import get_spec
from frmdn.envs.recorded import RECORDED, Recording

from ..config import RunConfig, from_json
from ..presets import preset
from ..settings import to_json


def recorded_config(name: str, recording: Recording, env: str | None, seed: int) -> RunConfig:
    """The configuration of a preset for recordings; how many episodes there are is known once they are stored.

    Raises ValueError where the environment `env` does not have their frames and actions, or the preset is unknown.
    """
    spec = recording.spec()
    if env is not None:
        spec = get_spec(env)
        recording.check(spec)
    return preset(name, spec, seed, recording)


def renewed(stored: Mapping[str, Any], recording: Recording, env: str | None) -> dict[str, Any]:
    """A stored configuration for the recordings as they are now."""
    config = from_json(stored)
    world = config.spec if env is None else get_spec(env)
    if env is not None or config.env != RECORDED:
        recording.check(world)
    vision = replace(config.vision, frame_size=recording.frame_size, channels=recording.channels)
    return to_json(
        replace(
            config,
            env=config.env if env is None else env,
            world=config.world if env is None else world.world,
            vision=vision,
            memory=replace(config.memory, action=recording.action.size),
            recording=recording,
        )
    )


def attach(stored: Mapping[str, Any], env: str) -> dict[str, Any]:
    """A stored configuration with an environment to search and to evaluate in; ValueError where it does not match."""
    if env == RECORDED:
        return to_json(replace(from_json(stored), env=RECORDED))
    config = from_json(stored)
    assert config.recording is not None
    spec = get_spec(env)
    config.recording.check(spec)
    return to_json(replace(config, env=env, world=spec.world))


def counted(stored: Mapping[str, Any], episodes: int, steps: int) -> dict[str, Any]:
    """A stored configuration that knows how many episodes were stored, and how many transitions the longest has."""
    return {**stored, "collect": {**stored["collect"], "episodes": episodes, "max_steps": steps}}
