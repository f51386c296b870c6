"""The one carrier of stroke sequences: where the pen goes, what it does there, and when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

DRAW, LIFT, END = 0, 1, 2  # what the pen does at a point: it goes on, leaves the paper, or has finished the drawing
LEAST_WAIT = 1e-3  # seconds between points that carry one and the same time


@dataclass(frozen=True)
class Strokes:
    """One drawing, word or performance: N points, each an offset from the point before (the first from the origin).

    A stroke ends at a point whose pen is LIFT; the last point of all is END. As in SketchRNN (Ha and Eck 2017,
    section 3.1), but the pen is one number of three.

    Args:
        offsets: f32[N,2], dx to the right and dy downwards, in the data's own units.
        pen: u8[N], DRAW, LIFT or END; END at the last point and nowhere else.
        waits: f32[N] > 0, seconds since the point before (the first: since the beginning), or None without times.
        text: what is written, where that is known.

    Raises:
        ValueError: shapes that do not fit, numbers that are not finite, a wait of 0 or less, or END at another place.

    >>> from frmdn.rollouts.sources.strokes.carrier import Strokes
    >>> cross = Strokes.of_lines([np.array([[0.0, 1], [2, 1]]), np.array([[1.0, 0], [1, 2]])])
    >>> cross.pen.tolist(), cross.points.tolist()[-1]
    ([0, 1, 0, 2], [1.0, 2.0])
    """

    offsets: np.ndarray
    pen: np.ndarray
    waits: np.ndarray | None = None
    text: str = ""

    def __post_init__(self) -> None:
        n = len(self.pen)
        if n == 0 or self.offsets.shape != (n, 2) or (self.waits is not None and self.waits.shape != (n,)):
            waits = None if self.waits is None else self.waits.shape
            raise ValueError(f"strokes need offsets [N,2], pen [N] and waits [N]: {self.offsets.shape}, {n}, {waits}")
        if not np.isfinite(self.offsets).all():
            raise ValueError("offsets hold NaN or infinity: every point needs a place")
        if self.waits is not None and not (np.isfinite(self.waits) & (self.waits > 0)).all():
            raise ValueError("waits must be above 0 seconds: a point comes after the one before it")
        if int(self.pen[-1]) != END or (self.pen[:-1] >= END).any():
            raise ValueError("pen must be END at the last point and nowhere else")

    def __len__(self) -> int:
        return len(self.pen)

    @classmethod
    def of_lines(
        cls, lines: Sequence[np.ndarray], times: Sequence[np.ndarray] | None = None, text: str = ""
    ) -> Strokes:
        """From polylines [n,2] of absolute points, one for each stroke, and the seconds [n] of their points."""
        lines = [np.asarray(line, np.float64) for line in lines if len(line)]
        if not lines:
            raise ValueError("a drawing needs at least one stroke with a point")
        points = np.concatenate(lines)
        pen = np.zeros(len(points), np.uint8)
        pen[np.cumsum([len(line) for line in lines]) - 1] = LIFT
        pen[-1] = END
        waits = None
        if times is not None:
            clock = np.concatenate([np.asarray(time, np.float64) for time in times if len(time)])
            waits = np.diff(clock, prepend=0.0).astype(np.float32)
        return cls(np.diff(points, axis=0, prepend=np.zeros((1, 2))).astype(np.float32), pen, waits, text)

    @property
    def points(self) -> np.ndarray:
        """Absolute points f64[N,2]."""
        return self.offsets.astype(np.float64).cumsum(0)

    @property
    def clock(self) -> np.ndarray | None:
        """Seconds since the beginning f64[N], or None."""
        return None if self.waits is None else self.waits.astype(np.float64).cumsum()

    @property
    def lines(self) -> list[np.ndarray]:
        """Absolute polylines, one for each stroke."""
        return np.split(self.points, np.flatnonzero(self.pen)[:-1] + 1)


def ascending(times: Sequence[np.ndarray], begin: float | None = None) -> list[np.ndarray]:
    """Seconds [n] of each stroke's points since `begin` (None: since the first), at least LEAST_WAIT apart."""
    clock = np.concatenate(times)
    waits = np.maximum(np.diff(clock, prepend=clock[0] if begin is None else begin), LEAST_WAIT)
    return np.split(np.cumsum(waits), np.cumsum([len(time) for time in times])[:-1])
