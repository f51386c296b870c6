"""The worlds by their official ids: those with a description of their own, and any other by its spaces."""

from __future__ import annotations

import difflib
import math
from dataclasses import replace
from functools import partial
from typing import Any

import gymnasium
import numpy as np

from .options import WorldConfig
from .spec import DEFAULT_MAX_STEPS, ActionCodec, EnvSpec, build_gymnasium
from .worlds import car_racing, doom, super_mario


def get_spec(id: str, *, repeat: int | None = None, world: WorldConfig | None = None) -> EnvSpec:
    """The EnvSpec of an official id: CarRacing-v3 and Doom TakeCover as World Models has them, others by their spaces.

    `world` says how it is played (None: as it usually is), and `repeat` overrides how many steps of the world make one
    transition. ValueError: an unknown id (with near names), an option that the world does not offer, observations that
    are no pictures, or actions that are neither a bounded 1-D Box nor Discrete.

    >>> spec = frmdn.get_spec("CarRacing-v3")
    >>> spec.frame_shape, spec.action.size, spec.max_steps
    ((64, 64, 3), 3, 1000)
    """
    if super_mario.matches(id):
        world = world or super_mario.DEFAULTS
        return super_mario.super_mario_spec(id, world if repeat is None else replace(world, repeat=repeat))
    world = world or WorldConfig()
    world = world if repeat is None else replace(world, repeat=repeat)
    check_world(id, world)
    plain = {car_racing.ID: car_racing.car_racing_spec, doom.ID: doom.take_cover_spec}
    times = world.repeat or 1
    spec = plain[id](times) if id in plain else _generic_spec(id, times)
    if world.sticky or world.pool:
        spec = replace(spec, painted=False)
    return replace(spec, world=world, max_steps=min(spec.max_steps, world.max_steps or spec.max_steps))


def check_world(id: str, world: WorldConfig) -> None:
    """Raise ValueError where `world` sets an option that the world of this id does not offer. Makes no environment."""
    if super_mario.matches(id):
        super_mario.super_mario_spec(id, world)
    else:
        world.refuse(("noops", "stuck", "actions", "reward"), id)


def _generic_spec(id: str, repeat: int) -> EnvSpec:
    if id not in gymnasium.registry:
        near = difflib.get_close_matches(id, list(gymnasium.registry), n=3, cutoff=0.5)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise ValueError(f"environment {id!r} is unknown here{hint} (it must be registered with gymnasium)")
    try:
        env = gymnasium.make(id, disable_env_checker=True)
    except gymnasium.error.Error as error:
        raise ValueError(f"environment {id!r} cannot be made: {error}") from error
    try:
        action = ActionCodec.from_space(env.action_space)
        channels = _channels(id, env.observation_space)
    finally:
        env.close()
    limit = gymnasium.registry[id].max_episode_steps or DEFAULT_MAX_STEPS
    return EnvSpec(
        id, action, partial(build_gymnasium, id), channels=channels, repeat=repeat, max_steps=math.ceil(limit / repeat)
    )


def _channels(id: str, space: gymnasium.Space[Any]) -> int:
    shape = space.shape or ()
    channels = {2: 1, 3: shape[-1]}.get(len(shape)) if shape else None
    if space.dtype == np.uint8 and channels in (1, 3):
        return channels
    raise ValueError(
        f"environment {id!r} observes {space}, which is not supported: pictures are needed, uint8 of shape (H, W), "
        "(H, W, 1) or (H, W, 3); gymnasium's AddRenderObservation makes them of any world that renders"
    )
