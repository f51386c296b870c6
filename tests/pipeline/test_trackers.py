"""Experiment trackers get each step once, also those of before, and never end a run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from frmdn.pipeline.commands.main import main
from frmdn.pipeline.metrics.journal import Journal
from frmdn.pipeline.metrics.line import Line
from frmdn.pipeline.metrics.series import Metrics
from frmdn.pipeline.metrics.tracker import Tracker, Under


class Far:
    """A tracker of its own kind: it remembers every run and never forgets a step."""

    name = "far"

    def __init__(self) -> None:
        self.runs: dict[str, list[tuple[str, int]]] = {}
        self.current, self.broken = "", False

    def open(self, number: str, folder: Path, config: Mapping[str, Any]) -> None:
        self.current = number
        self.runs.setdefault(number, [])

    def log(self, line: Line) -> None:
        if self.broken:
            raise OSError("no route to host\nat all")
        self.runs[self.current].append((line.stage, line.step))

    def close(self, well: bool) -> None:
        self.well = well


def say(folder: Path, tracker: Tracker, *steps: int, begun: str = "1", past: int = 0, stage: str = "vision") -> None:
    metrics = Metrics(stage, begun, Journal(folder / "metrics.jsonl"), (tracker,))
    series = metrics.series("step")
    series.go_on([{"step": step, "loss": 1.0} for step in range(1, past + 1)])
    for step in steps:
        series.append({"step": step, "loss": 1.0})


def test_a_run_that_goes_on_sends_no_step_twice(tmp_path: Path) -> None:
    far = Far()
    say(tmp_path, Tracker(far, tmp_path, {}, print), 1, 2, 3)
    say(tmp_path, Tracker(far, tmp_path, {}, print), 2, 3, 4, past=1)  # the checkpoint was at step 1
    (steps,) = far.runs.values()
    assert steps == [("vision", step) for step in (1, 2, 3, 4)]


def test_what_a_former_making_played_and_this_one_keeps_is_sent_with_the_rest(tmp_path: Path) -> None:
    """A random policy's episodes outlive an evaluation that is made anew; two makings must not stand in a stage."""
    far = Far()
    say(tmp_path, Tracker(far, tmp_path, {}, print), 1, 2)
    say(tmp_path, Tracker(far, tmp_path, {}, print), 3, 4, begun="2", past=2)
    assert [len(steps) for steps in far.runs.values()] == [2, 4]
    assert {line.begun for line in Journal(tmp_path / "metrics.jsonl").read()} == {"2"}
    mixed = [Line("vision", "step", step, {"loss": 1.0}, None, str(step)) for step in (1, 2)]
    Journal(tmp_path / "metrics.jsonl").path.unlink()
    for line in mixed:  # as an earlier version left it
        Journal(tmp_path / "metrics.jsonl").write(line)
    Tracker(far, tmp_path, {}, print)
    assert len(far.runs) == 3


def test_a_tracker_that_comes_late_gets_what_was_before(tmp_path: Path) -> None:
    say(tmp_path, Tracker(Far(), tmp_path, {}, print), 1, 2)
    (tmp_path / "round-02").mkdir()
    say(tmp_path / "round-02", Tracker(Far(), tmp_path / "round-02", {}, print), 1, stage="memory")
    (tmp_path / "metrics.far.jsonl").unlink()
    far = Far()
    Tracker(far, tmp_path, {}, print)
    assert list(far.runs.values()) == [[("vision", 1), ("vision", 2), ("round-02/memory", 1)]]


def test_a_stage_that_is_made_again_begins_a_new_run_with_all_that_counts(tmp_path: Path) -> None:
    far = Far()
    say(tmp_path, Tracker(far, tmp_path, {}, print), 1, stage="collect")
    say(tmp_path, Tracker(far, tmp_path, {}, print), 1, 2)
    say(tmp_path, Tracker(far, tmp_path, {}, print), 1, 2, begun="2")
    first, second = far.runs.values()
    assert first == second == [("collect", 1), ("vision", 1), ("vision", 2)]


def test_a_round_has_a_name_of_its_own(tmp_path: Path) -> None:
    far = Far()
    Under(Tracker(far, tmp_path, {}, print), "round-02").write(Line("memory", "step", 1, {}, None, "1"))
    assert list(far.runs.values()) == [[("round-02/memory", 1)]]


def test_a_tracker_that_fails_is_told_of_once_and_the_run_goes_on(tmp_path: Path) -> None:
    far, told = Far(), []
    tracker = Tracker(far, tmp_path, {}, told.append)
    far.broken = True
    say(tmp_path, tracker, 1, 2, 3)
    assert told == ["--log far stops here, and the run goes on: no route to host"]
    assert len(Journal(tmp_path / "metrics.jsonl").read()) == 3


@pytest.mark.parametrize(("name", "package"), [("wandb", "wandb"), ("mlflow", "mlflow")])
def test_a_missing_package_is_one_line_with_the_pip_command(
    name: str, package: str, finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    (finished / "evaluation" / "done.json").unlink()
    (finished / "evaluation" / "begun.json").unlink()
    capsys.readouterr()
    assert main(["run", "--out", str(finished), "--workers", "0", "--log", name]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"--log {name} needs" in line and line.endswith(f"pip install 'frmdn[{name}]'")


def test_mlflow_gets_each_step_once_without_a_network(
    tiny: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    folder = tmp_path / "run"
    assert main(tiny(folder, "--log", "mlflow")) == 0
    assert main(["evolve", "--run", str(folder), "--workers", "0", "--log", "mlflow"]) == 0
    longer = ["--set", "search.generations=3", "--replace"]
    assert main(["evolve", "--run", str(folder), "--workers", "0", "--log", "mlflow", *longer]) == 0
    client = mlflow.MlflowClient(tracking_uri=(folder / "mlruns").as_uri())
    (run,) = client.search_runs([client.get_experiment_by_name("frmdn").experiment_id])
    assert run.data.params["search.population"] and run.info.status == "FINISHED"
    for key, steps in (("vision/loss", [2, 4]), ("evolve/mean", [1, 2, 3]), ("collect/return", [0, 1, 2, 3])):
        assert sorted(point.step for point in client.get_metric_history(run.info.run_id, key)) == steps


def test_wandb_gets_each_step_once_without_a_network(
    tiny: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    folder = tmp_path / "run"
    assert main(tiny(folder, "--log", "wandb")) == 0
    longer = ["--set", "search.generations=3", "--replace"]
    assert main(["evolve", "--run", str(folder), "--workers", "0", "--log", "wandb", *longer]) == 0
    found = sorted((folder / "wandb").glob("offline-run-*/*.wandb"))
    assert len(found) == 2 and len({path.name for path in found}) == 1  # one run over there, in two parts
    assert [logged(path, "evolve/generation") for path in found] == [["1", "2"], ["3"]]
    assert logged(found[0], "vision/step") == ["2", "4"]


def logged(path: Path, key: str) -> list[str]:
    """The values of a key in a file of W&B, in order: protobuf records in LevelDB's log format."""
    from wandb.proto import wandb_internal_pb2

    data, place, block, values, whole = path.read_bytes(), 7, 32768, [], b""
    while place + 7 <= len(data):
        if block - place % block < 7:  # no header fits any more: the rest is padding
            place += block - place % block
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        whole = (whole if kind in (3, 4) else b"") + data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # a full record, or the last piece of one
            record = wandb_internal_pb2.Record()
            record.ParseFromString(whole)
            items = record.history.item
            values += [item.value_json for item in items if key in (item.key, "/".join(item.nested_key))]
    return values
