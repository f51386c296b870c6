"""What `frmdn run` shows on a terminal: one live table of all stages, with its lines above."""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

from ..progress import Progress, Task, plain
from ..workspace import Workspace
from .overview import Crew, Row
from .processes import resident
from .table import resources, table

EVERY = 2.0  # seconds between two looks at memory and disk


class Board(Progress):
    """A Progress whose tasks are rows of one table. Outside of `live` it prints as any other.

    Args:
        workspace: whose stages are shown.
        log: where its lines are kept.
        stream: the terminal.
    """

    def __init__(self, workspace: Workspace, log: Path | None = None, stream: TextIO | None = None) -> None:
        super().__init__(log, stream)
        self.workspace = workspace
        self._crew: Callable[[], Sequence[tuple[str, int]]] = lambda: ()
        self._console: Any = None
        self._rows: list[Row] = []
        self._told, self._looked = "", -EVERY

    @contextmanager
    def live(self, crew: Callable[[], Sequence[tuple[str, int]]]) -> Iterator[None]:
        """Show the table until the end of this, and then leave what was printed alone."""
        from rich.console import Console
        from rich.live import Live

        self._crew, self._rows, self._console = crew, self._read(), Console(file=self.stream)
        try:
            with Live(console=self._console, get_renderable=self.picture, refresh_per_second=2, transient=True):
                yield
        finally:
            self._console = None

    def line(self, text: str) -> None:
        if self._console is None:
            super().line(text)
            return
        self._console.print(plain(text), markup=False, highlight=False, soft_wrap=True)
        self.note(plain(text))

    @contextmanager
    def task(self, name: str, unit: str, shown: bool = True) -> Iterator[Task]:
        if not self.tasks and self._console is not None:
            self._rows = self._read()
        with super().task(name, unit, shown) as task:
            yield task
        if not self.tasks:
            self._rows = [_ended(row, task) if row.name == name else row for row in self._rows]

    def open(self, name: str, unit: str) -> Task:
        return super().open(name, unit) if self._console is None else Task(self, name, unit)

    def picture(self) -> Any:
        """The table of this moment."""
        return table(self.rows(), [self._resources()])

    def rows(self) -> list[Row]:
        """All stages, and below the one at work what it is busy with."""
        tasks, rows = list(self.tasks), []  # another thread draws: the stage may end meanwhile
        for row in self._rows:
            if not tasks or tasks[0].name != row.name:
                rows.append(row)
                continue
            rows += [_row(task, row.seconds, inner=task is not tasks[0]) for task in tasks]
        return rows

    def _read(self) -> list[Row]:
        return list(map(Row.of, self.workspace.status()))

    def _resources(self) -> str:
        if time.monotonic() - self._looked >= EVERY:
            self._looked = time.monotonic()
            host, crew = socket.gethostname(), list(self._crew())
            held = [size for size in (resident(pid) for where, pid in crew if where == host) if size is not None]
            near = all(where == host for where, _ in crew)
            alive, memory = (len(held), sum(held)) if near else (None, None)
            driver = resident(os.getpid())
            free = shutil.disk_usage(self.workspace.root).free
            self._told = resources(Crew(os.getpid(), host, driver, len(crew), alive, memory), free)
        return self._told


def _ended(row: Row, task: Task) -> Row:
    seconds = row.seconds + time.monotonic() - task.begun
    return replace(row, state="done", why=f"{task.done} {task.unit}", seconds=seconds)


def _row(task: Task, before: float, inner: bool) -> Row:
    spent = time.monotonic() - task.begun + (0.0 if inner else before)
    why = f"{task.done} of {task.total} {task.unit}" if task.total else "begins"
    amount: dict[str, Any] = {"unit": task.unit, "done": task.done, "total": task.total, "note": task.note}
    return Row(task.name, "working", why, spent, rate=task.rate, left=task.left, inner=inner, **amount)
