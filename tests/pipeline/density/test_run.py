"""One run: resumed it equals an undisturbed one bit for bit; best weights are kept; other settings are refused."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from frmdn.pipeline.density.data import Data
from frmdn.pipeline.density.measure import nll_per_dim
from frmdn.pipeline.density.model import config_for
from frmdn.pipeline.density.names import MODELS
from frmdn.pipeline.density.run import Plan, Run, open_run
from frmdn.pipeline.density.schedule import Recipe, slides_recipe
from frmdn.pipeline.files import read_json, write_bytes
from frmdn.pipeline.weights import load
from frmdn.rollouts.sources import Source

STEPS = Recipe(budget=None, steps=12, checks=4)


class Killed(BaseException):
    """Not an Exception, so that nothing on the way may handle it."""


def plan(source: Source, model: str = "rmdn", recipe: Recipe = STEPS, seed: int = 0) -> Plan:
    return Plan(Data(source.name), config_for(model, source, 2, 8), recipe, seed)


def quiet(done: int, note: str) -> None: ...


def killer(after: int) -> Callable[[int, str], None]:
    """A report that kills the run at its n-th check."""
    calls: list[int] = []

    def report(done: int, note: str) -> None:
        calls.append(done)
        if len(calls) == after:
            raise Killed

    return report


def history(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def lines(folder: Path) -> list[dict[str, Any]]:
    return [{key: value for key, value in line.items() if key != "seconds"} for line in history(folder)]


def without_time(result: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in result.items() if "seconds" not in key}


@pytest.mark.parametrize("model", ["frmdn-diagonal", "squared-error"])
@pytest.mark.parametrize("kills", [[1], [2, 1, 1]])
def test_a_killed_run_ends_as_an_undisturbed_one(model: str, kills: list[int], toy: Source, tmp_path: Path) -> None:
    recipe = replace(slides_recipe(1), steps=12, checks=4) if model == "squared-error" else STEPS
    whole = Run(tmp_path / "whole", toy, plan(toy, model, recipe)).finish(quiet)
    for after in kills:
        with pytest.raises(Killed):
            Run(tmp_path / "cut", toy, plan(toy, model, recipe)).finish(killer(after))
    cut = Run(tmp_path / "cut", toy, plan(toy, model, recipe)).finish(quiet)
    assert without_time(cut) == without_time(whole)
    left, right = (load(tmp_path / name / "model.safetensors") for name in ("whole", "cut"))
    assert left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)
    assert lines(tmp_path / "cut") == lines(tmp_path / "whole")
    assert [line["check"] for line in lines(tmp_path / "cut")] == [0, 1, 2, 3, 4]


def test_a_finished_run_is_not_done_again(toy: Source, tmp_path: Path) -> None:
    first = Run(tmp_path, toy, plan(toy)).finish(quiet)
    assert Run(tmp_path, toy, plan(toy)).finish(killer(1)) == first  # no check, so nobody is killed
    assert not (tmp_path / "checkpoint.safetensors").exists()


def test_a_budget_of_seconds_is_spent_in_training_and_counted_over_kills(
    toy: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = itertools.count()
    monkeypatch.setattr(
        "frmdn.pipeline.density.schedule._now", lambda: (0.002 * next(ticks), 0.0)
    )  # each look costs 2 ms
    recipe = Recipe(budget=0.4, checks=4)
    with pytest.raises(Killed):
        Run(tmp_path, toy, plan(toy, recipe=recipe)).finish(killer(2))
    (spent,) = (line["seconds"] for line in history(tmp_path) if line["check"] == 2)
    result = Run(tmp_path, toy, plan(toy, recipe=recipe)).finish(quiet)
    seconds = [line["seconds"] for line in history(tmp_path)]
    assert 0.2 <= spent < 0.22 and seconds == sorted(seconds) and 0.4 <= result["seconds"] < 0.42
    shares = [line["share"] for line in history(tmp_path)]
    assert shares == pytest.approx([0, 0.25, 0.5, 0.75, 1], abs=0.05) and result["steps"] >= 8


def test_the_best_state_on_validation_is_what_is_measured(toy: Source, tmp_path: Path) -> None:
    result = Run(tmp_path, toy, plan(toy, recipe=replace(STEPS, learning_rate=0.3))).finish(quiet)
    found = {line["step"]: line["validation_nll_per_dim"] for line in lines(tmp_path)}
    assert result["best_step"] == min(found, key=lambda step: found[step])
    assert result["validation_nll_per_dim"] == found[result["best_step"]]
    settings, model = open_run(tmp_path)
    assert settings["seed"] == 0 and model.config.model == "rmdn"
    assert nll_per_dim(model, toy, "test") == pytest.approx(result["nll_per_dim"], abs=1e-6)
    assert nll_per_dim(model, toy, "validation") == pytest.approx(result["validation_nll_per_dim"], abs=1e-6)


def test_training_learns(toy: Source, tmp_path: Path) -> None:
    recipe = Recipe(budget=None, steps=400, learning_rate=0.01, checks=3)
    Run(tmp_path, toy, plan(toy, "mdn", recipe)).finish(quiet)
    found = [line["validation_nll_per_dim"] for line in lines(tmp_path)]
    assert found[-1] < found[0] - 0.5


def test_a_run_that_diverges_keeps_its_best_and_says_so(
    toy: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def fails(*args: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise FloatingPointError("loss nan is not finite at step 3")
        return fit(*args, **options)

    from frmdn.pipeline.density import run as module

    fit = module.fit
    monkeypatch.setattr(module, "fit", fails)
    result = Run(tmp_path, toy, plan(toy)).finish(quiet)
    assert "not finite" in result["diverged"] and result["best_step"] in (0, 3)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda p: replace(p, seed=1), "seed"),
        (lambda p: replace(p, recipe=replace(p.recipe, steps=13)), "recipe"),
        (lambda p: replace(p, model=replace(p.model, hidden=9)), "model"),
    ],
)
def test_another_plan_in_the_same_folder_is_refused(
    change: Callable[[Plan], Plan], named: str, toy: Source, tmp_path: Path
) -> None:
    Run(tmp_path, toy, plan(toy))
    with pytest.raises(ValueError, match=named):
        Run(tmp_path, toy, change(plan(toy)))


def test_other_data_under_the_same_name_are_refused(toy: Source, tmp_path: Path) -> None:
    Run(tmp_path, toy, plan(toy))
    with pytest.raises(ValueError, match="scale"):
        Run(tmp_path, replace(toy, scale=replace(toy.scale, y_mean=1.0)), plan(toy))


@pytest.mark.parametrize("model", MODELS)
def test_every_model_of_the_catalogue_runs(model: str, voices: Source, tmp_path: Path) -> None:
    recipe = Recipe(budget=None, steps=1, checks=1)
    result = Run(tmp_path, voices, plan(voices, model, recipe)).finish(quiet)
    assert result["steps"] == 1 and result["diverged"] is None and result["parameters"] > 0


@pytest.mark.parametrize("model", MODELS)
def test_every_model_takes_one_dimension(model: str, toy: Source, tmp_path: Path) -> None:
    result = Run(tmp_path, toy, plan(toy, model, Recipe(budget=None, steps=1, checks=1))).finish(quiet)
    assert result["nll_per_dim"] < 10


def test_equal_seeds_give_equal_batches_to_all_models(toy: Source, tmp_path: Path) -> None:
    from frmdn.pipeline.density.run import _Training

    batches = [_Training(Run(tmp_path / m, toy, plan(toy, m))).batches(3).target for m in ("rmdn", "factorized")]
    assert torch.equal(*batches)


def test_unfinished_and_foreign_folders_are_named(toy: Source, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no run\.json"):
        open_run(tmp_path)
    Run(tmp_path, toy, plan(toy))
    with pytest.raises(ValueError, match="not finished"):
        open_run(tmp_path)
    assert read_json(tmp_path / "run.json")["seed"] == 0


def test_a_kill_between_history_and_checkpoint_leaves_no_line_twice(
    toy: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Run(tmp_path / "whole", toy, plan(toy)).finish(quiet)
    with monkeypatch.context() as patch:
        saved: list[Path] = []

        def write(path: Path, data: bytes) -> None:
            saved.append(path)
            if len(saved) == 3:  # the line of this check stands in the history already
                raise Killed
            write_bytes(path, data)

        patch.setattr("frmdn.pipeline.weights.write_bytes", write)
        with pytest.raises(Killed):
            Run(tmp_path / "cut", toy, plan(toy)).finish(quiet)
    assert len(lines(tmp_path / "cut")) == 4
    cut = Run(tmp_path / "cut", toy, plan(toy)).finish(quiet)
    assert without_time(cut) == without_time(whole) and lines(tmp_path / "cut") == lines(tmp_path / "whole")
