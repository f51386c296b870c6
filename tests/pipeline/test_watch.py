"""Knowing what goes on: live.json, `frmdn status` and its --watch, and the live table of `frmdn run`."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from frmdn.pipeline.commands.main import main
from frmdn.pipeline.files import read_json, write_json
from frmdn.pipeline.progress import Progress
from frmdn.pipeline.watch.beacon import Beacon, read_live
from frmdn.pipeline.watch.board import Board
from frmdn.pipeline.watch.overview import look
from frmdn.pipeline.watch.processes import resident, started
from frmdn.pipeline.watch.table import footer, line
from frmdn.pipeline.workspace import Workspace


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def told(workspace: Workspace) -> str:
    seen = look(workspace)
    return "\n".join([*map(line, seen.rows), *footer(seen)])


def working(workspace: Workspace, at: str = "vision") -> tuple[Beacon, Progress]:
    """A beacon at work, and the progress that it listens to."""
    beacon, progress = Beacon(workspace.root), Progress(None, io.StringIO())
    beacon.EVERY, progress.watcher = 0.0, beacon.moved
    return beacon, progress


def test_a_run_at_work_says_units_rate_time_left_memory_and_disk(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    beacon, progress = working(workspace)
    beacon.crew = lambda: [(os.uname().nodename, os.getpid())]
    with workspace.lock(), beacon.working(), progress.task("collect", "episodes") as task:
        task.update(2, 10, "last return 7")
        now[0] = 110.0
        task.update(7, 10, "last return 9")
        seen = look(workspace)
        row = seen.rows[0]
        assert (row.state, row.done, row.total, row.rate, row.left) == ("working", 7, 10, 0.5, 6.0)
        assert (seen.state, seen.running, seen.crew.workers, seen.crew.alive) == ("working", os.getpid(), 1, 1)
        assert seen.crew.driver and seen.crew.driver > 1e6 and seen.disk > 0 and seen.error is None
        text = told(workspace)
        assert "7 of 10 episodes, last return 9, 0.5 episodes/s, 6.0 s left" in text
        assert f"process {os.getpid()} is at work in this folder" in text
        assert "1 of 1 workers alive" in text and "free" in text
    assert look(workspace).state == "finished"


def test_what_a_stage_is_busy_with_inside_stands_below_it(workspace: Workspace) -> None:
    beacon, progress = working(workspace)
    with workspace.lock(), beacon.working(), progress.task("collect", "episodes", shown=False) as outer:
        outer.update(1, 2)
        with progress.task("vision", "steps") as inner:
            inner.update(3, 4)
            rows = look(workspace).rows
            assert [(row.name, row.inner, row.done) for row in rows[:2]] == [("collect", False, 1), ("vision", True, 3)]
            assert rows[2].name == "vision" and rows[2].state == "missing"
        assert not any(row.inner for row in look(workspace).rows)


def test_workers_that_come_while_a_unit_takes_long_are_told_of(workspace: Workspace) -> None:
    crew: list[tuple[str, int]] = []
    beacon = Beacon(workspace.root, lambda: crew)
    beacon.BEAT = 0.05
    with workspace.lock(), beacon.working():
        crew.append(("far", 7))
        deadline = time.monotonic() + 30
        while (read_live(workspace.root) or {"workers": []})["workers"] != [["far", 7]]:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    assert (read_live(workspace.root) or {})["state"] == "finished"


def test_an_error_is_told_until_another_one_comes(workspace: Workspace) -> None:
    beacon, progress = working(workspace)
    with (
        pytest.raises(RuntimeError),
        workspace.lock(),
        beacon.working(),
        progress.task("vision", "steps") as task,
    ):
        task.update(1, 2)
        raise RuntimeError("the GPU\nfell off \x1b[31m")
    assert look(workspace).state == "failed"
    assert "last error in vision, 2" in told(workspace) and "RuntimeError: the GPU" in told(workspace)
    assert "\x1b" not in told(workspace)
    with pytest.raises(KeyboardInterrupt), workspace.lock(), working(workspace)[0].working():
        raise KeyboardInterrupt
    assert look(workspace).state == "interrupted" and "RuntimeError: the GPU" in told(workspace)


def test_a_run_that_died_is_told_from_one_that_lives(workspace: Workspace) -> None:
    program = (
        "import sys, time\n"
        "from frmdn.pipeline.workspace import Workspace\n"
        "from frmdn.pipeline.watch.beacon import Beacon\n"
        "workspace = Workspace(sys.argv[1])\n"
        "with workspace.lock(), Beacon(workspace.root).working():\n"
        "    print('working', flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(workspace.root)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"working\n"
        seen = look(workspace)
        assert (seen.state, seen.running, seen.crew.pid) == ("working", process.pid, process.pid)
        assert seen.crew.driver is not None
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    seen = look(workspace)
    assert (seen.state, seen.running, seen.crew.driver, seen.at_work) == ("died", None, None, False)
    assert f"the run died: process {process.pid} is gone without a word" in told(workspace)


def test_another_process_with_the_same_number_is_not_taken_for_it(workspace: Workspace) -> None:
    with workspace.lock(), working(workspace)[0].working():
        path = workspace.root / "live.json"
        write_json(path, read_json(path) | {"started": 1.0})
        assert look(workspace).crew.driver is None


def test_a_run_on_another_machine_is_believed_for_a_while(workspace: Workspace) -> None:
    with workspace.lock(), working(workspace)[0].working():
        record = read_json(workspace.root / "live.json") | {"host": "far"}
    write_json(workspace.root / "live.json", record)
    seen = look(workspace)
    assert seen.state == "elsewhere" and seen.at_work and seen.crew.driver is None
    assert "on far was at work here, last heard of" in told(workspace)
    write_json(workspace.root / "live.json", record | {"time": "2020-01-01T00:00:00.000+00:00"})
    assert not look(workspace).at_work


@pytest.mark.parametrize(
    "wrong",
    [
        {"pid": "1"},
        {"tasks": [{"name": 3}]},
        {"tasks": ["vision"]},
        {"workers": [["host"]]},
        {"workers": [["host", "1"]]},
        {"error": {"time": 3}},
        {"time": "yesterday"},
        {"pid": 10**14},
        {"state": "\x1b[31m"},
    ],
)
def test_a_live_record_of_any_shape(workspace: Workspace, wrong: dict[str, Any]) -> None:
    with workspace.lock(), working(workspace)[0].working():
        record = read_json(workspace.root / "live.json")
    write_json(workspace.root / "live.json", record | wrong)
    assert "\x1b" not in told(workspace)
    (workspace.root / "live.json").write_text("{")
    assert read_live(workspace.root) is None and look(workspace).state == "idle"


def test_processes_that_are_gone_hold_nothing() -> None:
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    assert resident(process.pid) is None and started(process.pid) is None
    assert (resident(os.getpid()) or 0) > 1e6


def test_watching_a_finished_run_prints_it_once(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["status", "--run", str(finished), "--watch"]) == 0
    out = capsys.readouterr().out
    assert out.count("evaluate") == 1 and "the last run finished" in out
    assert main(["status", "--run", str(finished), "--watch", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["state"] == "finished" and report["running"] is None and len(report["stages"]) == 7
    assert {"name", "state", "why", "seconds", "rate", "left"} <= set(report["stages"][0])


@pytest.mark.slow
def test_a_run_of_another_process_is_watched_to_its_end(tiny: Callable[..., list[str]], tmp_path: Path) -> None:
    folder, env = tmp_path / "run", {**os.environ, "OMP_NUM_THREADS": "1"}
    words = ["run", "--env", "CarRacing-v3", "--preset", "smoke", "--out", str(folder), "--workers", "0"]
    for setting in ("collect.episodes=3", "collect.max_steps=40", "vision_fit.steps=40"):
        words += ["--set", setting]
    with subprocess.Popen([sys.executable, "-m", "frmdn", *words], env=env, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 120
            while not ((read_live(folder) or {}).get("tasks") and Workspace(folder).owner()):
                assert time.monotonic() < deadline and process.poll() is None
                time.sleep(0.05)
            watch = [
                sys.executable,
                "-m",
                "frmdn",
                "status",
                "--run",
                str(folder),
                "--watch",
                "--json",
                "--every",
                "0.2",
            ]
            with subprocess.Popen(watch, env=env, stdout=subprocess.PIPE, text=True) as looking:
                assert looking.stdout is not None
                first = json.loads(looking.stdout.readline())
                assert first["state"] == "working" and first["running"] == process.pid
                assert first["crew"]["driver"] > 1e7
                os.kill(process.pid, signal.SIGKILL)
                *_, last = map(json.loads, looking.stdout)
                assert last["state"] == "died" and looking.wait(60) == 0
        finally:
            process.kill()


def test_one_live_table_shows_all_stages(workspace: Workspace, tmp_path: Path) -> None:
    stream = Terminal()
    board = Board(workspace, tmp_path / "log.txt", stream)
    with board.live(lambda: [("far", 1)]), board.task("collect", "episodes") as task:
        task.update(1, 4, "last return 7")
        board.line("a line [above] the table")
        assert [row.name for row in board.rows()] == list(workspace.table)
        row = board.rows()[0]
        assert (row.state, row.done, row.total, row.note) == ("working", 1, 4, "last return 7")
        drawn = Console(file=io.StringIO(), width=120)
        drawn.print(board.picture())
        with board.task("vision", "steps") as inner:
            inner.update(2, 3)
            assert [(row.name, row.inner) for row in board.rows()[:2]] == [("collect", False), ("vision", True)]
    assert (board.rows()[0].state, board.rows()[0].why) == ("done", "1 episodes")
    picture = drawn.file.getvalue()  # type: ignore[attr-defined]
    assert "1 of 4 episodes, last return 7" in picture and "driver" in picture and "GB free" in picture
    assert "a line [above] the table" in stream.getvalue() and "evaluate" in stream.getvalue()
    assert "a line [above] the table" in (tmp_path / "log.txt").read_text()


def test_a_board_that_is_not_live_prints_as_ever(workspace: Workspace) -> None:
    stream = io.StringIO()
    Board(workspace, None, stream).line("x")
    assert stream.getvalue() == "x\n"


def test_a_stage_that_fails_is_not_shown_as_done(workspace: Workspace) -> None:
    board = Board(workspace, None, Terminal())
    with pytest.raises(RuntimeError), board.live(list), board.task("collect", "episodes"):
        raise RuntimeError
    assert board.rows()[0].state == "missing"
