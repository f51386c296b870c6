"""Strict both ways: what is written is read back equal, and nothing unknown or mistyped gets in."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from frmdn.envs.catalogue import get_spec
from frmdn.envs.options import WorldConfig
from frmdn.pipeline.config import RunConfig, from_json, override
from frmdn.pipeline.presets import PRESETS, preset
from frmdn.pipeline.settings import differences, to_json


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_survives_json(name: str) -> None:
    config = preset(name, get_spec("CarRacing-v3"), seed=3)
    text = json.dumps(to_json(config), allow_nan=False)
    assert from_json(json.loads(text)) == config
    assert config.seed == 3 and config.memory.action == 3


def test_an_unknown_preset_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"did you mean quick.*smoke, quick, quick-dream, standard, paper"):
        preset("quik", get_spec("CarRacing-v3"))


def test_the_configuration_is_frozen(plain: dict[str, Any]) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        from_json(plain).seed = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("search", "popluation"), 3, r"search\.popluation: no such setting; did you mean search\.population"),
        (("sed",), 3, r"sed: no such setting; did you mean seed"),
        (("seed",), "three", r"seed must be of type int, not 'three' \(str\)"),
        (("seed",), True, r"seed must be of type int, not True"),
        (("seed",), 1.5, r"seed must be of type int"),
        (("search", "sigma"), "0.1", r"search\.sigma must be of type float"),
        (("search", "sigma"), None, r"search\.sigma must be of type float"),
        (("search",), 3, r"search must be an object"),
        (("evaluate", "baselines"), 1, r"evaluate\.baselines must be of type bool"),
        (("dream", "world"), "mujoco", r"dream.world must be one of reality, dream"),
        (("search", "population"), 1, r"search: population must be at least"),
        (("memory", "latent"), 16, r"memory\.latent is 16, but vision\.latent is 32"),
    ],
)
def test_a_bad_value_is_refused_by_name(plain: dict[str, Any], path: tuple[str, ...], value: Any, message: str) -> None:
    broken = json.loads(json.dumps(plain))
    place = broken
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(ValueError, match=message):
        from_json(broken)


def test_a_missing_key_is_refused_by_name(plain: dict[str, Any]) -> None:
    broken = {key: value for key, value in plain.items() if key != "env"}
    with pytest.raises(ValueError, match="env is missing"):
        from_json(broken)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("search.population=12", 12),
        ("search.sigma=1", 1.0),
        ("search.diagonal=true", True),
        ("search.diagonal=False", False),
        ("search.stall_steps=none", None),
        ("search.stall_steps=null", None),
        ("memory.density=rmdn", "rmdn"),
        ("seed=9", 9),
        ("env=CarRacing-v3", "CarRacing-v3"),
    ],
)
def test_an_override_is_typed(plain: dict[str, Any], setting: str, value: Any) -> None:
    section, _, key = setting.partition("=")[0].rpartition(".")
    changed = override(plain, [setting])
    found = (changed[section] if section else changed)[key]
    assert found == value and type(found) is type(value)
    assert differences(plain, changed) == differences(plain, changed) and isinstance(from_json(changed), RunConfig)


def test_an_override_leaves_the_original_alone(plain: dict[str, Any]) -> None:
    before = json.dumps(plain)
    override(plain, ["search.population=12"])
    assert json.dumps(plain) == before


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("search.popluation=3", r"did you mean search\.population"),
        ("sigma=3", r"did you mean search\.sigma"),
        ("search.population", r"has no '='"),
        ("search.population=many", r"search\.population must be of type int, not 'many'"),
        ("search.population=", r"search\.population must be of type int"),
        ("search=3", r"no such setting"),
    ],
)
def test_a_bad_override_says_what_and_how(plain: dict[str, Any], setting: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        override(plain, [setting])


def test_the_latent_size_of_the_memory_follows_that_of_the_vision(plain: dict[str, Any]) -> None:
    assert override(plain, ["vision.latent=16"])["memory"]["latent"] == 16
    with pytest.raises(ValueError, match="set both"):
        override(plain, ["vision.latent=16", "memory.latent=8"])


def test_differences_name_the_key_and_both_values(plain: dict[str, Any]) -> None:
    changed = override(plain, ["search.sigma=0.3", "seed=4"])
    assert differences(plain, changed) == ["search.sigma: 0.1 there, 0.3 asked for", "seed: 0 there, 4 asked for"]
    assert differences(plain, plain) == []


MARIO = "SuperMarioBros-1-1-v0"


@pytest.mark.parametrize("name", list(PRESETS))
def test_a_world_has_settings_of_its_own_in_every_preset(name: str) -> None:
    mario, car = preset(name, get_spec(MARIO)), preset(name, get_spec("CarRacing-v3"))
    actions, buttons = (5, "right") if name == "quick" else (7, "simple")
    assert (mario.vision.latent, mario.memory.latent, mario.search.diagonal) == (64, 64, True)
    assert (mario.memory.action, mario.world.actions) == (actions, buttons)
    assert (mario.world.repeat, mario.world.sticky, mario.world.reward) == (4, 0.25, "classic")
    assert (car.vision.latent, car.search.diagonal, car.world) == (32, False, WorldConfig())
    assert mario.vision.decoder == car.vision.decoder  # what it does not replace stays
    assert from_json(to_json(mario)) == mario


def test_another_set_of_actions_resizes_the_memory() -> None:
    plain = to_json(preset("smoke", get_spec(MARIO)))
    assert override(plain, ["world.actions=complex"])["memory"]["action"] == 12
    with pytest.raises(ValueError, match="actions must be one of right, simple, complex"):
        override(plain, ["world.actions=all"])
    with pytest.raises(ValueError, match="does not offer the option actions"):
        override(to_json(preset("smoke", get_spec("CarRacing-v3"))), ["world.actions=simple"])
