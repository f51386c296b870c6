"""The figures of a report, as Matplotlib figures of their own: no pyplot, no window, no style left behind."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .drive import DriveRecord

History = Sequence[Mapping[str, Any]]

# Series keep their colour on white and on black; what must turn with the page is named in THEME.
BLUE, ORANGE, GREEN, GREY = "#3d7eda", "#e07b39", "#2e9e6b", "#8a94a3"
INK, SOFT, RULE = "#1f2630", "#6b7684", "#dde2e9"
THEME = {INK: "--ink", SOFT: "--soft", RULE: "--rule"}
POINTS = 400  # a curve needs no more on a page
WIDTH = 9.6  # inches


def vision_curves(history: History) -> Figure:
    """Loss, reconstruction error and KL of the vision, each on training and on held-out frames."""
    panels = (
        ("loss", "total loss", "nats per frame"),
        ("reconstruction", "reconstruction", "squared error per frame"),
        ("kl", "KL to the prior", "nats per frame"),
    )
    return _fit_curves(history, panels)


def memory_curves(history: History) -> Figure:
    """NLL per dimension, reward and end losses of the memory, each on training and on held-out episodes."""
    panels = (
        ("nll_per_dim", "next latent", "NLL, nats per dimension"),
        ("reward", "reward", "squared error"),
        ("end", "end of episode", "cross-entropy, nats"),
    )
    return _fit_curves(history, panels)


def _fit_curves(history: History, panels: Sequence[tuple[str, str, str]]) -> Figure:
    shown = [panel for panel in panels if any(panel[0] in line or f"validation_{panel[0]}" in line for line in history)]
    figure = _figure(2.7)
    for i, (key, title, unit) in enumerate(shown):
        axes = figure.add_subplot(1, len(shown), i + 1)
        curves = (("training", BLUE, key, 1.4), ("held out", ORANGE, f"validation_{key}", 1.6))
        for label, colour, name, width in curves:
            x, y = _series(history, "step", name)
            if len(x):
                dot = "o" if len(x) < 3 else None
                axes.plot(*_thin(x, y), color=colour, label=label, linewidth=width, marker=dot, markersize=4)
        _clip_start(axes)
        _dress(axes, title, "training step", unit)
        axes.legend(**_LEGEND)
    return figure


def evolution_curves(history: History) -> Figure:
    """The search: return of the population by generation, its step size, and the return against working time."""
    generation, mean = _series(history, "generation", "mean")
    _, best = _series(history, "generation", "best")
    _, std = _series(history, "generation", "std")
    checked, validation = _series(history, "generation", "validation")
    figure = _figure(4.2)
    grid = figure.add_gridspec(2, 3)
    main = figure.add_subplot(grid[:, :2])
    main.fill_between(generation, mean - std, mean + std, color=BLUE, alpha=0.18, linewidth=0, label="± std")
    main.plot(generation, mean, color=BLUE, linewidth=1.6, label="population mean")
    main.plot(generation, best, color=GREY, linewidth=1.0, label="best candidate")
    if len(checked):
        style: dict[str, Any] = {"color": ORANGE, "linewidth": 1.6, "marker": "o", "markersize": 3.5}
        main.plot(checked, validation, **style, label="CMA's mean, validation seeds")
    _dress(main, "return by generation", "generation", "return per episode")
    main.legend(**_LEGEND)
    sigma = figure.add_subplot(grid[0, 2])
    sigma.plot(*_series(history, "generation", "sigma"), color=GREEN, linewidth=1.6)
    _dress(sigma, "step size σ", "generation", "σ")
    _return_by_cost(figure.add_subplot(grid[1, 2]), history, mean)
    return figure


def _return_by_cost(axes: Axes, history: History, mean: NDArray[np.float64]) -> None:
    """Return against minutes of search, with the episodes they bought on top."""
    minutes = np.cumsum([float(line.get("seconds", 0)) for line in history]) / 60
    episodes = np.cumsum([float(line.get("episodes", 0)) for line in history])
    axes.plot(minutes, mean, color=BLUE, linewidth=1.4)
    checked = [i for i, line in enumerate(history) if "validation" in line]
    axes.plot(minutes[checked], [history[i]["validation"] for i in checked], color=ORANGE, linewidth=1.4)
    played = f", {int(episodes[-1]):,} episodes" if len(episodes) else ""
    _dress(axes, f"return by cost{played}", "minutes of search", "return")


def rounds_curves(history: History) -> Figure:
    """The rounds: what the kept agent and the exploring one returned in reality, by round and by real steps.

    Lines are those of `rounds/history.jsonl`; finalists have `final`, their return on seeds of their own.
    """
    figure = _figure(2.9)
    grid = figure.add_gridspec(1, 3)
    main, cost = figure.add_subplot(grid[:, :2]), figure.add_subplot(grid[:, 2])
    checked, validation = _series(history, "round", "validation")
    main.plot(*_series(history, "round", "collected"), color=GREY, linewidth=1.2, label="exploring, collected")
    style: dict[str, Any] = {"color": ORANGE, "linewidth": 1.6, "marker": "o", "markersize": 3.5}
    main.plot(checked, validation, **style, label="kept agent, validation seeds")
    final, value = _series(history, "round", "final")
    if len(final):
        main.plot(final, value, "D", color=GREEN, markersize=5, label="finalists, further seeds")
    _dress(main, "return by round, in reality", "round", "return per episode")
    main.xaxis.set_major_locator(MaxNLocator(integer=True))
    main.legend(**_LEGEND)
    cost.plot(*_series(history, "real_steps", "validation"), color=ORANGE, linewidth=1.4)
    cost.xaxis.set_major_formatter(EngFormatter(sep=""))
    _dress(cost, "return by real steps", "steps of the real environment", "return")
    return figure


def evaluation_figure(report: Mapping[str, Any]) -> Figure:
    """Every return as a dot, its mean and 95 % interval, for the agent and for each baseline."""
    rows = [("agent", report), *report.get("baselines", {}).items()]
    figure = _figure(0.8 + 0.55 * len(rows))
    axes = figure.add_subplot()
    for i, (_, entry) in enumerate(rows):
        returns = np.asarray(entry.get("returns", []), float)
        colour = BLUE if i == 0 else GREY
        spread = 0.26 * np.sin(np.arange(len(returns)) * 2.4)  # keeps equal returns apart; the height means nothing
        axes.scatter(returns, i + spread, s=20, color=colour, alpha=0.55, linewidths=0, zorder=2)
        low, high = entry.get("ci95", (entry["mean"], entry["mean"]))
        axes.plot([low, high], [i, i], color=INK, linewidth=2.2, solid_capstyle="butt", zorder=3)
        axes.plot([entry["mean"]] * 2, [i - 0.24, i + 0.24], color=INK, linewidth=2.2, zorder=3)
        axes.annotate(
            f"{entry['mean']:.0f}".replace("-", "\N{MINUS SIGN}"),
            (entry["mean"], i - 0.27),
            color=INK,
            fontsize=9,
            ha="center",
            va="bottom",
        )
    _dress(axes, "", "return per episode (bar: mean, line: 95 % interval)", "")
    axes.set_yticks(range(len(rows)), [name.replace("_", " ") for name, _ in rows])
    axes.set_ylim(len(rows) - 0.4, -0.75)
    axes.grid(False, axis="y")
    axes.grid(True, axis="x", color=RULE, linewidth=0.7)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0, labelsize=10, labelcolor=INK)
    return figure


def reconstruction_grid(frames: NDArray[np.uint8], decoded: NDArray[np.uint8]) -> Figure:
    """Frames above, what the vision keeps of them below. Both u8[N,H,W,C] of one shape; ValueError otherwise."""
    if frames.shape != decoded.shape or not len(frames):
        raise ValueError(f"frames {frames.shape} and decoded {decoded.shape} must have one shape, and hold a picture")
    return _tiles([("seen", frames), ("reconstructed", decoded)], None)


def picture_rows(rows: Sequence[tuple[str, NDArray[np.uint8]]]) -> Figure:
    """Named rows of pictures u8[N,H,W,C], all of one shape."""
    return _tiles(rows, None)


def filmstrip(record: DriveRecord, instants: int = 8) -> Figure:
    """Evenly spread instants of a drive: seen, reconstructed, and what the memory expected before it saw them."""
    chosen = np.unique(np.linspace(1, record.steps, min(instants, record.steps)).round().astype(int))
    rows = [("seen", record.frames[chosen]), ("reconstructed", record.reconstructions[chosen])]
    if record.expected is not None:
        rows.append(("expected", record.expected[chosen]))
    return _tiles(rows, [f"step {t}" for t in chosen])


def _tiles(rows: Sequence[tuple[str, NDArray[np.uint8]]], heads: Sequence[str] | None) -> Figure:
    """One picture with a transparent gap between its tiles, named on the left and above."""
    count, height, width = rows[0][1].shape[:3]
    gap = max(2, width // 16)
    sheet = np.zeros((len(rows) * (height + gap) - gap, count * (width + gap) - gap, 4), np.uint8)
    for i, (_, pictures) in enumerate(rows):
        for j, picture in enumerate(pictures):
            tile = sheet[i * (height + gap) :, j * (width + gap) :][:height, :width]
            tile[..., :3], tile[..., 3] = picture, 255  # a single channel spreads over the three
    left, top = max(1.15, 0.085 * max(len(name) for name, _ in rows)), 0.28 if heads else 0.05
    width_in = WIDTH - left - 0.05  # inches; the names stand in the margins
    height_in = width_in * sheet.shape[0] / sheet.shape[1]
    figure = Figure(figsize=(WIDTH, height_in + top + 0.05))
    FigureCanvasAgg(figure)
    whole = figure.get_figheight()
    axes = figure.add_axes((left / WIDTH, 0.05 / whole, width_in / WIDTH, height_in / whole))
    axes.imshow(sheet, interpolation="none")
    axes.set_yticks([i * (height + gap) + height / 2 for i in range(len(rows))], [name for name, _ in rows])
    axes.set_xticks([j * (width + gap) + width / 2 for j in range(count)] if heads else [], heads or [])
    axes.tick_params(length=0, colors=SOFT, labelsize=9, labeltop=True, labelbottom=False)
    axes.spines[:].set_visible(False)
    return figure


def to_svg(figure: Figure) -> str:
    """An `<svg>` element to stand inside a page: its text is text, ink and rules follow the page's CSS variables."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "frmdn"}):  # same figure, same bytes
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    for colour, variable in THEME.items():
        text = text.replace(colour, f"var({variable}, {colour})")
    return text


