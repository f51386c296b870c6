"""The command that makes a run again: the nearest preset, and what was set beside it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from frmdn.envs import MissingExtra
from frmdn.envs.options import SEEN
from frmdn.envs.recorded import RECORDED, Recording

from .config import named_world
from .presets import PRESETS, preset
from .settings import flatten, to_json


def command(config: Mapping[str, Any]) -> str:
    """The `frmdn run` line of a stored configuration (its JSON); the folder's name is left to the reader.

    An environment that is not installed here, or settings of another version, give the line without a preset.
    """
    env, seed = str(config.get("env", "")), config.get("seed", 0)
    if config.get("recording"):
        return _imported(config)
    start = ["frmdn", "run", "--env", env or "ENV"]
    asked = flatten(config)
    modules = [str(module) for module in asked.pop("world.imports", ())]
    start += [word for module in modules for word in ("--import", module)]
    seen = [f"world.{name}={json.dumps(asked[f'world.{name}'])}" for name in SEEN if asked.get(f"world.{name}")]
    try:
        spec = named_world(env, [f"world.imports={json.dumps(modules)}", *seen])
        tables = {name: flatten(to_json(preset(name, spec, int(seed)))) for name in PRESETS}
    except (ValueError, TypeError, MissingExtra):
        return shlex.join([*start, "--seed", str(seed), "--out", "DIR"])

    def settings(name: str) -> list[str]:
        other = tables[name]
        return [f"{key}={json.dumps(value)}" for key, value in asked.items() if key not in other or other[key] != value]

    nearest = min(tables, key=lambda name: len(settings(name)))
    sets = [word for setting in (*seen, *settings(nearest)) for word in ("--set", setting)]
    return shlex.join([*start, "--preset", nearest, "--seed", str(seed), *sets, "--out", "DIR"])


def _imported(config: Mapping[str, Any]) -> str:
    """Of recordings: the import, with what was chosen there; its other settings stand in config.json."""
    recording = config["recording"]
    words = ["frmdn", "import", str(recording["source"]), "--out", "DIR", "--seed", str(config.get("seed", 0))]
    chosen = {"size": "frame_size", "fit": "fit", "every": "every", "length": "length", "camera": "camera"}
    usual = {item.name: item.default for item in fields(Recording)}
    for option, key in chosen.items():
        if recording[key] != usual[key]:
            words += [f"--{option}", str(recording[key])]
    if config["env"] != RECORDED:
        words += ["--env", str(config["env"])]
    return f"{shlex.join(words)} && frmdn run --out DIR"
