"""Worlds that other packages bring with a description of their own: the entry points `frmdn.worlds`."""

from __future__ import annotations

import sys
from dataclasses import fields
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points

from .options import WorldConfig
from .spec import EnvSpec

GROUP = "frmdn.worlds"
GENERAL = ("repeat", "sticky", "pool", "max_steps", "imports")  # options that go with every description


def names() -> tuple[str, ...]:
    """The ids of all worlds that installed packages bring."""
    return tuple(_points(tuple(sys.path)))


def brought_spec(id: str, world: WorldConfig) -> EnvSpec | None:
    """The description that an installed package has of this id; None where there is none.

    The entry point is called as the id is, and leads to an `EnvSpec`, or to a function that makes one of the
    `WorldConfig` and refuses what it does not offer. ValueError: it cannot be loaded, or leads to something else.
    """
    point = _points(tuple(sys.path)).get(id)
    if point is None:
        return None
    owner = f"world {id!r} of the package {point.dist.name if point.dist else point.module}"
    try:
        value = point.load()
    except Exception as error:  # of somebody else's code
        why = f"{type(error).__name__}: {error}"
        raise ValueError(f"{owner} cannot be loaded ({why}): mend or uninstall that package") from error
    if isinstance(value, EnvSpec):
        world.refuse(tuple(item.name for item in fields(world) if item.name not in GENERAL), id)
    else:
        value = value(world)
    if not isinstance(value, EnvSpec) or value.id != id:
        found = f"the EnvSpec of {value.id!r}" if isinstance(value, EnvSpec) else f"a {type(value).__name__}"
        raise ValueError(f"{owner} is {found}: its entry point must lead to an EnvSpec with the id {id!r}")
    return value


@lru_cache(maxsize=4)
def _points(path: tuple[str, ...]) -> dict[str, EntryPoint]:
    """All entry points by name, looked up once for each state of Python's path."""
    return {point.name: point for point in entry_points(group=GROUP)}
