"""What people see while a run works: a live bar on a terminal, a plain line every quarter of a minute elsewhere."""

from __future__ import annotations

import logging
import sys
import time
import traceback
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from .files import append_text

EVERY = 15.0  # seconds between plain lines


class Progress:
    """Prints to stderr, so that stdout stays free for JSON, and copies every line to the run's log.txt."""

    def __init__(self, log: Path | None = None, stream: TextIO | None = None, every: float = EVERY) -> None:
        self.log, self.stream, self.every = log, stream or sys.stderr, every
        self.tasks: list[Task] = []  # under way, the outermost first
        self.watcher: Watcher = lambda tasks, at_once: None

    def line(self, text: str) -> None:
        print(plain(text), file=self.stream, flush=True)
        self.note(plain(text))

    def note(self, text: str) -> None:
        """Into the log only."""
        if self.log is not None:
            append_text(self.log, f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n", lasting=False)

    @contextmanager
    def task(self, name: str, unit: str, shown: bool = True) -> Iterator[Task]:
        """A task whose `update(done, total, note)` says how far it is; one that is not `shown` says it to watchers."""
        task = self.open(name, unit) if shown else Task(self, name, unit)
        self.tasks.append(task)
        try:
            self.watcher(self.tasks, True)
            yield task
        finally:
            self.tasks.remove(task)
            task.close()
        self.watcher(self.tasks, True)

    @contextmanager
    def live(self, crew: Callable[[], Sequence[tuple[str, int]]]) -> Iterator[None]:
        """While stages run; `crew` are the workers of the moment, (host, process id) each. Shows nothing here."""
        yield

    def open(self, name: str, unit: str) -> Task:
        """What shows a task here."""
        return _Bar(self, name, unit) if self.stream.isatty() else _Lines(self, name, unit)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A small table, the first column left-aligned."""
        widths = [max(len(row[i]) for row in (columns, *rows)) for i in range(len(columns))]
        self.line(title)
        for row in (columns, *rows):
            self.line("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@contextmanager
def noted(progress: Progress) -> Iterator[None]:
    """What fails inside leaves its traceback in the log, and knows where that is: people are told in one line."""
    try:
        yield
    except Exception as error:
        if progress.log is not None and not hasattr(error, "log"):
            try:
                progress.note("failed:\n" + "".join(traceback.format_exception(error)).rstrip())
                error.log = progress.log  # type: ignore[attr-defined]
            except OSError:  # the disk that failed the stage fails the log too
                pass
        raise


@contextmanager
def told(progress: Progress) -> Iterator[None]:
    """What the workers' pools say inside, e.g. that a worker died and is replaced, is a line here and in the log."""
    logger = logging.getLogger("frmdn.workers")
    if any(isinstance(each, _Teller) for each in logger.handlers):  # a round's stage is a stage in a stage
        yield
        return
    handler = _Teller(progress)
    before, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = before


class _Teller(logging.Handler):
    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self.progress = progress

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.progress.line(record.getMessage())
        except OSError:  # a full disk: the stage itself will meet it
            self.handleError(record)


class Task:
    """How far something is; rate and time left count only what this process did, not what it found done."""

    def __init__(self, progress: Progress, name: str, unit: str) -> None:
        self.progress, self.name, self.unit = progress, name, unit
        self.done, self.total, self.note = 0, 0, ""
        self.rate: float | None = None  # units a second
        self.begun, self.first = time.monotonic(), -1

    def update(self, done: int, total: int, note: str = "") -> None:
        """`done` of `total` units are finished; `note` is the figure of the moment, e.g. a loss."""
        if self.first < 0:
            self.begun, self.first = time.monotonic(), done
        self.done, self.total, self.note = done, total, note
        seconds, units = time.monotonic() - self.begun, done - self.first
        self.rate = units / seconds if units > 0 and seconds else None
        self.show()
        self.progress.watcher(self.progress.tasks, False)

    @property
    def left(self) -> float | None:
        """Seconds until all units are finished at this rate; None before the first one."""
        return (self.total - self.done) / self.rate if self.rate else None

    @property
    def pace(self) -> str:
        """Rate and time left in words, or nothing before the first unit."""
        return "" if not self.rate or self.left is None else pace(self.rate, self.left, self.unit)

    def show(self) -> None:
        """Shows nothing here."""

    def close(self) -> None: ...


Watcher = Callable[[Sequence[Task], bool], None]  # gets the tasks under way; True: one began or ended


class _Lines(Task):
    def __init__(self, progress: Progress, name: str, unit: str) -> None:
        super().__init__(progress, name, unit)
        self.printed: float | None = None

    def show(self) -> None:
        now = time.monotonic()
        if self.printed is not None and self.done < self.total and now - self.printed < self.progress.every:
            return
        self.printed = now
        percent = 100 * self.done // max(self.total, 1)
        parts = [part for part in (f"{self.done} of {self.total} {self.unit}", self.note, self.pace) if part]
        self.progress.line(f"{self.name:<9}{percent:>4} %  {', '.join(parts)}")


class _Bar(Task):
    def __init__(self, progress: Progress, name: str, unit: str) -> None:
        from rich import progress as rich
        from rich.console import Console

        super().__init__(progress, name, unit)
        self.live = rich.Progress(
            rich.TextColumn("{task.description:<9}"),
            rich.BarColumn(),
            rich.MofNCompleteColumn(),
            rich.TextColumn("{task.fields[note]}"),
            console=Console(file=progress.stream),
            transient=True,
        )
        self.live.start()
        self.id = self.live.add_task(name, total=None, note="")

    def show(self) -> None:
        text = ", ".join(part for part in (self.note, self.pace) if part)
        self.live.update(self.id, completed=self.done, total=self.total, note=text)

    def close(self) -> None:
        self.live.stop()


def pace(rate: float, left: float, unit: str) -> str:
    """`12.5 steps/s, 3 min 20 s left`."""
    return f"{rate:.3g} {unit}/s, {duration(left)} left"


def plain(text: str) -> str:
    """A text as it may be shown: what controls a terminal, and may come from a stranger's file, as question marks."""
    return "".join("?" if unicodedata.category(sign) in ("Cc", "Cs", "Cf") else sign for sign in text)


def duration(seconds: float) -> str:
    """`7.1 s`, `3 min 20 s`, `2 h 05 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
