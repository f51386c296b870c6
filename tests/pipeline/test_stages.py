"""A setting makes stale what depends on it, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from frmdn.envs import recorded
from frmdn.envs.spec import ActionCodec
from frmdn.pipeline.config import RunConfig, override
from frmdn.pipeline.presets import preset
from frmdn.pipeline.settings import to_json
from frmdn.pipeline.stages.table import BY_NAME, RECORDED, ROUNDS, STAGES, digest, fingerprints, table


@pytest.mark.parametrize(
    ("setting", "stale"),
    [
        ("search.sigma=0.5", "evolve evaluate report"),
        ("agent.features=z", "evolve evaluate report"),
        ("evaluate.episodes=3", "evaluate report"),
        ("memory.hidden=32", "memory evolve evaluate report"),
        ("memory_fit.steps=41", "memory evolve evaluate report"),
        ("memory_data.length=31", "memory evolve evaluate report"),
        ("vision_fit.steps=41", "vision encode memory evolve evaluate report"),
        ("vision_data.batch=31", "vision encode memory evolve evaluate report"),
        ("collect.episodes=9", "collect vision encode memory evolve evaluate report"),
        ("seed=1", "collect vision encode memory evolve evaluate report"),
    ],
)
def test_a_setting_changes_the_fingerprints_behind_it(plain: dict[str, Any], setting: str, stale: str) -> None:
    before, after = fingerprints(plain), fingerprints(override(plain, [setting]))
    assert [name for name in before if before[name] != after[name]] == stale.split()


def test_every_setting_of_a_run_belongs_to_a_stage(plain: dict[str, Any]) -> None:
    stages = (*STAGES, ROUNDS, *table({**plain, "recording": {"kind": "videos"}}))
    used = {key for stage in stages for key in stage.settings}
    assert used == set(plain) == set(RunConfig.__dataclass_fields__)


def test_inputs_stand_before_their_stage() -> None:
    names = list(BY_NAME)
    for stage in STAGES:
        assert all(names.index(source) < names.index(stage.name) for source in stage.inputs)


def test_the_digest_ignores_the_order_of_keys_and_nothing_else() -> None:
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert len({digest({"a": 1}), digest({"a": 1.5}), digest({"b": 1}), digest({"a": "1"})}) == 4


def test_how_the_world_is_played_makes_all_stages_stale_that_play_it(plain: dict[str, Any]) -> None:
    before, after = fingerprints(plain), fingerprints(override(plain, ["world.sticky=0.25"]))
    assert all(before[name] != after[name] for name in before)


@pytest.mark.parametrize(
    ("setting", "stale"),
    [
        ("recording.every=2", "collect vision encode memory report"),
        ("recording.action.high=[7.0]", ""),  # a further recording went further: those that are there stay
        ("seed=1", "vision encode memory report"),
        ("collect.episodes=9", ""),
        ("search.sigma=0.5", ""),  # nobody searches
    ],
)
def test_imported_episodes_depend_on_how_they_were_imported(setting: str, stale: str) -> None:
    assert RECORDED == recorded.RECORDED
    recording = recorded.Recording("videos", "clips", ActionCodec("box", (-1.0,), (1.0,), (0.0,)))
    plain = to_json(preset("smoke", recording.spec(), 0, recording))
    before, after = fingerprints(plain), fingerprints(override(plain, [setting]))
    assert [name for name in before if before[name] != after[name]] == stale.split()
