from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from frmdn.agent.seeds import episode_seeds
from frmdn.controller.evolution import Evolution, SearchConfig
from frmdn.controller.evolve import Rehearsal, evolve
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


class Gamble(NoisySphere):
    """Every second candidate plays for all or nothing: its best episode shines and its mean does not."""

    def one(self, trial: Trial) -> Returns:
        base = -((trial.theta - 0.5) ** 2).sum(axis=1)[:, None] + np.zeros(len(trial.seeds))
        reckless = np.arange(len(trial.theta)) % 2 == 1
        swing = np.where(np.arange(len(trial.seeds)) == 0, 50.0, -60.0)
        total = base + reckless[:, None] * swing
        return Returns(total, np.full(total.shape, 10))


def test_the_fitness_is_the_mean_over_the_episodes_and_not_the_best_the_worst_or_the_median() -> None:
    """Of three episodes a gambler wins one by 50 and loses two by 60: by its best it leads, by its mean it is last."""
    settings, fitness, lines = config(episodes=3, generations=5), Gamble(), []
    evolution = evolve(fitness, Evolution(SIZE, settings, 0), settings, seed=0, on_generation=lines.append)
    for generation, trials in enumerate(fitness.trials):
        total = fitness.one(trials[0]).total
        np.testing.assert_allclose(evolution.fitness[generation], total.mean(axis=1))
        ranks = [np.argsort(of(total, axis=1)).tolist() for of in (np.mean, np.max, np.min, np.median)]
        assert ranks[0] != ranks[1] and np.argmax(total.mean(axis=1)) % 2 == 0  # so that the wrong one would show
        assert lines[generation]["best"] == pytest.approx(total.mean(axis=1).max())
        assert lines[generation]["worst"] == pytest.approx(total.mean(axis=1).min())
        assert lines[generation]["mean"] == pytest.approx(total.mean())
    assert evolution.best is not None and evolution.best.value == pytest.approx(max(map(np.max, evolution.fitness)))


def test_the_champion_is_the_mean_of_the_best_validation_and_its_generation_counts_those_before_it() -> None:
    """Validations fall after their second: neither the last mean nor the best candidate is the champion."""

    class Falling(NoisySphere):
        def one(self, trial: Trial) -> Returns:
            told = super().one(trial)
            if len(trial.theta) > 1:
                return told
            worth = {1: 3.0, 2: 9.0, 3: 5.0}[sum(len(trials) > 1 for trials in self.trials)]
            return told._replace(total=np.full_like(told.total, worth))

    settings, states = config(generations=13), []
    evolution = evolve(Falling(), Evolution(SIZE, settings, 0), settings, seed=9, checkpoint=states.append)
    champion = evolution.champion
    assert champion is not None and (champion.value, champion.generation) == (9.0, 8)
    assert np.array_equal(champion.theta, states[7]["mean"]) and not np.array_equal(champion.theta, evolution.mean)
    again = Evolution.resume(SIZE, settings, 0, states[-1]).champion
    assert again is not None and np.array_equal(again.theta, champion.theta) and again[1:] == champion[1:]


def test_a_rehearsed_mean_is_checked_on_the_validation_seeds_and_the_dream_has_no_vote() -> None:
    """The champion of a search in dreams is the best in reality, whatever it was worth in the dream."""

    class Reality(NoisySphere):
        """What the dream takes for good is bad there."""

        def one(self, trial: Trial) -> Returns:
            told = super().one(trial)
            return told._replace(total=-3 * told.total)

    dream, reality, lines = NoisySphere(), Reality(), []
    settings = config(generations=9)
    evolution = evolve(
        dream,
        Evolution(SIZE, settings, 0),
        settings,
        seed=9,
        validation=[5, 6, 7],
        length=lambda generation: 10 + generation,
        rehearsal=Rehearsal(reality),
        on_generation=lines.append,
    )
    assert [list(trials[0].seeds) for trials in reality.trials] == [[5, 6, 7]] * 2
    assert [trials[0].max_steps for trials in reality.trials] == [None] * 2  # whole episodes there
    assert [trials[0].max_steps for trials in dream.trials] == [10 + g for g in range(9)]
    assert all(trial.max_steps == 10 + g for g, trials in enumerate(dream.trials) for trial in trials)
    real = [reality.one(trials[0]).total.mean() for trials in reality.trials]
    assert evolution.champion is not None and evolution.champion.value == pytest.approx(max(real))
    checks = [line for line in lines if "validation" in line]
    assert [line["validation"] for line in checks] == pytest.approx(real)
    assert [line["dream"] for line in checks] == pytest.approx([value / -3 for value in real])
    assert real[0] > real[1] and evolution.champion.generation == 4  # in the dream the second one was better


def test_a_search_whose_time_is_over_before_it_began_still_plays_one_generation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A run that was killed in a first generation longer than its time must come to an end, and have an agent."""
    settings, fitness = config(seconds=1e-9), NoisySphere()
    monkeypatch.setattr("time.monotonic", iter(range(1000)).__next__)
    evolution = evolve(fitness, Evolution(SIZE, settings, 0), settings, seed=9)
    assert evolution.generation == 1 and evolution.best is not None
    assert evolve(fitness, evolution, settings, seed=9).generation == 1


def test_equal_values_keep_the_first_champion_and_an_unvalidated_generation_makes_none() -> None:
    evolution = Evolution(SIZE, config(population=4), 0)
    for validation in (float("nan"), 2.0, 2.0, float("nan"), 1.0):
        evolution.tell(np.arange(4.0), validation)
    assert evolution.champion is not None and evolution.champion[1:] == (2.0, 1)


def test_candidates_play_longer_from_generation_to_generation_and_the_mean_whole_episodes() -> None:
    fitness, settings = NoisySphere(), config(generations=9, first_steps=10, growing=4)
    lines: list[dict] = []
    evolve(
        fitness,
        Evolution(SIZE, settings, 0),
        settings,
        seed=9,
        length=lambda generation: settings.steps_at(generation, 50),
        on_generation=lines.append,
    )
    assert [trials[0].max_steps for trials in fitness.trials] == [10, 20, 30, 40, 50, 50, 50, 50, 50]
    assert [line["length"] for line in lines] == [10, 20, 30, 40, 50, 50, 50, 50, 50]
    validated = [trials[1].max_steps for trials in fitness.trials if len(trials) > 1]
    assert validated and set(validated) == {None}
