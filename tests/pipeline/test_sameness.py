"""What docs/explanation/sameness.md says of two runs, sentence by sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from frmdn.pipeline.commands.main import main
from frmdn.pipeline.machine import threads

TIMES = ("seconds", "per_second", "steps_per_second", "begun", "finished", "time")


def untimed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: untimed(inner) for key, inner in value.items() if key not in TIMES}
    return [untimed(inner) for inner in value] if isinstance(value, list) else value


def records(folder: Path) -> dict[str, Any]:
    """Every record and history of the stages, without times; live.json tells of the process and its speed."""
    found = {}
    for path in sorted(folder.rglob("*.json*")):
        if path.suffix in (".json", ".jsonl") and "tensorboard" not in path.parts and path.name != "live.json":
            name, text = str(path.relative_to(folder)), path.read_text()
            value = [json.loads(line) for line in text.splitlines()] if path.suffix == ".jsonl" else json.loads(text)
            found[name] = untimed(value)
    return found


@pytest.mark.slow
def test_times_are_all_that_differs_in_the_records(
    tiny: Callable[..., list[str]], finished: Path, tmp_path: Path
) -> None:
    assert main(tiny(tmp_path / "other")) == 0
    one, two = records(finished), records(tmp_path / "other")
    assert one.keys() == two.keys() and len(one) > 15
    for name in one:
        assert one[name] == two[name], name


def test_what_is_stopped_by_a_clock_is_named(plain: dict[str, Any]) -> None:
    from frmdn.pipeline.density.run import choose_settings

    assert "seconds" in plain["search"] and "generations" in plain["search"]
    assert choose_settings(["recipe.steps=3"]).recipe.budget is None


def test_threads_follow_the_machine_and_not_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert threads() == 3
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr("frmdn.pipeline.machine.cores", lambda: 5)
    assert threads() == 5
