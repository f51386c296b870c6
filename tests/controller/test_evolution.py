from __future__ import annotations

import io
import random
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pytest

from frmdn.controller.evolution import Evolution, SearchConfig

Objective = Callable[[np.ndarray], np.ndarray]


def sphere(x: np.ndarray) -> np.ndarray:
    return -((x - 1.0) ** 2).sum(axis=1)


def rosenbrock(x: np.ndarray) -> np.ndarray:
    return -(100 * (x[:, 1:] - x[:, :-1] ** 2) ** 2 + (1 - x[:, :-1]) ** 2).sum(axis=1)


def advance(evolution: Evolution, objective: Objective, generations: int) -> Evolution:
    for _ in range(generations):
        evolution.tell(objective(evolution.ask()))
    return evolution


@pytest.mark.parametrize("diagonal", [False, True])
def test_it_solves_the_sphere(diagonal: bool) -> None:
    config = SearchConfig(population=16, sigma=0.5, diagonal=diagonal)
    evolution = advance(Evolution(50, config, seed=1), sphere, 120)
    assert sphere(evolution.mean[None])[0] > -0.1  # -50 at the start
    assert evolution.sigma < 0.1  # 0.5 at the start: it must shrink on the way


def test_it_solves_rosenbrock_whose_valley_needs_the_full_covariance() -> None:
    full = advance(Evolution(10, SearchConfig(population=16, sigma=0.5), seed=1), rosenbrock, 400)
    diagonal = advance(Evolution(10, SearchConfig(population=16, sigma=0.5, diagonal=True), seed=1), rosenbrock, 400)
    assert rosenbrock(full.mean[None])[0] > -1e-6
    assert rosenbrock(diagonal.mean[None])[0] < rosenbrock(full.mean[None])[0]


@pytest.mark.parametrize("diagonal", [False, True])
def test_resuming_equals_never_stopping_to_the_bit(diagonal: bool) -> None:
    config = SearchConfig(population=6, diagonal=diagonal)
    straight = advance(Evolution(12, config, seed=3), rosenbrock, 30)
    first = advance(Evolution(12, config, seed=3), rosenbrock, 11)
    first.ask()  # a generation that is under way when the run is killed
    second = advance(Evolution.resume(12, config, 3, first.state()), rosenbrock, 19)
    assert second.generation == 30
    assert np.array_equal(second.mean, straight.mean)
    assert second.sigma == straight.sigma
    assert np.array_equal(second.ask(), straight.ask())
    for name, array in straight.state().items():
        assert np.array_equal(second.state()[name], array, equal_nan=True), name


def test_the_agent_is_the_average_of_the_last_share_of_the_means() -> None:
    config = SearchConfig(population=6, average=0.25)
    evolution, means = Evolution(12, config, seed=3), []
    for _ in range(20):
        advance(evolution, rosenbrock, 1)
        means.append(evolution.mean)
    np.testing.assert_allclose(evolution.agent, np.mean(means[-5:], axis=0), rtol=1e-6, atol=1e-7)
    assert np.array_equal(Evolution.resume(12, config, 3, evolution.state()).agent, evolution.agent)
    last = advance(Evolution(12, SearchConfig(population=6), seed=3), rosenbrock, 20)
    assert np.array_equal(last.agent, means[-1]) and np.array_equal(last.mean, evolution.mean)


def test_where_returns_are_noisy_the_average_is_nearer_to_the_best() -> None:
    gains = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        evolution = Evolution(30, SearchConfig(population=16, sigma=0.3, average=0.5), seed)
        advance(evolution, lambda x, rng=rng: sphere(x) + rng.normal(0, 10, len(x)), 150)
        gains.append(sphere(evolution.agent[None])[0] - sphere(evolution.mean[None])[0])
    assert np.mean(gains) > 0 and sum(gain > 0 for gain in gains) >= 4


def test_a_share_is_from_0_to_1() -> None:
    with pytest.raises(ValueError, match="average must be a share"):
        SearchConfig(average=1.5)


def test_a_search_that_has_not_begun_can_be_resumed() -> None:
    fresh = Evolution(5, SearchConfig(population=8), seed=0)
    resumed = Evolution.resume(5, fresh.config, 0, fresh.state())
    assert resumed.best is None
    assert np.array_equal(resumed.ask(), fresh.ask())


