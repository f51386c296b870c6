"""Fewer points for the same line: Ramer-Douglas-Peucker for all strokes of a data set at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .carrier import Strokes


def simplify(lines: Sequence[np.ndarray], tolerance: float) -> list[np.ndarray]:
    """Which points of each polyline [n,2] to keep, as ascending places: the farthest is kept while it is too far.

    Ramer (1972), Douglas and Peucker (1973): the ends stay; where the point farthest from the chord is more than
    `tolerance` away from it, it stays too and divides the line in two. The usual recursion treats one line after the
    other; here all pieces of all lines are divided together, level by level, so that a hundred thousand strokes take
    a second.

    Raises:
        ValueError: tolerance below 0.

    >>> from frmdn.rollouts.sources.strokes.simplify import simplify
    >>> simplify([np.array([[0.0, 0], [1, 0.1], [2, 0], [2, 2]])], tolerance=0.5)[0].tolist()
    [0, 2, 3]
    """
    if not tolerance >= 0:
        raise ValueError(f"tolerance must be 0 or more, not {tolerance}")
    sizes = np.array([len(line) for line in lines], np.int64)
    if not len(sizes):
        return []
    points = np.concatenate([np.asarray(line, np.float64) for line in lines])
    stops = np.cumsum(sizes)
    starts = stops - sizes
    keep = np.zeros(len(points), bool)
    keep[starts[sizes > 0]] = keep[stops[sizes > 0] - 1] = True
    first, last = starts[sizes > 2], stops[sizes > 2] - 1  # pieces that still have points between their ends
    while len(first):
        split, distance = _farthest(points, first, last)
        far = distance > tolerance
        first, last, split = first[far], last[far], split[far]
        keep[split] = True
        first, last = np.concatenate([first, split]), np.concatenate([split, last])
        between = last - first > 1
        first, last = first[between], last[between]
    return [np.flatnonzero(keep[start:stop]) for start, stop in zip(starts, stops, strict=True)]


def _farthest(points: np.ndarray, first: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The inner point of each piece that is farthest from its chord, and how far: i64[M], f64[M]."""
    sizes = last - first - 1
    begin = np.cumsum(sizes) - sizes
    piece = np.repeat(np.arange(len(first)), sizes)
    place = np.arange(sizes.sum()) - begin[piece] + first[piece] + 1
    chord = (points[last] - points[first])[piece]
    from_first = points[place] - points[first][piece]
    length = np.square(chord).sum(1)
    along = np.clip((from_first * chord).sum(1) / np.where(length > 0, length, 1), 0, 1)
    distance = np.hypot(*(from_first - along[:, None] * chord).T)
    order = np.lexsort((distance, piece))  # ascending inside each piece: its last is the farthest
    chosen = order[begin + sizes - 1]
    return place[chosen], distance[chosen]


def simplified(strokes: Strokes, tolerance: float) -> Strokes:
    """The drawing with fewer points; times stay those of the points that are kept."""
    lines, clock = strokes.lines, strokes.clock
    kept = simplify(lines, tolerance)
    times = None
    if clock is not None:
        parts = np.split(clock, np.cumsum([len(line) for line in lines])[:-1])
        times = [part[places] for part, places in zip(parts, kept, strict=True)]
    return Strokes.of_lines([line[places] for line, places in zip(lines, kept, strict=True)], times, strokes.text)
