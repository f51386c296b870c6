"""The command that makes a run again: the nearest preset, and what was set beside it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from frmdn.envs import MissingExtra, get_spec

from .presets import PRESETS, preset
from .settings import flatten, to_json


def command(config: Mapping[str, Any]) -> str:
    """The `frmdn run` line of a stored configuration (its JSON); the folder's name is left to the reader.

    An environment that is not installed here, or settings of another version, give the line without a preset.
    """
    env, seed = str(config.get("env", "")), config.get("seed", 0)
    start = ["frmdn", "run", "--env", env or "ENV"]
    try:
        spec = get_spec(env)
        tables = {name: flatten(to_json(preset(name, spec, int(seed)))) for name in PRESETS}
    except (ValueError, TypeError, MissingExtra):
        return shlex.join([*start, "--seed", str(seed), "--out", "DIR"])
    asked = flatten(config)

    def settings(name: str) -> list[str]:
        other = tables[name]
        return [f"{key}={json.dumps(value)}" for key, value in asked.items() if key not in other or other[key] != value]

    nearest = min(tables, key=lambda name: len(settings(name)))
    sets = [word for setting in settings(nearest) for word in ("--set", setting)]
    return shlex.join([*start, "--preset", nearest, "--seed", str(seed), *sets, "--out", "DIR"])
