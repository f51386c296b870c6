"""Collecting, evolving and evaluating from Python: the same results as the stages, and anybody may act."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import frmdn
from frmdn.envs.worlds.counting import counting_spec, read_frame
from frmdn.pipeline.front.acting import Actor

WORLD = counting_spec(5, discrete=3)


@pytest.fixture
def run(finished: Path) -> frmdn.Run:
    return frmdn.open(finished)


def test_a_run_is_measured_as_its_own_evaluation_did(run: frmdn.Run) -> None:
    report, own = frmdn.evaluate(run), run.evaluation
    assert report.returns == own["returns"] and report.seeds == own["seeds"] and report.policy == "agent"
    assert frmdn.evaluate(run.player(), episodes=2, seed=run.config.seed).returns == own["returns"]
    assert len(frmdn.evaluate(run, episodes=3).seeds) == 3
    assert frmdn.evaluate(run, seed=7).seeds != own["seeds"]


def test_a_search_with_the_runs_settings_finds_what_the_run_found(run: frmdn.Run) -> None:
    found = frmdn.evolve(run)
    assert np.array_equal(found.player.theta, run.theta())
    timed = {"seconds", "steps_per_second"}
    assert [{k: v for k, v in line.items() if k not in timed} for line in found.history] == [
        {k: v for k, v in line.items() if k not in timed} for line in run.history
    ]


def test_a_search_improves_an_agent_of_ones_own() -> None:
    """The counting world pays for its first number: the controller must learn to hold it up."""
    spec = counting_spec(5)
    vision = frmdn.ConvVAE(frmdn.VisionConfig(latent=4, decoder="fast"))
    agent = frmdn.make_agent(vision, None, spec, frmdn.AgentConfig("z"))
    config = frmdn.SearchConfig(population=8, episodes=1, generations=6, sigma=0.5, slots=8, validate_every=0)
    found = frmdn.evolve(agent, spec, config, seed=3)
    assert len(found.history) == 6
    lazy = frmdn.evaluate(frmdn.Player(agent, np.zeros(agent.controller.size), spec), episodes=2)
    assert frmdn.evaluate(found.player, episodes=2).mean > lazy.mean + 0.5


def test_a_search_in_dreams_plays_in_dreams(run: frmdn.Run) -> None:
    config = frmdn.SearchConfig(population=4, episodes=1, generations=2, slots=2, validate_every=1)
    found = frmdn.evolve(run, search=config, dreams=True)
    assert [line["length"] for line in found.history] == [10, 10]
    assert found.history[1]["real_steps"] == 10 * config.validate_episodes
    assert "dream" not in found.history[0] and "dream" in found.history[1]


def test_another_seed_searches_elsewhere(run: frmdn.Run) -> None:
    config = frmdn.SearchConfig(population=4, generations=1, validate_every=0)
    first, again, other = (frmdn.evolve(run, search=config, seed=seed).player.theta for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_what_a_search_cannot_do_is_said() -> None:
    agent = frmdn.make_agent(frmdn.ConvVAE(), None, WORLD, frmdn.AgentConfig("z"))
    with pytest.raises(ValueError, match="world must be named where an agent is evolved"):
        frmdn.evolve(agent)
    with pytest.raises(ValueError, match=r"dreams=True needs a run.*give frmdn.open\(folder\)"):
        frmdn.evolve(agent, WORLD, dreams=True)


def test_a_function_of_the_frame_acts(tmp_path: Path) -> None:
    """It sees every frame of the episode once and in order, and its actions arrive."""
    store = frmdn.collect(WORLD, tmp_path, 3, lambda frame: read_frame(frame)[1] % 3)
    for index in store.indices():
        episode = store.read(index)
        assert episode.actions.argmax(1).tolist() == [0, 1, 2, 0, 1]
        assert [read_frame(frame)[1] for frame in episode.frames] == [0, 1, 2, 3, 4, 5]


class Counter:
    """Acts by how often it was asked since the episode began."""

    def __init__(self) -> None:
        self.asked = -1

    def reset(self) -> None:
        self.asked = -1

    def act(self, frame: np.ndarray) -> int:
        self.asked += 1
        assert self.asked == read_frame(frame)[1], "frames of two episodes were mixed, or it was not reset"
        return self.asked % 3


def test_an_object_that_remembers_plays_one_episode_after_the_other(tmp_path: Path) -> None:
    assert isinstance(Counter(), Actor)
    report = frmdn.evaluate(Counter(), WORLD, 5)
    assert report.lengths == [5] * 5 and report.policy == "Counter"
    assert len(frmdn.collect(WORLD, tmp_path, 3, Counter()).indices()) == 3


@pytest.mark.ray
def test_workers_change_nothing(tmp_path: Path) -> None:
    here, there = (frmdn.evaluate(Counter(), WORLD, 5, workers=workers) for workers in (0, 2))
    assert replace(here, seconds=0.0) == replace(there, seconds=0.0)


def test_a_run_collects_and_a_second_call_goes_on(run: frmdn.Run, tmp_path: Path) -> None:
    folder = tmp_path / "more"
    first = frmdn.collect(run.spec, folder, 2, run, seed=5)
    written = first.path(0).stat().st_mtime_ns
    second = frmdn.collect(run.spec, folder, 3, run, seed=5)
    assert second.indices() == [0, 1, 2] and second.path(0).stat().st_mtime_ns == written
    with pytest.raises(ValueError, match="collect into another folder"):
        frmdn.collect(run.spec, folder, 3, run, seed=6)


def test_a_policy_of_a_name_collects_as_the_stage_does(run: frmdn.Run, tmp_path: Path) -> None:
    mine = frmdn.collect(run.spec, tmp_path / "mine", 4, run.config.collect.policy, seed=run.config.seed)
    for index in run.episodes().indices():
        assert np.array_equal(mine.read(index).actions, run.episodes().read(index).actions)


def test_who_cannot_act_is_told_who_can() -> None:
    with pytest.raises(
        ValueError, match="who must be one of brownian, random, linear, ou, a run or a player; not 'me'"
    ):
        frmdn.evaluate("me", WORLD)
    with pytest.raises(ValueError, match=r"3 cannot act: give a run, a player, a name .*act\(frame\) and reset\(\)"):
        frmdn.evaluate(3, WORLD)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="world must be named where 'random' acts"):
        frmdn.evaluate("random")
    with pytest.raises(ValueError, match="environment 'CarRacing-v33' is unknown here; did you mean"):
        frmdn.evaluate("random", "CarRacing-v33")


def test_an_action_that_the_world_does_not_take_is_refused() -> None:
    for wrong in (7, 3, -1):
        with pytest.raises(ValueError, match=rf"action {wrong} is none of this world's: 0 to 2"):
            frmdn.evaluate(lambda frame, wrong=wrong: wrong, WORLD, 1)
    with pytest.raises(ValueError, match=r"action \[1\.0\] has 1 numbers, but this world takes 2"):
        frmdn.evaluate(lambda frame: [1.0], counting_spec(5), 1)
