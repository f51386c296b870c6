"""A whole run of seconds: what it leaves, what it skips, what it redoes, and what it prints."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from frmdn.pipeline.commands.main import main
from frmdn.pipeline.files import read_json
from frmdn.pipeline.session import open_session
from frmdn.pipeline.stages.table import STAGES
from frmdn.pipeline.workspace import Workspace

KEYS = [
    "env",
    "episodes",
    "seeds",
    "returns",
    "mean",
    "std",
    "ci95",
    "policy",
    "baselines",
    "versions",
    "seconds",
]
STATES = dict.fromkeys((stage.name for stage in STAGES), "done")


def states(folder: Path) -> dict[str, str]:
    return {status.name: status.state for status in Workspace(folder).status()}


def finish_times(folder: Path) -> dict[str, str]:
    return {stage.name: read_json(folder / stage.folder / "done.json")["finished"] for stage in STAGES}


def test_a_run_leaves_what_it_promises(finished: Path) -> None:
    assert states(finished) == STATES
    for name in [
        "config.json",
        "log.txt",
        "rollouts/episodes/000003.h5",
        "vision/model.safetensors",
        "vision/model.json",
        "latents/000003.safetensors",
        "memory/model.safetensors",
        "controller/mean.safetensors",
        "controller/best.safetensors",
        "controller/agent.json",
        "controller/search.safetensors",
        "evaluation.json",
        "report.html",
        "agent.webm",
        "tensorboard",
    ]:
        assert (finished / name).exists(), name
    for name, key, count in (("vision", "step", 2), ("memory", "step", 2), ("controller", "generation", 2)):
        lines = [json.loads(line) for line in (finished / name / "history.jsonl").read_text().splitlines()]
        assert len(lines) == count and [line[key] for line in lines] == sorted({line[key] for line in lines})
    vision = [json.loads(line) for line in (finished / "vision" / "history.jsonl").read_text().splitlines()]
    assert {"step", "seconds", "loss", "reconstruction", "kl", "validation_loss"} <= set(vision[-1])


def test_the_evaluation_has_its_keys_and_its_baseline(finished: Path) -> None:
    report = read_json(finished / "evaluation.json")
    assert set(KEYS) <= set(report) and report["env"] == "Counting-v0"
    assert len(report["returns"]) == len(report["seeds"]) == report["episodes"] == 2
    assert isinstance(report["baselines"]["random"]["mean"], float)


def test_the_log_has_the_lines_that_were_printed(
    tiny: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(tiny(tmp_path / "run")) == 0
    printed = capsys.readouterr()
    logged = [line.split(" ", 2)[2] for line in (tmp_path / "run" / "log.txt").read_text().splitlines()]
    assert printed.out == "" and printed.err.splitlines() == logged
    assert any("of disk" in line for line in logged)


def test_a_second_call_does_nothing(
    tiny: Callable[..., list[str]], finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = finish_times(finished)
    capsys.readouterr()
    assert main(tiny(finished, "--json")) == 0
    captured = capsys.readouterr()
    assert "all 7 stages" in captured.err and "already" in captured.err
    overview = json.loads(captured.out)
    assert [stage["state"] for stage in overview["stages"]] == ["done"] * 7
    assert set(KEYS) <= set(overview["evaluation"]) and finish_times(finished) == before


def test_the_same_seed_gives_the_same_run(tiny: Callable[..., list[str]], finished: Path, tmp_path: Path) -> None:
    assert main(tiny(tmp_path / "again")) == 0
    for name in ("vision/model", "memory/model", "controller/mean", "controller/search"):
        one, two = ((folder / f"{name}.safetensors").read_bytes() for folder in (finished, tmp_path / "again"))
        assert one == two, name
    one, two = (read_json(folder / "evaluation.json")["returns"] for folder in (finished, tmp_path / "again"))
    assert one == two


def test_other_settings_are_refused_unless_they_replace(
    tiny: Callable[..., list[str]], finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, config = finish_times(finished), (finished / "config.json").read_text()
    capsys.readouterr()
    assert main(["run", "--out", str(finished), "--workers", "0", "--set", "search.sigma=0.7"]) == 2
    message = capsys.readouterr().err
    assert "search.sigma: 0.1 there, 0.7 asked for" in message and "--replace" in message
    assert (finished / "config.json").read_text() == config and finish_times(finished) == before
    assert main(["run", "--out", str(finished), "--workers", "0", "--set", "search.sigma=0.7", "--replace"]) == 0
    after = finish_times(finished)
    assert [name for name in after if after[name] != before[name]] == ["evolve", "evaluate", "report"]
    assert read_json(finished / "config.json")["search"]["sigma"] == 0.7


def test_a_search_with_a_limit_says_when_it_ends(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evolve", "--run", str(finished), "--replace", "--set", "search.seconds=600", "--workers", "0"]) == 0
    assert re.search(r"mean -?\d+, best -?\d+, ends in (9|10) min \d\d s at the latest", capsys.readouterr().err)


def test_more_generations_go_on_with_the_search(finished: Path) -> None:
    first = (finished / "controller" / "history.jsonl").read_text()
    words = ["run", "--out", str(finished), "--workers", "0", "--set", "search.generations=3", "--replace"]
    assert main(words) == 0
    longer = (finished / "controller" / "history.jsonl").read_text()
    assert longer.startswith(first) and len(longer.splitlines()) == 3


def test_another_average_of_the_means_keeps_the_generations(finished: Path) -> None:
    search, mean = finished / "controller" / "search.safetensors", finished / "controller" / "mean.safetensors"
    before, theta = search.read_bytes(), load_file(mean)["theta"]
    history = (finished / "controller" / "history.jsonl").read_text()
    replace(finished, "search.average=1")
    assert (search.read_bytes(), (finished / "controller" / "history.jsonl").read_text()) == (before, history)
    averaged = load_file(mean)["theta"]
    assert averaged.shape == theta.shape and not np.allclose(averaged, theta)
    replace(finished, "search.average=0")
    assert np.array_equal(load_file(mean)["theta"], theta)


def test_every_stage_is_a_command(
    tiny: Callable[..., list[str]], finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "by-hand"
    Workspace(folder).write_config(read_json(finished / "config.json"))
    words = ["--run", str(folder), "--workers", "0"]
    assert main(["memory", *words]) == 2
    assert "memory needs encode" in capsys.readouterr().err
    for stage in STAGES:
        assert states(folder)[stage.name] == "missing"
        assert main([stage.name, *words]) == 0
        assert states(folder)[stage.name] == "done"
    assert (folder / "controller" / "mean.safetensors").read_bytes() == (
        finished / "controller" / "mean.safetensors"
    ).read_bytes()


def evaluate(capsys: pytest.CaptureFixture[str], folder: Path, *more: str) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["evaluate", "--run", str(folder), "--workers", "0", "--json", *more]) == 0
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    return report


def test_evaluating_on_more_episodes_prints_and_keeps_the_runs_own(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = read_json(finished / "evaluation.json")
    one, two = (evaluate(capsys, finished, "--episodes", "3") for _ in range(2))
    assert one["returns"] == two["returns"] and len(one["returns"]) == 3 and set(KEYS) <= set(one)
    assert one["returns"][:2] == own["returns"]  # the first seeds are the same
    assert read_json(finished / "evaluation.json") == own == evaluate(capsys, finished)
    assert states(finished) == STATES


def replace(finished: Path, setting: str) -> dict[str, Any]:
    assert main(["run", "--out", str(finished), "--workers", "0", "--set", setting, "--replace"]) == 0
    return read_json(finished / "evaluation.json")["baselines"]["random"]


def test_the_random_policy_is_not_played_again_for_another_agent_but_for_another_limit(finished: Path) -> None:
    (kept,) = (finished / "baselines").glob("random-*.jsonl")
    before = kept.read_text()
    replace(finished, "search.sigma=0.2")
    assert kept.read_text() == before
    assert replace(finished, "evaluate.max_steps=4")["lengths"] == [4, 4]  # not those of the longer episodes


def test_a_lost_evaluation_is_written_again_from_its_episodes(finished: Path) -> None:
    own = read_json(finished / "evaluation.json")
    (finished / "evaluation.json").unlink()
    assert states(finished)["evaluate"] == "partial"
    assert main(["evaluate", "--run", str(finished), "--workers", "0"]) == 0
    assert read_json(finished / "evaluation.json")["returns"] == own["returns"]


def test_baselines_get_the_same_budget(finished: Path) -> None:
    before = finish_times(finished)
    assert main(["run", "--out", str(finished), "--workers", "0", "--baselines", "--replace"]) == 0
    after = finish_times(finished)
    assert [name for name in after if after[name] != before[name]] == ["evaluate", "report"]
    assert set(read_json(finished / "evaluation.json")["baselines"]) == {"random", "vision_only", "untrained_memory"}
    for name in ("vision_only", "untrained_memory"):
        rival, own = finished / "baselines" / name, finished / "controller"
        budgets = [(folder / "history.jsonl").read_text().splitlines() for folder in (rival, own)]
        assert len(budgets[0]) == len(budgets[1]) == 2
        assert [json.loads(line)["episodes"] for line in budgets[0]] == [
            json.loads(line)["episodes"] for line in budgets[1]
        ]


def test_damaged_artefacts_are_named(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    path = finished / "vision" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    assert main(["evaluate", "--run", str(finished), "--workers", "0", "--episodes", "1"]) == 2
    assert "vision/model.safetensors is no whole safetensors file" in capsys.readouterr().err


def test_a_truncated_episode_is_named(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = finished / "rollouts" / "episodes" / "000001.h5"
    path.write_bytes(path.read_bytes()[:300])
    capsys.readouterr()
    words = ["run", "--out", str(finished), "--workers", "0", "--set", "vision_fit.steps=6", "--replace"]
    assert main(words) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "000001.h5" in error and "delete it and run the same command again" in error


def test_status_prints_a_line_a_stage(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["status", "--run", str(finished)]) == 0
    *lines, ended, free = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [[stage.name, "done"] for stage in STAGES]
    assert ended == "nobody is at work here; the last run finished" and free.endswith("GB free")


def test_a_run_folder_opens_as_an_agent(finished: Path) -> None:
    session = open_session(finished)
    agent = session.agent()
    assert session.theta(agent).shape == (agent.controller.size,) == session.theta(agent, "best").shape
