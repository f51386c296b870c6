"""The results file: what it says, how it grows, and what it refuses."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from frmdn.pipeline.density.results import beats, read_results, rows, store, summarise
from frmdn.rollouts.sources import Source


def result(nll: float, seconds: float = 2.0) -> dict[str, Any]:
    return {
        "nll_per_dim": nll,
        "validation_nll_per_dim": nll,
        "parameters": 100,
        "seconds": seconds,
        "cpu_seconds": seconds,
        "steps": 7,
        "best_step": 6,
        "best_share": 0.9,
        "diverged": None,
    }


def test_a_record_has_mean_and_deviation_of_its_seeds(toy: Source) -> None:
    record = summarise(toy, {"rmdn": [result(1.0), result(2.0, 4.0)], "factorized": []}, {"budget_seconds": 2.0})
    assert record["data"] == "inverse-sine" and list(record["models"]) == ["rmdn"]
    model = record["models"]["rmdn"]
    assert model["nll_per_dim"] == [1.0, 2.0] and model["mean"] == 1.5 and model["seconds"] == 3.0
    assert model["std"] == pytest.approx(math.sqrt(0.5)) and model["parameters"] == 100 and model["steps"] == [7, 7]


def test_the_gap_to_the_floor(toy: Source) -> None:
    source = replace(toy, floor=1.0)
    models = summarise(source, {"rmdn": [result(3.0)], "frmdn-spline": [result(1.5)]}, {})["models"]
    assert models["rmdn"]["gap_closed"] == 0 and models["frmdn-spline"]["gap_closed"] == 0.75


def test_better_means_by_more_than_both_deviations(toy: Source) -> None:
    runs = {
        "rmdn": [result(3.0), result(3.2)],
        "frmdn-spline": [result(2.0), result(2.2)],
        "factorized": [result(2.9), result(3.1)],
        "frmdn-diagonal": [result(1.0)],
    }
    record = summarise(toy, runs, {})
    models = record["models"]
    assert beats(models["frmdn-spline"], models["rmdn"]) and not beats(models["factorized"], models["rmdn"])
    assert not beats(models["frmdn-diagonal"], models["rmdn"])  # one seed has no deviation
    verdicts = {row[0]: row[3] for row in rows(record)}
    assert verdicts == {
        "rmdn": "baseline",
        "frmdn-spline": "better",
        "factorized": "within the spread",
        "frmdn-diagonal": "within the spread",
    }


def test_the_file_grows_by_data_set_and_replaces_its_own(tmp_path: Path) -> None:
    path = tmp_path / "density.json"
    for record in ({"data": "a", "models": {}}, {"data": "b", "models": {}}, {"data": "a", "models": {"x": {}}}):
        store(path, record)
    assert json.loads(path.read_text()) == [{"data": "a", "models": {"x": {}}}, {"data": "b", "models": {}}]
    assert [item.name for item in tmp_path.iterdir()] == ["density.json"]


@pytest.mark.parametrize("text", ["[", '{"data": 1}', "[1]", "[{}]"])
def test_a_damaged_file_is_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / "density.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"density\.json"):
        read_results(path)
