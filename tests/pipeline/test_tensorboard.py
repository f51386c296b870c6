"""TensorBoard files grow while a stage runs, and have every number of a history once, however often it is resumed."""

from __future__ import annotations

import json
from pathlib import Path

from frmdn.pipeline.metrics.line import Line, figures
from frmdn.pipeline.metrics.tensorboard import TensorBoard

RECORDS = [
    {"step": 10, "loss": 2.0, "kl": 1.0},
    {"step": 20, "loss": 1.5, "kl": float("nan"), "validation_loss": 1.75, "note": "x", "last": True},
]


def line(record: dict, stage: str = "vision") -> Line:
    return Line(stage, "step", record["step"], figures(record, "step"), "2026-01-02T03:04:05.000+00:00")


LINES = [line(record) for record in RECORDS]


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_every_finite_number_is_a_point_as_soon_as_it_is_said(tmp_path: Path) -> None:
    board = TensorBoard(tmp_path)
    board.begin("vision", [])
    board.write(LINES[0])
    assert scalars(tmp_path / "vision") == {"vision/loss": [(10, 2.0)], "vision/kl": [(10, 1.0)]}
    board.write(LINES[1])
    assert scalars(tmp_path / "vision") == {
        "vision/loss": [(10, 2.0), (20, 1.5)],
        "vision/kl": [(10, 1.0)],
        "vision/loss/validation": [(20, 1.75)],
    }


def test_a_stage_that_goes_on_has_no_step_twice(tmp_path: Path) -> None:
    first = TensorBoard(tmp_path)
    for each in LINES:
        first.write(each)
    with next((tmp_path / "vision").iterdir()).open("ab") as file:
        file.write(b"half an event")  # killed in the middle of a write
    second = TensorBoard(tmp_path)
    second.begin("vision", LINES[:1])
    second.write(LINES[1])
    assert scalars(tmp_path / "vision")["vision/loss"] == [(10, 2.0), (20, 1.5)]
    for _ in range(5):
        second.begin("vision", LINES)
    assert scalars(tmp_path / "vision")["vision/loss"] == [(10, 2.0), (20, 1.5)]
    assert len(list((tmp_path / "vision").iterdir())) == 2  # the last one before it is empty


def test_a_tensorboard_that_looks_on_sees_each_step_once(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board, looking = TensorBoard(tmp_path), EventAccumulator(str(tmp_path / "vision"))
    for each in LINES:
        board.write(each)
    looking.Reload()
    board.begin("vision", LINES[:1])
    board.write(line({"step": 20, "loss": 1.25}))
    looking.Reload()
    assert [(e.step, e.value) for e in looking.Scalars("vision/loss")] == [(10, 2.0), (20, 1.25)]


def test_parts_of_a_stage_share_charts_and_no_file(tmp_path: Path) -> None:
    board = TensorBoard(tmp_path)
    board.write(line(RECORDS[0], "memory/member-2"))
    board.begin("memory", [])
    board.write(line(RECORDS[0], "memory"))
    for folder in ("memory", "memory/member-2"):
        assert scalars(tmp_path / folder)["memory/loss"] == [(10, 2.0)]


def test_lost_events_are_made_again_from_the_histories(tmp_path: Path) -> None:
    (tmp_path / "controller").mkdir()
    whole = json.dumps({"generation": 3, "mean": 412.0})
    (tmp_path / "controller" / "history.jsonl").write_text(whole + '\n{"generation": 4, "me')  # killed in mid-line
    board = TensorBoard(tmp_path / "tb")
    assert board.complete(tmp_path) == ["evolve"]
    assert scalars(tmp_path / "tb" / "evolve") == {"evolve/mean": [(3, 412.0)]}
    assert board.complete(tmp_path) == []


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "far").write_bytes(b"")
    (tmp_path / "vision").mkdir()
    (tmp_path / "vision" / "events.out.tfevents.1.frmdn").symlink_to(tmp_path / "far")
    board = TensorBoard(tmp_path)
    board.write(LINES[0])
    assert (tmp_path / "far").read_bytes() == b"" and len(list((tmp_path / "vision").iterdir())) == 1
