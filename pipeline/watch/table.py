"""The table of all stages: live on a terminal, and as plain lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ..progress import duration, pace, plain
from .overview import Crew, Overview, Row

if TYPE_CHECKING:
    from rich.console import Group

WIDTH = 20  # of a bar
QUIET = 30.0  # seconds without a word, after which it is said
COLOURS = {"done": "green", "working": "bold", "stale": "yellow", "partial": "yellow"}
ENDS = {
    "working": "process {pid} is at work in this folder{ago}",
    "finished": "nobody is at work here; the last run finished",
    "failed": "nobody is at work here; the last run failed",
    "interrupted": "nobody is at work here; the last run was interrupted: the same command goes on",
    "died": "the run died: process {pid} is gone without a word (killed, out of memory, or the machine went down)"
    "{ago}; the same command goes on",
    "elsewhere": "process {pid} on {host} was at work here{ago}",
    "idle": "",
}


def line(row: Row) -> str:
    """One stage as a plain line."""
    spent = duration(row.seconds) if row.seconds else ""
    name = f"  {row.name}" if row.inner else row.name
    return f"{name:<9} {row.state:<8} {spent:>12}  {plain(', '.join(_parts(row)))}"


def _parts(row: Row) -> list[str]:
    rate = pace(row.rate, row.left, row.unit) if row.rate and row.left is not None else ""
    return [part for part in (row.why, row.note, rate) if part]


def footer(seen: Overview) -> list[str]:
    """Who is at work, memory and disk, and the last error."""
    silent = seen.silent or 0.0
    ago = f", last heard of {duration(silent)} ago" if silent > QUIET or seen.state == "elsewhere" else ""
    pid = seen.running if seen.running is not None else seen.crew.pid
    told = [ENDS.get(seen.state, "").format(pid=pid, host=plain(seen.crew.host), ago=ago)]
    told.append(resources(seen.crew, seen.disk))
    if seen.error:
        stage = f" in {seen.error['stage']}" if seen.error.get("stage") else ""
        told.append(f"last error{stage}, {seen.error['time'][:19]} UTC: {seen.error['text']}")
    return [plain(text) for text in told if text]


def resources(crew: Crew, disk: int) -> str:
    """Memory of driver and workers, workers alive, and the free disk."""
    parts = [] if crew.driver is None else [f"driver {size(crew.driver)}"]
    if crew.workers and crew.alive is not None:
        parts.append(f"{crew.alive} of {crew.workers} workers alive, {size(crew.memory or 0)}")
    elif crew.workers:
        parts.append(f"{crew.workers} workers on several machines")
    return ", ".join([*parts, f"disk {size(disk)} free"])


def size(count: int) -> str:
    """`950 MB`, `41.3 GB`: bytes in powers of ten."""
    return f"{count / 1e6:.0f} MB" if count < 1e9 else f"{count / 1e9:.1f} GB"


def table(rows: Iterable[Row], below: Sequence[str]) -> Group:
    """The same for a terminal, with bars, by rich; `below` are lines under it."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, padding=(0, 1, 0, 0), show_header=False)
    for row in rows:
        style = COLOURS.get(row.state, "dim")
        working = row.state == "working"
        bar = ProgressBar(row.total or None, row.done or 0, width=WIDTH) if working and row.total else ""
        spent = duration(row.seconds) if row.seconds else ""
        name = Text(f"  {row.name}" if row.inner else row.name, style=style)
        words = Text(plain(", ".join(_parts(row))), style="" if working else "dim", no_wrap=True, overflow="ellipsis")
        grid.add_row(name, Text(row.state, style=style), Text(spent, justify="right"), bar, words)
    return Group(grid, *(Text(text, style="dim") for text in below))
