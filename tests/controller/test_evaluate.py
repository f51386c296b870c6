from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import frmdn.controller.evaluate
from frmdn.agent.seeds import episode_seeds
from frmdn.controller.evaluate import EvaluationReport, bootstrap_ci, evaluate, versions
from frmdn.envs import get_spec, make_slots
from frmdn.envs.spec import EnvSpec
from frmdn.envs.worlds.counting import Failure, counting_spec
from frmdn.rollouts.job import Job, Outcome
from frmdn.rollouts.policy import RandomPolicy
from frmdn.rollouts.workers import SerialPool

KEYS = {
    *("env", "episodes", "seeds", "returns", "lengths", "mean", "std", "ci95"),
    *("policy", "baselines", "versions", "seconds"),
}


def make_policy(spec: EnvSpec, slots: int) -> RandomPolicy:
    return RandomPolicy(spec.action)


def run(episodes: int = 6, seed: int = 4, **settings: Any) -> EvaluationReport:
    settings = {"name": "random", "workers": 0, "slots": 2} | settings
    return evaluate(counting_spec(7), make_policy, episodes=episodes, seed=seed, **settings)


def test_the_report_holds_the_episodes_and_their_statistics() -> None:
    report = run()
    assert (report.env, report.policy, report.episodes) == ("Counting-v0", "random", 6)
    assert report.seeds == episode_seeds(4, "evaluate", 6)
    assert report.lengths == [7] * 6
    assert report.mean == pytest.approx(sum(report.returns) / 6)
    assert report.std == pytest.approx(np.std(report.returns, ddof=1))
    assert report.ci95[0] < report.mean < report.ci95[1]
    assert report.ci95 == list(bootstrap_ci(report.returns, 4))
    assert set(json.loads(json.dumps(report.to_dict(), allow_nan=False))) == KEYS


def test_evaluating_twice_gives_equal_returns_whatever_the_slots() -> None:
    assert run().returns == run().returns == run(slots=5).returns
    assert run(seed=5).returns != run().returns


@pytest.mark.ray
def test_the_number_of_workers_changes_nothing() -> None:
    assert run(workers=2).returns == run().returns


def test_returns_are_ordered_by_seed_and_more_episodes_extend_fewer() -> None:
    assert run(episodes=6).returns[:3] == run(episodes=3).returns


class Backwards(SerialPool):
    """Finishes its last job first."""

    def run(self, jobs: Iterable[Job]) -> Iterator[Outcome]:
        return reversed(list(super().run(jobs)))


def test_the_order_of_finishing_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    forwards = run()
    monkeypatch.setattr(frmdn.controller.evaluate, "open_pool", lambda make, workers, address: Backwards(make))
    assert (run().returns, run().seeds) == (forwards.returns, forwards.seeds)


def test_a_stopped_evaluation_plays_only_what_is_left() -> None:
    whole: list[Outcome] = []
    report = run(episodes=4, progress=lambda done, total, outcome: whole.append(outcome))
    seen: list[int] = []
    played = {outcome.index: outcome for outcome in whole if outcome.index in (0, 2)}
    again = run(episodes=4, played=played, progress=lambda done, total, outcome: seen.append(outcome.index))
    assert again.returns == report.returns and sorted(seen) == [1, 3]
    foreign = {0: replace(whole[0], seed=whole[0].seed + 1, total=1e6)}  # of another root seed: not to be believed
    assert run(episodes=4, played=foreign).returns == report.returns


def test_progress_counts_the_episodes() -> None:
    seen: list[tuple[int, int]] = []
    run(episodes=3, progress=lambda done, total, outcome: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_one_episode_has_no_spread_and_none_is_refused() -> None:
    report = run(episodes=1)
    assert (report.std, report.ci95) == (0.0, [report.mean, report.mean])
    with pytest.raises(ValueError, match="episodes must be at least 1"):
        run(episodes=0)


def test_an_episode_that_fails_fails_the_evaluation() -> None:
    spec = counting_spec(7, failure=Failure("raise", step=2, seed=episode_seeds(4, "evaluate", 3)[1]))
    with pytest.raises(RuntimeError, match="fails on purpose"):
        evaluate(spec, make_policy, name="random", episodes=3, seed=4, workers=0)


def test_baselines_stand_in_the_report() -> None:
    report = run().with_baselines({"idle": run(name="idle")})
    assert report.to_dict()["baselines"]["idle"]["returns"] == report.returns
    assert set(report.baselines["idle"]) == KEYS - {"baselines"}


def test_a_baseline_on_other_episodes_is_refused() -> None:
    with pytest.raises(ValueError, match="'idle' was evaluated on other episodes"):
        run().with_baselines({"idle": run(seed=5)})


def test_the_interval_is_that_of_the_normal_law_on_many_returns() -> None:
    returns = np.random.default_rng(0).normal(900, 20, 400)
    low, high = bootstrap_ci(returns, seed=0)
    half = 1.96 * returns.std(ddof=1) / 20
    assert low == pytest.approx(returns.mean() - half, abs=0.1)
    assert high == pytest.approx(returns.mean() + half, abs=0.1)


def test_the_interval_of_two_values_is_their_exact_bootstrap() -> None:
    assert bootstrap_ci([0.0, 1.0], seed=0) == (0.0, 1.0)  # means 0, 1/2, 1 with weights 1/4, 1/2, 1/4
    assert bootstrap_ci([3.0, 3.0, 3.0], seed=0) == (3.0, 3.0)


def test_the_interval_covers_the_true_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    intervals = [bootstrap_ci(rng.exponential(size=40), seed=i) for i in range(150)]
    covered = np.mean([low <= 1.0 <= high for low, high in intervals])
    assert 0.87 <= covered <= 0.99  # 0.92 to 0.93 is what the percentile bootstrap reaches on 40 skewed draws


@pytest.mark.parametrize("returns", [[], [1.0, float("nan")], [[1.0]]])
def test_the_interval_of_nothing_is_refused(returns: Any) -> None:
    with pytest.raises(ValueError, match="returns must be finite"):
        bootstrap_ci(returns, seed=0)


def test_versions_are_plain_texts() -> None:
    found = versions()
    assert found["cma"] != "-"
    assert all(isinstance(value, str) for value in found.values())
    assert {"python", "frmdn", "torch", "numpy", "gymnasium", "ray", "platform", "cpus"} <= set(found)


def test_a_blind_policy_returns_the_same_whoever_paints() -> None:
    """And one that looks is always shown the official picture."""
    car, shown = replace(get_spec("CarRacing-v3"), max_steps=40), []

    class Looking(RandomPolicy):
        def act(self, slots: np.ndarray, frames: np.ndarray) -> np.ndarray:
            shown.append(frames.copy())
            return super().act(slots, frames)

    def played(blind: bool) -> EvaluationReport:
        make = lambda spec, slots: Looking(spec.action)  # noqa: E731
        return evaluate(car, make, name="x", episodes=2, seed=1, workers=0, slots=2, blind=blind)

    official, quick = played(False), played(True)
    assert official.returns == quick.returns and official.lengths == quick.lengths == [40, 40]
    seen, painted = shown[: len(shown) // 2], shown[len(shown) // 2 :]
    assert any((a != b).any() for a, b in zip(seen, painted, strict=True))  # else nothing was quicker
    world = make_slots(car, 1, official=True)
    assert any(np.array_equal(world.start(0, official.seeds[0]), frame) for frame in seen[0])
