"""Touches with times out of a table: MicroJam's CSV."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from frmdn.agent.errors import first_line

from .carrier import Strokes, ascending

COLUMNS = ("time", "x", "y", "moving")


def read_microjam(path: Path) -> Strokes:
    """One performance as MicroJam keeps it (Martin and Torresen 2018): a row for each touch event.

    Columns time (seconds since the beginning), x and y (0 to 1), moving (1: the finger goes on, 0: it comes down anew);
    others, as z for the force, are left aside. Places are relative to the screen's centre.

    Raises:
        ValueError: names file, and row and column of what is wrong.
    """
    rows = []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            table = csv.DictReader(file, skipinitialspace=True)
            missing = [name for name in COLUMNS if name not in (table.fieldnames or [])]
            if missing:
                raise ValueError(f"{path} has no column {missing[0]}: MicroJam's are {', '.join(COLUMNS)}")
            for number, row in enumerate(table, 2):
                rows.append([_number(path, number, name, row[name]) for name in COLUMNS])
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is no whole CSV ({first_line(error)})") from None
    if not rows:
        raise ValueError(f"{path} has no event")
    time, x, y, moving = np.array(rows).T
    if (np.diff(time) < 0).any():
        raise ValueError(
            f"{path}, row {int(np.argmax(np.diff(time) < 0)) + 3}: its time is before that of the row before"
        )
    begins = np.flatnonzero((moving == 0) | (np.arange(len(time)) == 0))[1:]
    points = np.stack([x, y], 1) - 0.5
    return Strokes.of_lines(np.split(points, begins), ascending(np.split(time, begins), 0.0))


def _number(path: Path, row: int, column: str, text: str | None) -> float:
    try:
        value = float({"true": "1", "false": "0"}.get((text or "").strip().lower(), text or ""))
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise ValueError(f"{path}, row {row}, column {column}: {text!r:.80} is no number")
    return value
