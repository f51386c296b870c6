"""What all figures share: one style, curves and bands, pictures in rows. No pyplot, no window, nothing left behind."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

History = Sequence[Mapping[str, Any]]
Curve = tuple[NDArray[np.float64], NDArray[np.float64]]
P = ParamSpec("P")

# Series keep their colour on white and on black; what must turn with the page is named in THEME.
BLUE, ORANGE, GREEN, GREY = "#3d7eda", "#e07b39", "#2e9e6b", "#8a94a3"
INK, SOFT, RULE = "#1f2630", "#6b7684", "#dde2e9"
THEME = {INK: "--ink", SOFT: "--soft", RULE: "--rule"}
POINTS = 400  # a curve needs no more on a page
WIDTH = 9.6  # inches
STYLE: dict[str, Any] = {
    "figure.constrained_layout.use": True,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "axes.titlecolor": INK,
    "axes.labelsize": 9,
    "axes.labelcolor": SOFT,
    "axes.edgecolor": RULE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "legend.labelcolor": INK,
    "legend.handlelength": 1.4,
    **{f"{axis}tick.{key}": value for axis in "xy" for key, value in (("color", SOFT), ("labelsize", 8))},
    **{f"{axis}tick.major.{key}": value for axis in "xy" for key, value in (("size", 3), ("width", 0.7))},
    "text.color": INK,
}


def drawn(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """The figure that a function draws, in our style; Matplotlib's own settings are as before when it returns."""
    styled: Callable[P, Figure] = matplotlib.rc_context(STYLE)(draw)
    return styled


def blank(height: float, width: float = WIDTH) -> Figure:
    """An empty figure, in inches."""
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def panels(rows: int, columns: int, height: float, width: float = WIDTH, **more: Any) -> tuple[Figure, list[Axes]]:
    """A figure of `rows` x `columns` axes, row by row; `height` inches are those of a row. `more`: shared axes."""
    figure = blank(rows * height, width)
    return figure, list(figure.subplots(rows, columns, squeeze=False, **more).flat)


def say(axes: Axes, title: str, x: str = "", y: str = "", legend: Mapping[str, Any] | None = None) -> None:
    """Title and labels; with `legend` (which may be empty) what Matplotlib's legend takes, where a curve has a name."""
    axes.set(title=title, xlabel=x, ylabel=y)
    if legend is not None and axes.get_legend_handles_labels()[0]:
        axes.legend(**legend)


def series(history: History, x: str, y: str) -> Curve:
    """The finite points of the lines that have both keys: validation stands on some lines only."""
    points = [(line[x], line[y]) for line in history if x in line and _finite(line.get(y))]
    pairs = np.asarray(points, float).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def curve(axes: Axes, history: History, key: str, **style: Any) -> Curve:
    """Draw `key` of a history over its steps, generations or rounds; dots where there are too few for a line."""
    over = next((name for name in ("step", "generation", "round") if any(name in line for line in history)), "step")
    x, y = series(history, over, key)
    if len(x):
        dots = {"marker": "o", "markersize": 4} if len(x) < 3 else {}
        axes.plot(*thin(x, y), **{"linewidth": 1.5, **dots, **style})
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    return x, y


def band(axes: Axes, x: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64], **style: Any) -> None:
    """The room between two curves f64[N]."""
    axes.fill_between(x, low, high, **{"alpha": 0.15, "linewidth": 0, **style})


def spread(count: int) -> NDArray[np.float64]:
    """Offsets f64[N] that keep equal values apart: where a dot stands across its row means nothing."""
    return np.sin(np.arange(count) * 2.4)


def thin(x: NDArray[np.float64], y: NDArray[np.float64]) -> Curve:
    """Average neighbours where a curve has far more points than a page can show."""
    size = -(-len(x) // POINTS)
    if size <= 1:
        return x, y
    starts = np.arange(0, len(x), size)
    counts = np.diff(np.append(starts, len(x)))
    return np.add.reduceat(x, starts) / counts, np.add.reduceat(y, starts) / counts


def focus(axes: Axes, skip: float = 0.1) -> None:
    """Leave the first plunge or climb of the curves off the axis, where it would flatten all that comes after it."""
    curves = [np.asarray(line.get_ydata(), float) for line in axes.lines]
    late = [curve[int(skip * len(curve)) :] for curve in curves]
    if not late:
        return
    values, whole = np.concatenate(late), np.concatenate(curves)
    low, high = float(values.min()), float(values.max())
    if high > low and np.ptp(whole) > 2.5 * (high - low):
        axes.set_ylim(low - 0.08 * (high - low), high + 0.25 * (high - low))


@drawn
def picture_rows(rows: Sequence[tuple[str, NDArray[np.uint8]]], heads: Sequence[str] = ()) -> Figure:
    """Named rows of pictures u8[N,H,W,C] of one shape, with transparent gaps between them; `heads` stand above."""
    count, height, width = rows[0][1].shape[:3]
    gap = max(2, width // 16)
    sheet = np.zeros((len(rows) * (height + gap) - gap, count * (width + gap) - gap, 4), np.uint8)
    for i, (_, pictures) in enumerate(rows):
        for j, picture in enumerate(pictures):
            tile = sheet[i * (height + gap) :, j * (width + gap) :][:height, :width]
            tile[..., :3], tile[..., 3] = picture, 255  # a single channel spreads over the three
    left, top = max(1.15, 0.085 * max(len(name) for name, _ in rows)), 0.28 if heads else 0.05
    across = WIDTH - left - 0.05  # inches; the names stand in the margins
    up = across * sheet.shape[0] / sheet.shape[1]
    whole = up + top + 0.05
    figure = blank(whole)
    figure.set_layout_engine("none")  # every inch is laid out here
    axes = figure.add_axes((left / WIDTH, 0.05 / whole, across / WIDTH, up / whole))
    axes.imshow(sheet, interpolation="none")
    axes.set_yticks([i * (height + gap) + height / 2 for i in range(len(rows))], [name for name, _ in rows])
    axes.set_xticks([j * (width + gap) + width / 2 for j in range(count)] if heads else [], heads)
    axes.tick_params(length=0, labelsize=9, labeltop=True, labelbottom=False)
    axes.spines[:].set_visible(False)
    axes.grid(False)
    return figure


def to_svg(figure: Figure) -> str:
    """An `<svg>` element to stand inside a page: its text is text, ink and rules follow the page's CSS variables."""
    buffer = io.StringIO()
    with matplotlib.rc_context({**STYLE, "svg.fonttype": "none", "svg.hashsalt": "frmdn"}):  # same figure, same bytes
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    for colour, variable in THEME.items():
        text = text.replace(colour, f"var({variable}, {colour})")
    return text


def to_png(figure: Figure, dpi: int = 144) -> bytes:
    """The figure on white, for places that know no SVG."""
    buffer = io.BytesIO()
    with matplotlib.rc_context(STYLE):  # Matplotlib makes some ticks no sooner than now
        figure.savefig(buffer, format="png", dpi=dpi, facecolor="white")
    return buffer.getvalue()
