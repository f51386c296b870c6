"""`frmdn run` on Super Mario Bros, so small that nothing is learnt: figures beside the return, and resuming."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from frmdn.pipeline.commands.main import main
from frmdn.pipeline.files import read_json
from frmdn.pipeline.workspace import Workspace

missing = find_spec("gym_super_mario_bros") is None
TINY = {
    "collect.episodes": 2,
    "collect.max_steps": 12,
    "collect.slots": 2,
    "vision_data.batch": 4,
    "memory.hidden": 8,
    "vision_fit.steps": 2,
    "memory_fit.steps": 2,
    "memory_data.batch": 2,
    "memory_data.length": 8,
    "search.generations": 1,
    "search.max_steps": 6,
    "evaluate.max_steps": 12,
}


@pytest.mark.rom
@pytest.mark.slow
@pytest.mark.skipif(missing, reason="gym-super-mario-bros is not installed (extra mario)")
def test_a_run_ends_with_completion_distance_and_baselines_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    words = ["run", "--env", "SuperMarioBros-1-1-v0", "--preset", "smoke", "--workers", "0", "--actions", "right"]
    words += [word for key, value in TINY.items() for word in ("--set", f"{key}={value}")]
    assert main([*words, "--out", str(tmp_path)]) == 0
    report = read_json(tmp_path / "evaluation.json")
    assert {"completion_rate", "completion_rate_ci95", "distance", "distance_ci95", "deaths"} <= set(report)
    assert set(report["baselines"]) == {"random", "hold_right", "hold_right_and_b"}
    assert report["world"]["reward"] == "classic" and report["world"]["actions"] == "right"
    assert report["baselines"]["hold_right_and_b"]["distance"] > 40
    assert read_json(tmp_path / "controller" / "agent.json")["world"] == report["world"]
    assert "hold right and b" in (tmp_path / "report.html").read_text() and (tmp_path / "agent.webm").stat().st_size
    before = Workspace(tmp_path).done("evolve")
    (tmp_path / "evaluation.json").unlink()
    assert main(["run", "--out", str(tmp_path), "--workers", "0"]) == 0
    again = read_json(tmp_path / "evaluation.json")
    assert again["returns"] == report["returns"] and Workspace(tmp_path).done("evolve") == before
