"""A film drawn: its pictures side by side, and under them reward, chance of the end and the mixture's weights."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import ImageDraw

from ..drawing.canvas import BLUE, GAP, GROUND, INK, PANEL, RED, SOFT, TRACK, blank, compose, font, strip
from .film import Film

WIDTH = GAP + 3 * (PANEL + GAP)
SINGLE = 288  # side of a picture that stands alone
LEFT = GAP + 72  # where the charts begin, behind their names
CHARTS = (("reward", 64), ("end", 34), ("mixture", 46))  # name and height
AMBER = (236, 180, 84)
PALETTE = (
    BLUE,
    (72, 187, 134),
    AMBER,
    (177, 126, 232),
    (232, 103, 103),
    (96, 200, 214),
    (214, 126, 178),
    (150, 160, 90),
)


def compose_film(film: Film, stride: int = 1) -> Iterator[NDArray[np.uint8]]:
    """Draw every `stride`-th instant, and always the last; each u8[H,W,3] RGB, H and W even."""
    charts = draw_charts(film)

    def below(t: int, width: int) -> NDArray[np.uint8]:
        action = film.actions[min(t, film.steps - 1)]
        return np.concatenate([strip(width, _cells(film, t), film.controls, action), reveal(charts, film, t)])

    return compose(film.panels, below, stride, side=PANEL if len(film.panels) > 1 else SINGLE, width=WIDTH)


def _cells(film: Film, t: int) -> list[tuple[str, str, tuple[int, int, int], int]]:
    """Step, returns so far, and what the dream is doing."""
    alone = t - film.alone
    state = "watching" if alone <= 0 and film.alone else f"alone for {alone}"
    cells = [("step", f"{t}", INK, 56)]
    if film.real is not None:
        cells.append(("real return", f"{film.real[:t].sum():.0f}", SOFT, 84))
    cells.append(("dreamt return", f"{film.dreamt[:t].sum():.0f}", BLUE, 96))
    return [*cells, ("the dream is", state, AMBER if alone > 0 else SOFT, 120)]


def draw_charts(film: Film) -> NDArray[np.uint8]:
    """The whole course of reward, chance of the end and weights, u8[H,WIDTH,3]; `reveal` shows it up to an instant."""
    height = sum(h + GAP for _, h in CHARTS)
    (image, draw), top = blank(WIDTH, height), 0
    for name, h in CHARTS:
        draw.text((GAP, top + h // 2), name, SOFT, font(11), anchor="lm")
        draw.rectangle((LEFT, top, WIDTH - GAP - 1, top + h), TRACK)
        top += h + GAP
    (_, reward), (_, end), (_, mixture) = CHARTS
    _rewards(draw, film, 0, reward)
    _curve(draw, film.ends, (reward + GAP, end), (0.0, 1.0), RED)
    canvas = np.array(image)
    below = reward + GAP + end + GAP
    canvas[below : below + mixture, LEFT : WIDTH - GAP] = stacked(film.weights, mixture, WIDTH - GAP - LEFT)
    return canvas


def _rewards(draw: ImageDraw.ImageDraw, film: Film, top: int, height: int) -> None:
    curves = [film.dreamt] if film.real is None else [film.real, film.dreamt]
    low, high = min(float(c.min()) for c in curves), max(float(c.max()) for c in curves)
    limits = (min(low, 0.0), max(high, low + 1e-6))
    if film.real is not None:
        _curve(draw, film.real, (top, height), limits, SOFT)
    _curve(draw, film.dreamt, (top, height), limits, BLUE)
    draw.text((GAP, top + 8), f"{limits[1]:.3g}", SOFT, font(9), anchor="lm")
    draw.text((GAP, top + height - 6), f"{limits[0]:.3g}", SOFT, font(9), anchor="lm")


def _curve(
    draw: ImageDraw.ImageDraw,
    values: NDArray[np.float32],
    place: tuple[int, int],
    limits: tuple[float, float],
    colour: tuple[int, int, int],
) -> None:
    """values [N] as a line inside `place` (top, height); entry t stands at instant t + 1."""
    (top, height), (low, high) = place, limits
    y = top + height - 2 - (np.clip(values, low, high) - low) / (high - low) * (height - 4)
    points = [(column(t + 1, len(values)), float(v)) for t, v in enumerate(y)]
    if len(points) > 1:
        draw.line(points, colour, 2)


def column(t: int, steps: int) -> int:
    """Where instant t of 0..steps stands."""
    return LEFT + round(t / max(steps, 1) * (WIDTH - GAP - LEFT - 1))


def stacked(weights: NDArray[np.float32], height: int, width: int) -> NDArray[np.uint8]:
    """Weights [N,K] that sum to 1, stacked: u8[height,width,3] with one colour a component."""
    if not weights.shape[1]:
        return np.broadcast_to(np.array(TRACK, np.uint8), (height, width, 3))
    rows = weights[np.minimum((np.arange(width) * len(weights)) // width, len(weights) - 1)]  # [width,K]
    level = (np.arange(height) + 0.5) / height
    component = (level[:, None, None] >= rows.cumsum(1)[None, :, :-1]).sum(-1)
    colours = np.array([PALETTE[k % len(PALETTE)] for k in range(weights.shape[1])], np.uint8)
    return colours[component]


def reveal(charts: NDArray[np.uint8], film: Film, t: int) -> NDArray[np.uint8]:
    """The charts up to instant t, a mark where the dream is left alone, and the present as a line."""
    shown = charts.copy()
    now = column(t, film.steps)
    future = shown[:, now + 1 : WIDTH - GAP]
    future[...] = np.where((future == np.array(GROUND, np.uint8)).all(-1, keepdims=True), future, TRACK)
    if film.alone:
        shown[::4, column(film.alone, film.steps)] = AMBER
    shown[:-GAP, now] = INK
    return shown
