"""TensorBoard files: every number of a history once, however often they are written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from frmdn.pipeline.report.tensorboard import TensorBoardLog

LINES = [
    {"step": 10, "loss": 2.0, "kl": 1.0},
    {"step": 20, "loss": 1.5, "kl": float("nan"), "validation_loss": 1.75, "note": "x"},
]


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_every_finite_number_becomes_a_point(tmp_path: Path) -> None:
    assert TensorBoardLog(tmp_path).write("vision", LINES) == 4
    assert scalars(tmp_path / "vision") == {
        "vision/loss": [(10, 2.0), (20, 1.5)],
        "vision/kl": [(10, 1.0)],
        "vision/loss/validation": [(20, 1.75)],
    }


def test_writing_again_replaces(tmp_path: Path) -> None:
    log = TensorBoardLog(tmp_path)
    log.write("vision", LINES[:1])
    log.write("vision", LINES)
    assert scalars(tmp_path / "vision")["vision/loss"] == [(10, 2.0), (20, 1.5)]
    assert len(list((tmp_path / "vision").iterdir())) == 1


def test_a_run_folder_gives_the_stages_that_have_a_history(tmp_path: Path) -> None:
    (tmp_path / "controller").mkdir()
    line = json.dumps({"generation": 3, "mean": 412.0})
    (tmp_path / "controller" / "history.jsonl").write_text(line + '\n{"generation": 4, "me')  # killed in mid-line
    assert TensorBoardLog(tmp_path / "tb").write_run(tmp_path) == ["evolve"]
    assert scalars(tmp_path / "tb" / "evolve") == {"evolve/mean": [(3, 412.0)]}


def test_a_line_without_a_number_of_its_own_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="neither step nor generation"):
        TensorBoardLog(tmp_path).write("vision", [{"loss": 1.0}])
