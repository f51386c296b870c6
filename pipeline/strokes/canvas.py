"""Drawings on a sheet: the layout that still and moving pictures share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from frmdn.rollouts.sources.strokes.carrier import Strokes

PAUSE, SPEED = (
    0.15,
    1.6,
)  # seconds between strokes without times, and sheet heights of a row that a pen then draws a second
INK, CALL = "#1c1c1e", "#3d5afe"  # of what is drawn, and of what was given


@dataclass(frozen=True)
class Cell:
    """One place of a sheet: a drawing, and how many of its first points were given."""

    drawing: Strokes
    given: int = 0
    title: str = ""


@dataclass(frozen=True)
class Line:
    """One stroke on the sheet: points f64[n,2] in pixels, seconds f64[n] of each, its colour."""

    points: np.ndarray
    seconds: np.ndarray
    colour: str = INK


@dataclass(frozen=True)
class Sheet:
    """Rows of cells, laid out."""

    width: int
    height: int
    lines: list[Line] = field(default_factory=list)
    titles: list[tuple[float, float, str]] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """How long it takes to draw."""
        return max((float(line.seconds[-1]) for line in self.lines), default=0.0)


def lay_out(rows: Sequence[Sequence[Cell]], height: int = 96, fixed: tuple[float, float] | None = None) -> Sheet:
    """A sheet of drawings, all in one scale: rows from the top down, cells from left to right.

    Args:
        rows: of cells; an empty one is a gap.
        height: of a row, in pixels.
        fixed: half the width and half the height of a cell in the drawings' units around their origin; None: as much as
            the drawings need, each from its own left edge on.

    Raises:
        ValueError: there is no drawing at all.
    """
    cells = [cell for row in rows for cell in row]
    if not cells:
        raise ValueError("a sheet needs a drawing")
    boxes = {id(cell): _box(cell.drawing, fixed) for cell in cells}
    tall = max(box[3] - box[1] for box in boxes.values()) or 1.0
    wide = max(box[2] - box[0] for box in boxes.values())
    unit = 0.8 * height / tall
    step = unit * wide + 0.25 * height
    columns = max(len(row) for row in rows)
    title = 16 if any(cell.title for cell in cells) else 0
    sheet = Sheet(round(step * columns + 0.15 * height), round((height + title) * len(rows) + 0.1 * height))
    for r, row in enumerate(rows):
        top = (height + title) * r + title
        low, high = min(boxes[id(c)][1] for c in row), max(boxes[id(c)][3] for c in row)
        for c, cell in enumerate(row):
            left, middle = 0.15 * height + step * c, (low + high) / 2
            origin = np.array([left - unit * boxes[id(cell)][0], top + height / 2 - unit * middle])
            sheet.lines.extend(_lines(cell, origin, unit, height))
            if cell.title:
                sheet.titles.append((left, top - 3.0, cell.title))
    return sheet


def _box(drawing: Strokes, fixed: tuple[float, float] | None) -> tuple[float, float, float, float]:
    if fixed is not None:
        return -fixed[0], -fixed[1], fixed[0], fixed[1]
    points = drawing.points
    return (*points.min(0).tolist(), *points.max(0).tolist())


def _lines(cell: Cell, origin: np.ndarray, unit: float, height: int) -> list[Line]:
    """The strokes of a cell; one that is begun as given and goes on as drawn is two lines."""
    drawing = cell.drawing
    points = origin + unit * drawing.points
    clock = drawing.clock if drawing.clock is not None else _pace(points, drawing.pen, height)
    ends = {*(np.flatnonzero(drawing.pen) + 1).tolist(), *([cell.given] if cell.given else [])}
    found, start = [], 0
    for stop in sorted(ends):
        begin = start - 1 if start and start == cell.given and not drawing.pen[start - 1] else start
        colour = CALL if stop <= cell.given else INK
        found.append(Line(points[begin:stop], clock[begin:stop], colour))
        start = stop
    return [line for line in found if len(line.points)]


def _pace(points: np.ndarray, pen: np.ndarray, height: int) -> np.ndarray:
    """Seconds f64[N] of points without times: a pen of one speed, and a pause where it leaves the paper."""
    way = np.hypot(*np.diff(points, axis=0, prepend=points[:1]).T) / (SPEED * height)
    lifted = np.concatenate([[False], pen[:-1] > 0])
    return np.cumsum(np.where(lifted, PAUSE, way) + 1e-3)
