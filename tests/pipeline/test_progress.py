"""Plain lines where there is no terminal: few, to stderr, with rate and time left, and a copy in the log."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import pytest

from frmdn.pipeline.progress import Progress, duration, told


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_come_at_the_start_at_the_end_and_seldom_between(tmp_path: Path) -> None:
    stream = io.StringIO()
    with Progress(tmp_path / "log.txt", stream, every=3600).task("vision", "steps") as task:
        for step in range(101):
            task.update(step, 100, f"loss {step}")
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[0].split() == ["vision", "0", "%", "0", "of", "100", "steps,", "loss", "0"]
    assert "100 %  100 of 100 steps, loss 100" in lines[1] and "steps/s" in lines[1]
    assert [line.split(" ", 2)[2] for line in (tmp_path / "log.txt").read_text().splitlines()] == lines


def test_every_line_comes_when_the_interval_is_over() -> None:
    stream = io.StringIO()
    with Progress(None, stream, every=0.0).task("vision", "steps") as task:
        for step in range(5):
            task.update(step, 4)
    assert len(stream.getvalue().splitlines()) == 5


def test_a_resumed_task_does_not_count_what_it_found_done(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    stream = io.StringIO()
    with Progress(None, stream, every=0.0).task("collect", "episodes") as task:
        task.update(90, 100)
        now[0] = 10.0
        task.update(95, 100)
    assert "0.5 episodes/s, 10 s left" in stream.getvalue()


def test_a_terminal_gets_a_bar() -> None:
    stream = Terminal()
    with Progress(None, stream).task("evolve", "generations") as task:
        task.update(1, 2, "mean 400")
        task.live.refresh()  # type: ignore[attr-defined]
    assert "evolve" in stream.getvalue() and "1/2" in stream.getvalue() and "mean 400" in stream.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (7.12, "7.1 s"), (59.4, "59 s"), (200, "3 min 20 s"), (7500, "2 h 05 min"), (59.9, "1 min 00 s")],
)
def test_durations_read_well(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_what_the_workers_pools_say_is_a_line_once_and_only_inside(tmp_path: Path) -> None:
    stream, say = io.StringIO(), logging.getLogger("frmdn.workers")
    progress = Progress(tmp_path / "log.txt", stream)
    with told(progress):
        with told(progress):  # a round's stage is a stage in a stage
            say.warning("worker 3 died")
        say.warning("worker 3 joins")
    handlers = list(say.handlers)
    assert stream.getvalue().splitlines() == ["worker 3 died", "worker 3 joins"] and not handlers and say.propagate
    assert "worker 3 died" in (tmp_path / "log.txt").read_text()
