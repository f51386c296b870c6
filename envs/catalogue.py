"""The worlds by their ids: those with a description of their own, those that packages bring, others by their spaces."""

from __future__ import annotations

import math
from dataclasses import replace

from .adapters.adapted import adapted_spec
from .brought import brought_spec, names
from .options import SEEN, WorldConfig
from .registered import apart, bring, card
from .spec import EnvSpec
from .worlds import car_racing, doom, super_mario

PLAIN = {car_racing.ID: car_racing.car_racing_spec, doom.ID: doom.take_cover_spec}
OWN = ("noops", "stuck", "actions", "reward")  # options that only worlds with a description of their own may have


def get_spec(id: str, *, repeat: int | None = None, world: WorldConfig | None = None) -> EnvSpec:
    """The EnvSpec of an id: CarRacing-v3 and Doom TakeCover as World Models has them, others by their spaces.

    `id` may name the module that registers it, as Gymnasium takes it: `module:Id-v0`; `world.imports` names more of
    them. The id of the description is the plain one. `world` says how it is played (None: as it usually is), and
    `repeat` overrides how many steps of the world make one transition.

    ValueError: an unknown id (with near names), a module that is not there, an option that the world does not offer, or
    observations and actions of which `world` must say how they are meant.

    >>> spec = frmdn.get_spec("CarRacing-v3")
    >>> spec.frame_shape, spec.action.size, spec.max_steps
    ((64, 64, 3), 3, 1000)
    """
    name, modules = apart(id)
    if world is None:
        world = usual(name)
    new = tuple(module for module in modules if module not in world.imports)
    world = replace(world, repeat=world.repeat if repeat is None else repeat, imports=(*world.imports, *new))
    bring(world.imports)
    spec = _described(name, world) or adapted_spec(card(name, names()), world)
    spec = _repeated(spec, world.repeat)
    if world.sticky or world.pool:
        spec = replace(spec, painted=False)
    world = world if spec.world == WorldConfig() else spec.world
    return replace(spec, world=world, max_steps=min(spec.max_steps, world.max_steps or spec.max_steps))


def check_world(id: str, world: WorldConfig) -> None:
    """Raise ValueError where `world` sets an option that the world of this id does not offer. Makes no environment."""
    _described(apart(id)[0], world)


def usual(id: str) -> WorldConfig:
    """How the world of an id is played where nobody says otherwise."""
    return super_mario.DEFAULTS if super_mario.matches(apart(id)[0]) else WorldConfig()


def _described(name: str, world: WorldConfig) -> EnvSpec | None:
    """The description that we or a package have of a world; None: its spaces tell. ValueError: an option it has not."""
    if super_mario.matches(name):
        return super_mario.super_mario_spec(name, world)
    if name in PLAIN:
        world.refuse((*OWN, *SEEN), name)
        return PLAIN[name](world.repeat or 1)
    spec = brought_spec(name, world)
    if spec is None:
        world.refuse(OWN, name)
    return spec


def _repeated(spec: EnvSpec, repeat: int | None) -> EnvSpec:
    """A description with another number of steps of the world for one transition, as long in these steps as before."""
    if repeat is None or repeat == spec.repeat:
        return spec
    idle = None if spec.idle_reward is None else spec.idle_reward * repeat / spec.repeat
    limit = math.ceil(spec.max_steps * spec.repeat / repeat)
    return replace(spec, repeat=repeat, max_steps=limit, idle_reward=idle)