def to_png(figure: Figure, dpi: int = 144) -> bytes:
    """The figure on white, for places that know no SVG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, facecolor="white")
    return buffer.getvalue()


_LEGEND: dict[str, Any] = {"frameon": False, "fontsize": 8.5, "labelcolor": INK, "handlelength": 1.4}


def _figure(height: float) -> Figure:
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _dress(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title, loc="left", fontsize=10.5, color=INK)
    axes.set_xlabel(x, fontsize=9, color=SOFT)
    axes.set_ylabel(y, fontsize=9, color=SOFT)
    axes.tick_params(colors=SOFT, labelsize=8.5, length=3, width=0.7)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=x in ("generation", "training step"), min_n_ticks=1))
    axes.grid(True, axis="y", color=RULE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(RULE)


def _series(history: History, x: str, y: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The finite points of the lines that have both keys: validation stands on some lines only."""
    points = [(line[x], line[y]) for line in history if x in line and _finite(line.get(y))]
    pairs = np.asarray(points, float).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _thin(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Average neighbours where a curve has far more points than a page can show."""
    size = -(-len(x) // POINTS)
    if size <= 1:
        return x, y
    starts = np.arange(0, len(x), size)
    counts = np.diff(np.append(starts, len(x)))
    return np.add.reduceat(x, starts) / counts, np.add.reduceat(y, starts) / counts


def _clip_start(axes: Axes) -> None:
    """Cut the first plunge of a loss off the axis where it would flatten all that comes after it."""
    curves = [np.asarray(line.get_ydata(), float) for line in axes.lines]
    late = [curve[len(curve) // 10 :] for curve in curves if len(curve) >= 10]
    if not late:
        return
    values = np.concatenate(late)
    low, high = float(values.min()), float(values.max())
    top = max(float(curve.max()) for curve in curves)
    if high > low and top - low > 2.5 * (high - low):
        axes.set_ylim(low - 0.08 * (high - low), high + 0.25 * (high - low))
