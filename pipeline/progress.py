"""What people see while a run works: a live bar on a terminal, a plain line every quarter of a minute elsewhere."""

from __future__ import annotations

import logging
import sys
import time
import traceback
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from .files import append_text

EVERY = 15.0  # seconds between plain lines


class Progress:
    """Prints to stderr, so that stdout stays free for JSON, and copies every line to the run's log.txt."""

    def __init__(self, log: Path | None = None, stream: TextIO | None = None, every: float = EVERY) -> None:
        self.log, self.stream, self.every = log, stream or sys.stderr, every

    def line(self, text: str) -> None:
        print(plain(text), file=self.stream, flush=True)
        self.note(plain(text))

    def note(self, text: str) -> None:
        """Into the log only."""
        if self.log is not None:
            append_text(self.log, f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n", lasting=False)

    @contextmanager
    def task(self, name: str, unit: str) -> Iterator[Task]:
        """A task whose `update(done, total, note)` shows how far it is."""
        shown: Task = _Bar(self, name, unit) if self.stream.isatty() else _Lines(self, name, unit)
        try:
            yield shown
        finally:
            shown.close()

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
    """How far a stage is; rate and time left count only what this process did, not what it found done."""

    def __init__(self, progress: Progress, name: str, unit: str) -> None:
        self.progress, self.name, self.unit = progress, name, unit
        self.begun, self.first = time.monotonic(), None

    first: int | None

    def update(self, done: int, total: int, note: str = "") -> None:
        """`done` of `total` units are finished; `note` is the figure of the moment, e.g. a loss. Shows nothing here."""

    def close(self) -> None: ...

    def pace(self, done: int, total: int) -> str:
        """Rate and time left, or nothing before the first unit."""
        if self.first is None:
            self.begun, self.first = time.monotonic(), done
        seconds, units = time.monotonic() - self.begun, done - self.first
        if not units or not seconds:
            return ""
        return f"{units / seconds:.3g} {self.unit}/s, {duration((total - done) * seconds / units)} left"


class _Lines(Task):
    def __init__(self, progress: Progress, name: str, unit: str) -> None:
        super().__init__(progress, name, unit)
        self.printed: float | None = None

    def update(self, done: int, total: int, note: str = "") -> None:
        pace, now = self.pace(done, total), time.monotonic()
        if self.printed is not None and done < total and now - self.printed < self.progress.every:
            return
        self.printed = now
        percent = 100 * done // max(total, 1)
        parts = [part for part in (f"{done} of {total} {self.unit}", note, pace) if part]
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

    def update(self, done: int, total: int, note: str = "") -> None:
        text = ", ".join(part for part in (note, self.pace(done, total)) if part)
        self.live.update(self.id, completed=done, total=total, note=text)

    def close(self) -> None:
        self.live.stop()


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
