"""What people type: settings of `--set`, and the words of the command line."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from frmdn.envs.catalogue import get_spec
from frmdn.pipeline import config, settings
from frmdn.pipeline.commands.main import main, parser
from frmdn.pipeline.density.run import choose_settings
from frmdn.pipeline.presets import preset
from frmdn.pipeline.settings import flatten, to_json
from frmdn.pipeline.statespace.settings import StateSpaceSettings

from ..tiny import register
from ..tiny import words as run_words
from .mutator import NUMBERS, WORDS, text
from .stores import make_run
from .subject import Subject

NAME = "words.json"


class Refused(ValueError):
    """What the command line answered with exit code 2 and one line."""


@cache
def _plain() -> dict[str, Any]:
    return to_json(preset("smoke", get_spec("CarRacing-v3")))


def _words(rng: Random, name: str, data: bytes, more: Sequence[str]) -> bytes:
    """Another list of words: one of them odd, gone, twice, or elsewhere."""
    words: list[str] = list(rng.choice(json.loads(data)))
    for _ in range(rng.choice((1, 1, 2, 3))):
        place, kind = rng.randrange(len(words) + 1), rng.randrange(6)
        odd = rng.choice((*more, rng.choice((*NUMBERS, *WORDS)), rng.choice((*NUMBERS, *WORDS))))
        if kind == 0 or place == len(words):
            words.insert(place, odd)
        elif kind == 1:
            words.pop(place)
        elif kind == 2:
            words[place] = odd
        elif kind == 3:
            words.insert(rng.randrange(len(words) + 1), words[place])
        else:
            words[place] = text(rng, words[place], more)
    return json.dumps(words).encode()


# Settings


def _make_settings(folder: Path) -> None:
    flat = flatten(_plain())
    words = [[f"{key}={json.dumps(value)}"] for key, value in flat.items()]
    (folder / NAME).write_text(json.dumps(words))


def _read_settings(folder: Path) -> Any:
    words = _loaded(folder)
    return config.override(_plain(), words)


def _make_others(folder: Path) -> None:
    plain = {**flatten(to_json(choose_settings([]))), **flatten(to_json(StateSpaceSettings()))}
    (folder / NAME).write_text(json.dumps([[f"{key}={json.dumps(value)}"] for key, value in plain.items()]))


def _read_others(folder: Path) -> Any:
    words = _loaded(folder)
    if words and words[0].startswith(("model.", "recipe.")):
        return choose_settings(words)
    return settings.override(StateSpaceSettings(), words)


def _loaded(folder: Path) -> list[str]:
    words = json.loads((folder / NAME).read_text())
    return words if all(isinstance(word, str) for word in words) else [word for inner in words[:1] for word in inner]


# The command line

COMMANDS = (
    *(["status", "--run", "run"], ["status", "--run", "run", "--json"], ["collect", "--run", "run", "--workers", "0"]),
    ["vision", "--run", "run", "--set", "vision_fit.steps=3", "--replace"],
    ["evolve", "--run", "run", "--generations", "2", "--population", "4", "--in", "dream", "--temperature", "1.1"],
    ["evaluate", "--run", "run", "--episodes", "2", "--device", "cpu", "--json"],
    ["run", "--out", "run", "--set", "search.generations=2", "--replace", "--seed", "0", "--json"],
    ["run", "--out", "new", "--env", "CarRacing-v3", "--preset", "smoke", "--rounds", "2", "--memory", "rmdn"],
    ["density", "fit", "--data", "inverse-sine", "--model", "rmdn", "--steps", "3", "--out", "new", "--hidden", "8"],
    ["density", "fit", "--data", "a.csv", "--target", "load", "--context", "hour", "--held-out", "0.2", "--out", "new"],
    [
        "density",
        "sample",
        "--run",
        "run",
        "--out",
        "a.png",
        "--temperature",
        "1",
        "2",
        "--count",
        "3",
        "--between",
        "0",
        "1",
    ],
    ["statespace", "--variant", "dvbf", "--out", "new", "--seeds", "1"],
    ["import", "a.npz", "--out", "new", "--every", "1", "--fit", "middle", "--actions", "none"],
    ["export", "--run", "run", "--out", "agent.safetensors"],
    ["dream", "--run", "run", "--out", "a.mp4", "--episode", "1"],
    ["play", "--run", "run"],
    ["--help"],
    ["--version"],
)
MORE = (
    *(
        "--run",
        "--out",
        "--set",
        "--json",
        "--replace",
        "--workers",
        "--device",
        "cuda",
        "cuda:99",
        "mps",
        "run",
        "new",
        "--env",
    ),
    *(
        "--preset",
        "paper",
        "--seed",
        "seed=-1",
        "search.population=1e9",
        "memory.hidden=0",
        "--help",
        "nothing",
        "run/config.json",
    ),
    *("--episodes", "--import", "dream", "report", "density", "a.csv", "a.npz", "run/log.txt", "--ray-address"),
)


def _make_commands(folder: Path) -> None:
    import numpy as np

    make_run(folder / "run")
    (folder / "a.csv").write_text("load,hour\n" + "".join(f"{i * i % 7},{i}\n" for i in range(40)))
    np.savez(folder / "a.npz", frames=np.zeros((5, 16, 16, 3), np.uint8), actions=np.arange(4))
    (folder / NAME).write_text(json.dumps(COMMANDS))


def _read_commands(folder: Path) -> Any:
    """What the command line answers; what would train, play or wait is put out of action, all before it is not."""
    register()
    _disarm()
    words = _loaded(folder)
    if any(_leads_out(word) for word in words) or any(word.startswith("--imp") for word in words):
        return "not asked"  # a place, or a module, is the user's own choice
    out, err, here = io.StringIO(), io.StringIO(), os.getcwd()
    os.chdir(folder)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(words)
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    finally:
        os.chdir(here)
    told = err.getvalue()
    if code == 0:
        return "done", words[:1]
    if code != 2 or "Traceback" in told:
        raise RuntimeError(f"{words} ended with {code}: {told[-2000:]}")
    last = told.strip().split("\n")[-1]
    if not last.startswith("frmdn"):
        raise RuntimeError(f"{words} ended without its line: {told[-500:]}")
    raise Refused(last)


def _leads_out(word: str) -> bool:
    return "/" in word.partition("=")[2] or word.startswith(("/", "~")) or ".." in word or "://" in word


@cache
def _disarm() -> None:
    from frmdn.pipeline.commands import density, dream, play, stage, statespace
    from frmdn.pipeline.stages import running

    def idle(*_: object, **__: object) -> int:
        return 0

    running.run_stages = idle
    stage._evaluate_only = idle
    for module in (density, dream, play, statespace):
        for name in ("run", "video", "report"):
            if callable(getattr(module, name, None)):
                setattr(module, name, idle)


WORDS_TYPED = (
    Subject(
        "--set of a run", _make_settings, _read_settings, change=_words, named=False, words=("=", ".", "world.imports=")
    ),
    Subject("--set of densities and state spaces", _make_others, _read_others, change=_words, named=False),
    Subject(
        "the command line",
        _make_commands,
        _read_commands,
        change=_words,
        named=False,
        words=MORE,
        files=(NAME,),
        share=0.4,
    ),
)
assert parser and run_words  # the command line is imported whole before anything is limited
