"""What a world tells beside the return: from its info, through slots and outcomes, to figures of the evaluation."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from frmdn.controller.evaluate import EvaluationReport, evaluate
from frmdn.controller.measures import names, summarise, wilson
from frmdn.envs.measure import Measure
from frmdn.envs.spec import EnvSpec
from frmdn.envs.worlds.counting import counting_spec
from frmdn.rollouts.policy import RandomPolicy

STEPS = Measure("mean_steps", "steps", "mean", "steps taken")
TOTAL = Measure("all_steps", "steps", "sum", "steps taken in all")
SPEC = replace(counting_spec(7), measures=(STEPS, TOTAL), about=(("reward", "steps"),))


def make_policy(spec: EnvSpec, slots: int) -> RandomPolicy:
    return RandomPolicy(spec.action)


def run(spec: EnvSpec = SPEC, name: str = "random", **settings: Any) -> EvaluationReport:
    return evaluate(spec, make_policy, name=name, episodes=3, seed=4, workers=0, slots=2, **settings)


def test_an_evaluation_has_the_figures_beside_its_usual_keys() -> None:
    report = run().with_baselines({"idle": run(name="idle")})
    data = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert (data["mean_steps"], data["mean_steps_each"], data["mean_steps_ci95"]) == (7.0, [7.0] * 3, [7.0, 7.0])
    assert data["all_steps"] == 21.0 and "all_steps_ci95" not in data
    assert data["world"] == {"reward": "steps"} and data["baselines"]["idle"]["mean_steps"] == 7.0
    assert names(data) == ["mean_steps", "all_steps"]


def test_episodes_that_were_played_before_keep_what_they_told() -> None:
    outcomes = []
    report = run(progress=lambda done, total, outcome: outcomes.append(outcome))
    again = run(played={outcome.index: outcome for outcome in outcomes})
    assert again.measures == report.measures


def test_a_baseline_in_another_world_is_refused() -> None:
    with pytest.raises(ValueError, match="other episodes"):
        run().with_baselines({"idle": run(replace(SPEC, about=(("reward", "other"),)))})


def test_wilson_by_hand() -> None:
    """The textbook's values for 0 of 10, 5 of 10, and its mirror image."""
    assert wilson([0.0] * 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson([0.0, 1.0] * 5) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    low, high = wilson([1.0] * 10)
    assert (low, high) == pytest.approx((0.7225, 1.0), abs=1e-4)
    with pytest.raises(ValueError, match="0 or 1"):
        wilson([0.5])


def test_wilson_covers_the_true_rate_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    intervals = [wilson((rng.random(20) < 0.1).astype(float).tolist()) for _ in range(2000)]
    assert 0.93 < np.mean([low <= 0.1 <= high for low, high in intervals]) < 0.98


def test_kinds_of_figures() -> None:
    rate = Measure("rate", "won", "rate", "share won")
    figures = summarise([rate], [{"rate": 1.0}, {"rate": 0.0}], lambda each: (-1.0, -1.0))
    assert figures["rate"] == 0.5 and figures["rate_ci95"] == list(wilson([1.0, 0.0]))


def test_wilson_is_an_interval_of_95_per_cent() -> None:
    """It ends where the normal test of a rate, with the quantile 1.96, just does not refuse the rate that was seen."""
    for wins, n in ((3, 20), (10, 20), (60, 100)):
        seen = wins / n
        for end in wilson([1.0] * wins + [0.0] * (n - wins)):
            assert abs(seen - end) / np.sqrt(end * (1 - end) / n) == pytest.approx(1.96, abs=1e-3)
