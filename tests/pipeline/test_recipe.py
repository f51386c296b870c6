"""The command printed in a report makes the configuration that it came from."""

from __future__ import annotations

import shlex

import pytest

from frmdn.envs import get_spec
from frmdn.pipeline.config import override
from frmdn.pipeline.presets import PRESETS, preset
from frmdn.pipeline.recipe import command
from frmdn.pipeline.settings import to_json

PLAIN = {name: to_json(preset(name, get_spec("CarRacing-v3"), 3)) for name in PRESETS}


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_named(name: str) -> None:
    assert command(PLAIN[name]) == f"frmdn run --env CarRacing-v3 --preset {name} --seed 3 --out DIR"


def test_what_was_set_beside_the_preset_is_in_the_line() -> None:
    config = override(PLAIN["quick"], ["search.sigma=0.25", "memory.density=rmdn", "collect.max_steps=null"])
    words = shlex.split(command(config))
    assert words[5] == "quick"
    assert override(PLAIN["quick"], [words[i + 1] for i, word in enumerate(words) if word == "--set"]) == config
    assert words.count("--set") == 3


def test_an_environment_that_is_not_here_still_gives_a_line() -> None:
    assert command({"env": "Nowhere v1", "seed": 2}) == "frmdn run --env 'Nowhere v1' --seed 2 --out DIR"
    assert command({}) == "frmdn run --env ENV --seed 0 --out DIR"
