"""Ids as people write them, and the modules that register environments with Gymnasium when they are imported."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterable, Sequence
from importlib.machinery import PathFinder

import gymnasium
from gymnasium.envs.registration import EnvSpec as GymnasiumSpec

from .errors import MissingExtra

EXTRAS = {"ale_py": "atari", "minigrid": "minigrid"}  # modules that an extra of ours brings
MODULES = {"ALE/": "ale_py", "MiniGrid-": "minigrid", "BabyAI-": "minigrid"}  # starts of ids -> who registers them


def apart(id: str) -> tuple[str, tuple[str, ...]]:
    """`module:Id-v0`, as Gymnasium takes it, apart: ("Id-v0", ("module",)); a plain id has no module."""
    module, colon, name = id.rpartition(":")
    return name, (module,) if colon else ()


def bring(modules: Iterable[str]) -> None:
    """Import modules, so that they register what they have; those in the working folder are found too.

    ValueError: one is not installed, or lacks what it imports. MissingExtra: an extra of ours would bring it.
    """
    for module in modules:
        if not all(part.isidentifier() for part in module.split(".")):
            raise ValueError(
                f"{module!r:.80} is no name of a module: write it as Python imports it, e.g. my_worlds.dot"
            )
        try:
            _import(module)
        except ModuleNotFoundError as error:
            raise _missing(module, error.name or module) from error


def card(id: str, others: Sequence[str] = ()) -> GymnasiumSpec:
    """What Gymnasium knows of an id. ValueError: nothing; with near names, also among `others`, and the remedy."""
    if id in gymnasium.registry:
        return gymnasium.registry[id]
    near = difflib.get_close_matches(id, [*gymnasium.registry, *others], n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    module = next((name for start, name in MODULES.items() if id.startswith(start)), "MODULE")
    raise ValueError(
        f"environment {id!r:.60} is unknown here{hint} (it must be registered with gymnasium; if a module does that "
        f"when it is imported, name it: --import {module}, or {module}:{id} for the id)"
    )


def _import(module: str) -> None:
    """Import a module, of the working folder too: it is on Python's path for `python -m frmdn`, not for `frmdn`."""
    here, top = os.getcwd(), module.partition(".")[0]
    if here not in sys.path and "" not in sys.path and not _found(top) and PathFinder.find_spec(top, [here]):
        sys.path.append(here)  # last, so that it hides nothing
        importlib.invalidate_caches()
    importlib.import_module(module)


def _found(top: str) -> bool:
    return top in sys.modules or importlib.util.find_spec(top) is not None


def _missing(module: str, name: str) -> Exception:
    """The error where `name` is not there and `module` was wanted."""
    if module != name and not module.startswith(f"{name}."):
        return ValueError(f"module {module!r:.80} imports {name!r:.80}, which is not installed: install it with pip")
    if module in EXTRAS:
        return MissingExtra(module, EXTRAS[module], f"--import {module}")
    return ValueError(
        f"module {module!r:.80} is not installed, and not in this folder: install it with pip, or start in the folder "
        f"that has {name.partition('.')[0]}.py"
    )
