"""Figures flow one way: a stage says a line once, and history, metrics.jsonl and every sink have it once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from frmdn.pipeline.commands.main import main
from frmdn.pipeline.files import History
from frmdn.pipeline.metrics.journal import Journal
from frmdn.pipeline.metrics.line import Line, moment
from frmdn.pipeline.metrics.series import Metrics
from frmdn.pipeline.metrics.tensorboard import TensorBoard


class Spy:
    """A sink that remembers which steps it has."""

    def __init__(self) -> None:
        self.steps: dict[str, list[int]] = {}

    def begin(self, stage: str, lines: Sequence[Line]) -> None:
        self.steps[stage] = [line.step for line in lines]

    def write(self, line: Line) -> None:
        self.steps[line.stage].append(line.step)


def series(tmp_path: Path, *sinks: Spy, begun: str = "now", told: list[str] | None = None) -> Any:
    tell = (told if told is not None else []).append
    metrics = Metrics("vision", begun, Journal(tmp_path / "metrics.jsonl"), sinks, tell)
    return metrics.series("step", History(tmp_path / "vision" / "history.jsonl", "step"))


def written(tmp_path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]


def test_a_line_has_its_time_stage_step_and_figures(tmp_path: Path) -> None:
    lines = series(tmp_path)
    lines.cut(0)
    lines.append({"step": 10, "loss": 1.5, "kl": float("inf"), "note": "x", "last": True})
    (line,) = written(tmp_path)
    assert line.pop("time").endswith("+00:00")
    figures = {"loss": 1.5, "kl": None}
    assert line == {"stage": "vision", "begun": "now", "unit": "step", "step": 10, "figures": figures}


def test_no_step_stands_twice_after_a_kill(tmp_path: Path) -> None:
    first = series(tmp_path)
    first.cut(0)
    for step in (2, 4, 6):
        first.append({"step": step, "loss": 1.0})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"time": "2026')  # killed in the middle of a line
    spy = Spy()
    second = series(tmp_path, spy)
    assert [line["step"] for line in second.cut(4)] == [2, 4]
    second.append({"step": 6, "loss": 9.0})
    assert [line["step"] for line in written(tmp_path)] == spy.steps["vision"] == [2, 4, 6]
    assert all(line["time"] for line in written(tmp_path))


def test_what_metrics_jsonl_lost_comes_back_from_the_history(tmp_path: Path) -> None:
    first = series(tmp_path)
    first.cut(0)
    first.append({"step": 2, "loss": 1.0})
    (tmp_path / "metrics.jsonl").unlink()
    series(tmp_path).cut(2)
    (line,) = written(tmp_path)
    assert (line["time"], line["step"], line["figures"]) == (None, 2, {"loss": 1.0})


def test_what_a_history_lost_comes_back_from_metrics_jsonl_and_is_named(tmp_path: Path) -> None:
    first, told = series(tmp_path), []
    first.cut(0)
    for step in (2, 4, 6):
        first.append({"step": step, "loss": float(step)})
    path = tmp_path / "vision" / "history.jsonl"
    whole = path.read_text()
    path.write_text(whole.replace('"step": 4', '"st\x00p": 4'))
    series(tmp_path, told=told).cut(6)
    assert path.read_text() == whole and told == [f"{path}: line 2 is damaged: 1 brought back"]
    (tmp_path / "metrics.jsonl").unlink()
    path.write_text(whole.replace('"step": 4', '"st\x00p": 4'))
    assert [line["step"] for line in series(tmp_path, told=told).cut(6)] == [2, 6]
    assert told[1:] == [f"{path}: line 2 is damaged: left out"]


def test_lines_of_another_making_never_come_back(tmp_path: Path) -> None:
    first = series(tmp_path, begun="yesterday")
    first.cut(0)
    first.append({"step": 2, "loss": 1.0})
    (tmp_path / "vision" / "history.jsonl").unlink()
    assert series(tmp_path, begun="today").cut(5) == [] and written(tmp_path) == []


def test_other_stages_stay(tmp_path: Path) -> None:
    metrics = Metrics("memory", "now", Journal(tmp_path / "metrics.jsonl"))
    for each in (metrics, metrics.part("member-2")):
        lines = each.series("step")
        lines.go_on([])
        lines.append({"step": 1, "loss": 2.0})
    metrics.series("step").go_on([])
    assert [line["stage"] for line in written(tmp_path)] == ["memory/member-2"]


@pytest.mark.parametrize("text", ["[1]", '{"stage": 3}', '{"stage": "vision", "step": "2"}', "[" * 100_000, "\x00"])
def test_foreign_lines_are_dropped(tmp_path: Path, text: str) -> None:
    first = series(tmp_path)
    first.cut(0)
    first.append({"step": 2, "loss": 1.0})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write(text + "\n")
    series(tmp_path).cut(2)
    assert [line["step"] for line in written(tmp_path)] == [2]


def test_a_run_says_every_figure_of_its_stages_once(finished: Path) -> None:
    lines = written(finished)
    found = {(line["stage"], line["unit"]): 0 for line in lines}
    for line in lines:
        found[line["stage"], line["unit"]] += 1
    assert found == {
        ("collect", "episode"): 4,
        ("vision", "step"): 2,
        ("memory", "step"): 2,
        ("evolve", "generation"): 2,
        ("evaluate/agent", "episode"): 2,
        ("evaluate/random", "episode"): 2,
    }
    assert len({(line["stage"], line["step"]) for line in lines}) == len(lines)
    history = [json.loads(line) for line in (finished / "vision" / "history.jsonl").read_text().splitlines()]
    assert [{"step": x["step"], **x["figures"]} for x in lines if x["stage"] == "vision"] == history
    boards = {path.parent.relative_to(finished / "tensorboard").as_posix() for path in finished.rglob("events.*")}
    assert boards == {stage for stage, _ in found}


def test_a_stage_that_is_made_again_says_its_figures_anew(finished: Path) -> None:
    assert main(["run", "--out", str(finished), "--workers", "0", "--set", "search.sigma=0.7", "--replace"]) == 0
    lines = written(finished)
    assert len({(line["stage"], line["step"]) for line in lines}) == len(lines) == 14
    begun = {line["stage"]: line["begun"] for line in lines}
    assert begun["evolve"] > begun["memory"]


def test_more_generations_go_on_in_the_same_files(finished: Path) -> None:
    before = [line for line in written(finished) if line["stage"] == "evolve"]
    words = ["run", "--out", str(finished), "--workers", "0", "--set", "search.generations=3", "--replace"]
    assert main(words) == 0
    after = [line for line in written(finished) if line["stage"] == "evolve"]
    assert after[:2] == before and [line["step"] for line in after] == [1, 2, 3]


def test_each_round_has_its_own_lines(tiny: Callable[..., list[str]], tmp_path: Path) -> None:
    assert main(tiny(tmp_path / "run", "--rounds", "2", "--set", "rounds.episodes=2")) == 0
    assert {line["stage"] for line in written(tmp_path / "run" / "round-02")} == {"collect", "memory", "evolve"}
    assert [line["step"] for line in written(tmp_path / "run") if line["stage"] == "rounds"] == [1, 2]


def test_a_damaged_time_and_a_loss_that_runs_away(tmp_path: Path) -> None:
    """Neither ends a stage: the first is now, the second is a figure like any other; what is not finite is none."""
    journal, good = Journal(tmp_path / "metrics.jsonl"), {"stage": "vision", "begun": "1", "unit": "step"}
    rows = [good | {"time": "yesterday", "step": 1, "figures": {"loss": 1e30}}]
    rows += [good | {"time": None, "step": 2, "figures": {"loss": bad}} for bad in (True, "1")]
    journal.path.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"stage": 1}\n')
    (line,) = journal.read()
    assert line.figures == {"loss": 1e30}
    TensorBoard(tmp_path / "tensorboard").begin("vision", [line])
    assert abs(moment(line.time).timestamp() - time.time()) < 60