def test_the_state_survives_safetensors(tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    evolution = advance(Evolution(5, SearchConfig(population=8), seed=0), sphere, 3)
    save_file(evolution.state(), tmp_path / "search.safetensors")
    resumed = Evolution.resume(5, evolution.config, 0, load_file(tmp_path / "search.safetensors"))
    assert np.array_equal(resumed.mean, evolution.mean)


def test_candidates_do_not_depend_on_the_eigenvectors_that_a_machine_picks(monkeypatch: pytest.MonkeyPatch) -> None:
    config = SearchConfig(population=8)
    straight = advance(Evolution(6, config, seed=2), sphere, 10)
    flipped = Evolution(6, config, seed=2)
    solve = flipped._strategy.sm.eigenmethod

    def other(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values, vectors = solve(matrix)
        return values, vectors * np.array([1, -1, 1, -1, -1, 1])

    monkeypatch.setattr(flipped._strategy.sm, "eigenmethod", other)
    advance(flipped, sphere, 10)
    np.testing.assert_allclose(flipped.mean, straight.mean, rtol=1e-10, atol=1e-12)


def test_the_draws_are_standard_normal() -> None:
    config = SearchConfig(population=2000, sigma=0.5)
    z = Evolution(6, config, seed=5).ask() / 0.5
    np.testing.assert_allclose(z.mean(axis=0), 0.0, atol=0.1)
    np.testing.assert_allclose(np.cov(z.T), np.eye(6), atol=0.12)


def test_asking_twice_gives_the_same_candidates() -> None:
    evolution = Evolution(5, SearchConfig(population=8), seed=0)
    first = evolution.ask()
    kept = first.copy()
    first += 1.0  # the caller's copy, not the search's
    assert np.array_equal(evolution.ask(), kept)


def test_seeds_differ_and_global_random_numbers_stay_untouched() -> None:
    def draw() -> float:
        return float(np.random.random()) + random.random()  # noqa: NPY002

    np.random.seed(7)  # noqa: NPY002
    random.seed(7)
    expected = draw()
    np.random.seed(7)  # noqa: NPY002
    random.seed(7)
    one = advance(Evolution(400, SearchConfig(population=8), seed=1), sphere, 6)  # pycma's TPA would draw from here
    two = Evolution(400, SearchConfig(population=8), seed=2)
    assert draw() == expected
    assert not np.array_equal(one.ask(), two.ask())


def test_it_prints_nothing_and_writes_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        advance(Evolution(5, SearchConfig(population=4), seed=0), lambda x: np.zeros(len(x)), 20)
    assert (out.getvalue(), err.getvalue()) == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_equal_returns_move_the_mean_without_a_preferred_direction() -> None:
    """Random selection: over many seeds the mean stays where it was, and the step size neither dies nor explodes."""
    means, sigmas = [], []
    for seed in range(60):
        evolution = advance(Evolution(5, SearchConfig(population=8), seed), lambda x: np.zeros(len(x)), 5)
        means.append(evolution.mean)
        sigmas.append(evolution.sigma)
    spread = np.std(means, axis=0, ddof=1) / np.sqrt(len(means))
    assert (np.abs(np.mean(means, axis=0)) < 4 * spread).all()
    assert 0.05 < np.median(sigmas) < 0.2


def test_the_best_candidate_is_kept_with_its_value_and_generation() -> None:
    evolution = Evolution(5, SearchConfig(population=4), seed=0)
    evolution.tell(np.array([0.0, 3.0, 1.0, 2.0]))
    second = evolution.ask()
    evolution.tell(np.array([0.0, 1.0, 9.0, 2.0]))
    evolution.tell(np.array([0.0, 9.0, 1.0, 2.0]))  # a tie does not replace the first
    assert evolution.best is not None
    assert (evolution.best.value, evolution.best.generation) == (9.0, 2)
    assert np.array_equal(evolution.best.theta, second[2])


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_fitness_that_is_not_finite_is_refused_and_changes_nothing(wrong: float) -> None:
    evolution = Evolution(5, SearchConfig(population=4), seed=0)
    asked, mean = evolution.ask(), evolution.mean
    with pytest.raises(ValueError, match=r"candidate 2 of generation 1 .*look for NaN"):
        evolution.tell(np.array([0.0, 1.0, wrong, 2.0]))
    assert evolution.generation == 0
    assert np.array_equal(evolution.ask(), asked)
    assert np.array_equal(evolution.mean, mean)


def test_a_wrong_number_of_fitness_values_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        Evolution(5, SearchConfig(population=4), seed=0).tell(np.zeros(3))


def test_resume_refuses_the_state_of_another_search() -> None:
    config = SearchConfig(population=4)
    state = advance(Evolution(5, config, seed=0), sphere, 2).state()
    for size, other, seed in (
        (6, config, 0),
        (5, config, 1),
        (5, SearchConfig(population=8), 0),
        (5, SearchConfig(population=4, sigma=0.2), 0),
        (5, SearchConfig(population=4, diagonal=True), 0),
    ):
        with pytest.raises(ValueError, match="another one"):
            Evolution.resume(size, other, seed, state)
    with pytest.raises(ValueError, match="fitness missing"):
        Evolution.resume(5, config, 0, {name: array for name, array in state.items() if name != "fitness"})


def test_resume_refuses_a_history_that_does_not_lead_to_the_saved_mean() -> None:
    config = SearchConfig(population=4)
    state = advance(Evolution(5, config, seed=0), sphere, 2).state()
    state["mean"] = state["mean"] + 1e-6
    with pytest.raises(ValueError, match=r"replay ends elsewhere .*delete the saved search"):
        Evolution.resume(5, config, 0, state)


@pytest.mark.parametrize(
    ("name", "value"),
    [("population", 3), ("episodes", 0), ("generations", 0), ("sigma", 0.0), ("sigma", float("nan")), ("slots", 0)],
)
def test_impossible_settings_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        SearchConfig(**{name: value})  # type: ignore[arg-type]


def test_episodes_grow_to_their_full_length_and_not_beyond() -> None:
    config = SearchConfig(first_steps=100, growing=10)
    assert [config.steps_at(g, 200) for g in (0, 5, 10, 99)] == [100, 150, 200, 200]
    assert config.steps_at(50, 80) == 80 and config.steps_at(0, 80) == 80  # a world with shorter episodes
    assert SearchConfig(max_steps=150, first_steps=100, growing=10).steps_at(10, 200) == 150
    assert SearchConfig().steps_at(0, 200) == 200 and SearchConfig(max_steps=50).steps_at(0, 200) == 50
