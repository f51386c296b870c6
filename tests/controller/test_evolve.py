from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from frmdn.agent.seeds import episode_seeds
from frmdn.controller.evolution import Evolution, SearchConfig
from frmdn.controller.evolve import evolve
from frmdn.controller.fitness import Returns, Trial

SIZE = 6


class NoisySphere:
    """Returns with a part that depends on the seed alone, as a hard track does; remembers what it was asked."""

    def __init__(self) -> None:
        self.trials: list[list[Trial]] = []

    def measure(self, trials: Sequence[Trial]) -> list[Returns]:
        self.trials.append(list(trials))
        return [self.one(trial) for trial in trials]

    def one(self, trial: Trial) -> Returns:
        noise = np.array([np.random.default_rng(seed).normal() for seed in trial.seeds])
        total = -((trial.theta - 0.5) ** 2).sum(axis=1)[:, None] + noise
        return Returns(total, np.full(total.shape, 10))


class Killed(Exception):
    pass


def config(**changes: Any) -> SearchConfig:
    return SearchConfig(**{"population": 8, "generations": 12, "validate_every": 4, "validate_episodes": 3} | changes)


def test_it_improves_and_writes_one_plain_line_per_generation() -> None:
    lines: list[dict[str, Any]] = []
    settings = config(generations=60)
    evolution = evolve(NoisySphere(), Evolution(SIZE, settings, 0), settings, seed=0, on_generation=lines.append)
    assert evolution.generation == 60
    assert ((evolution.mean - 0.5) ** 2).sum() < 0.01  # 1.5 at the start
    assert json.loads(json.dumps(lines, allow_nan=False)) == lines
    assert [line["generation"] for line in lines] == list(range(1, 61))
    assert lines[-1]["worst"] <= lines[-1]["mean"] <= lines[-1]["best"]
    assert (lines[0]["episodes"], lines[0]["steps"]) == (16, 160)
    assert (lines[4]["episodes"], lines[4]["steps"]) == (19, 190)
    assert [line["generation"] for line in lines if "validation" in line] == list(range(5, 61, 4))


def test_all_candidates_of_a_generation_meet_the_same_seeds_and_generations_meet_new_ones() -> None:
    fitness, settings = NoisySphere(), config()
    evolve(fitness, Evolution(SIZE, settings, 0), settings, seed=9)
    played = [list(trials[0].seeds) for trials in fitness.trials]
    assert played == [episode_seeds(9, "evolve", 2, start=2 * g) for g in range(12)]
    assert len({seed for seeds in played for seed in seeds}) == 24


def test_validation_plays_the_mean_that_the_generation_is_drawn_around_on_fixed_seeds() -> None:
    fitness, settings = NoisySphere(), config()
    lines: list[dict[str, Any]] = []
    means: list[np.ndarray] = []
    evolution = Evolution(SIZE, settings, 0)
    evolve(
        fitness,
        evolution,
        settings,
        seed=9,
        on_generation=lines.append,
        checkpoint=lambda state: means.append(state["mean"]),
    )
    for generation in (4, 8):
        validated = fitness.trials[generation][1]
        assert np.array_equal(validated.theta[0], means[generation - 1])
        assert list(validated.seeds) == episode_seeds(9, "validate", 3)
        assert lines[generation]["validation"] == pytest.approx(fitness.one(validated).total.mean())
        assert evolution.validations[generation] == lines[generation]["validation"]
    assert [len(trials) for trials in fitness.trials] == [1, 1, 1, 1, 2, 1, 1, 1, 2, 1, 1, 1]


def test_validation_has_no_influence_on_the_search() -> None:
    with_it, without = config(), config(validate_every=0)
    one = evolve(NoisySphere(), Evolution(SIZE, with_it, 0), with_it, seed=9)
    two = evolve(NoisySphere(), Evolution(SIZE, without, 0), without, seed=9)
    assert np.array_equal(one.mean, two.mean)
    assert np.isnan(two.validations).all()


@pytest.mark.parametrize("kill_after", ["history", "checkpoint"])
def test_a_killed_search_resumes_to_the_same_end_with_no_generation_lost_or_doubled(kill_after: str) -> None:
    settings = config()
    history: list[dict[str, Any]] = []
    saved: list[dict[str, np.ndarray]] = []

    def on_generation(line: dict[str, Any]) -> None:
        history.append(line)
        if kill_after == "history" and len(history) == 6:
            raise Killed

    def checkpoint(state: dict[str, np.ndarray]) -> None:
        saved.append(state)
        if kill_after == "checkpoint" and len(saved) == 6:
            raise Killed

    with pytest.raises(Killed):
        evolve(
            NoisySphere(),
            Evolution(SIZE, settings, 0),
            settings,
            seed=9,
            on_generation=on_generation,
            checkpoint=checkpoint,
        )
    resumed = Evolution.resume(SIZE, settings, 0, saved[-1])
    history = history[: resumed.generation]  # as the docstring of evolve asks
    evolve(NoisySphere(), resumed, settings, seed=9, on_generation=lambda line: history.append(line))
    straight_history: list[dict[str, Any]] = []
    straight = evolve(
        NoisySphere(), Evolution(SIZE, settings, 0), settings, seed=9, on_generation=straight_history.append
    )
    assert np.array_equal(resumed.mean, straight.mean)
    timed = {"seconds", "steps_per_second"}
    plain, plain_straight = (
        [{name: value for name, value in line.items() if name not in timed} for line in lines]
        for lines in (history, straight_history)
    )
    assert plain == plain_straight


def test_it_stops_at_the_wanted_validation_and_stays_stopped_when_resumed() -> None:
    settings = config(generations=100, stop_at=-50.0)
    evolution = evolve(NoisySphere(), Evolution(SIZE, settings, 0), settings, seed=9)
    assert evolution.generation == 5  # the first validation is that of generation 5
    resumed = Evolution.resume(SIZE, settings, 0, evolution.state())
    assert evolve(NoisySphere(), resumed, settings, seed=9).generation == 5


def test_it_starts_no_generation_after_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    settings, fitness = config(seconds=25.0), NoisySphere()
    monkeypatch.setattr("time.monotonic", lambda: 10.0 * len(fitness.trials))  # a generation takes ten seconds
    assert evolve(fitness, Evolution(SIZE, settings, 0), settings, seed=9).generation == 3


def test_a_fitness_that_raises_is_not_swallowed() -> None:
    class Broken:
        def measure(self, trials: Sequence[Trial]) -> list[Returns]:
            raise RuntimeError("worker 3 died")

    with pytest.raises(RuntimeError, match="worker 3 died"):
        evolve(Broken(), Evolution(SIZE, config(), 0), config(), seed=9)
