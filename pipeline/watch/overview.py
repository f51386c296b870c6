"""Where a run stands: its stages, and who works on them, read from its folder and from the system."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from ..files import is_a
from ..metrics.line import moment
from ..progress import plain
from ..workspace import StageStatus, Workspace
from .beacon import read_live
from .processes import resident, started

PATIENCE = 600.0  # seconds of silence after which a run on another machine is given up
SECOND = 1.0  # by which two looks at the time when one process was started may differ


@dataclass(frozen=True)
class Row:
    """One stage, or what a stage is busy with inside (`inner`)."""

    name: str
    state: str  # working, done, partial, stale or missing
    why: str
    seconds: float = 0.0
    unit: str = ""
    done: int | None = None
    total: int | None = None
    rate: float | None = None  # units a second
    left: float | None = None  # seconds
    note: str = ""
    inner: bool = False

    @classmethod
    def of(cls, status: StageStatus) -> Row:
        return cls(status.name, status.state, status.why, status.seconds)


@dataclass(frozen=True)
class Crew:
    """The processes of a run; memory in bytes, as far as this machine can see it."""

    pid: int | None  # of the driver
    host: str
    driver: int | None
    workers: int  # that it had when it last spoke
    alive: int | None  # of them; None: they are on other machines
    memory: int | None  # of those alive


@dataclass(frozen=True)
class Overview:
    """A run at a moment."""

    run: str
    running: int | None  # the process that owns the folder
    state: str  # working, finished, failed, interrupted, died; elsewhere: another machine's; idle: nothing is known
    silent: float | None  # seconds since it last spoke
    rows: list[Row]
    crew: Crew
    disk: int  # bytes free
    error: Mapping[str, str] | None  # the last one: time, stage, text

    def to_json(self) -> dict[str, Any]:
        """As plain values; the stages are called so."""
        plain = asdict(self)
        return {"stages" if key == "rows" else key: value for key, value in plain.items()}

    @property
    def at_work(self) -> bool:
        """Whether somebody works on it, as far as one can know: on another machine, who spoke lately."""
        return self.state == "working" or (self.state == "elsewhere" and (self.silent or 0.0) < PATIENCE)


def look(workspace: Workspace) -> Overview:
    """Where a run stands now; nothing is written."""
    statuses, owner, live = workspace.status(), workspace.owner(), read_live(workspace.root)
    here = live is not None and live["host"] == socket.gethostname()
    state = _state(owner, live, here)
    speaking = live is not None and state in ("working", "elsewhere") and owner in (None, live["pid"])
    rows = _rows(workspace, statuses, live if speaking else None)
    silent = None if live is None else (datetime.now(UTC) - moment(live["time"])).total_seconds()
    free = shutil.disk_usage(workspace.root).free
    crew = _crew(owner, live, here)
    error = live["error"] if live else None
    return Overview(str(workspace.root), owner, state, silent, rows, crew, free, error)


def _state(owner: int | None, live: Mapping[str, Any] | None, here: bool) -> str:
    if owner is not None:
        return "working"
    if live is None:
        return "idle"
    if live["state"] == "working":
        return "died" if here else "elsewhere"
    return str(live["state"])


def _rows(workspace: Workspace, statuses: list[StageStatus], live: Mapping[str, Any] | None) -> list[Row]:
    rows, stages = [], workspace.table  # which reads the settings each time
    tasks = list(live["tasks"]) if live else []
    for status in statuses:
        begun = workspace.begun(status.name) or {}
        row = replace(Row.of(status), unit=stages[status.name].unit)
        row = replace(row, done=begun.get("units"), total=begun.get("total"))
        if not tasks or tasks[0]["name"] != status.name or status.state == "done":
            rows.append(row)
            continue
        rows.append(_working(row, tasks[0]))
        rows += [_working(Row(plain(task["name"]), "working", "", inner=True), task) for task in tasks[1:]]
    return rows


def _working(row: Row, task: Mapping[str, Any]) -> Row:
    """A row with what a task says of itself."""
    rate, left = (task[key] if is_a(task.get(key), float) else None for key in ("rate", "left"))
    why = f"{task['done']} of {task['total']} {task['unit']}" if task["total"] else "begins"
    row = replace(row, state="working", why=why, note=task["note"], rate=rate, left=left)
    return replace(row, unit=task["unit"], done=task["done"], total=task["total"])


def _crew(owner: int | None, live: Mapping[str, Any] | None, here: bool) -> Crew:
    if live is None or (owner is not None and owner != live["pid"]):
        return Crew(owner, socket.gethostname(), None if owner is None else resident(owner), 0, None, None)
    pid, born = live["pid"], started(live["pid"]) if here else None
    same = born is not None and abs(born - live["started"]) < SECOND  # else its number was given to another process
    workers = live["workers"]
    mine = [number for host, number in workers if here and host == live["host"]]
    held = [size for size in map(resident, mine) if size is not None]
    seen = bool(workers) and len(mine) == len(workers)
    return Crew(
        pid,
        live["host"],
        resident(pid) if same else None,
        len(workers),
        len(held) if seen else None,
        sum(held) if seen else None,
    )
