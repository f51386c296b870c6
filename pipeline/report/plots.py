"""The figures of a report: what was learnt, what was scored, what was seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter
from numpy.typing import NDArray

from ..drawing.figures import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    History,
    band,
    blank,
    curve,
    drawn,
    focus,
    panels,
    picture_rows,
    say,
    series,
    spread,
)

if TYPE_CHECKING:
    from .drive import DriveRecord

CHECKED: dict[str, Any] = {"color": ORANGE, "linewidth": 1.6, "marker": "o", "markersize": 3.5}
VISION = (
    ("loss", "total loss", "nats per frame"),
    ("reconstruction", "reconstruction", "squared error per frame"),
    ("kl", "KL to the prior", "nats per frame"),
)
MEMORY = (
    ("nll_per_dim", "next latent", "NLL, nats per dimension"),
    ("reward", "reward", "squared error"),
    ("end", "end of episode", "cross-entropy, nats"),
)


def vision_curves(history: History) -> Figure:
    """Loss, reconstruction error and KL of the vision, each on training and on held-out frames."""
    return _fit_curves(history, VISION)


def memory_curves(history: History) -> Figure:
    """NLL per dimension, reward and end losses of the memory, each on training and on held-out episodes."""
    return _fit_curves(history, MEMORY)


@drawn
def _fit_curves(history: History, parts: Sequence[tuple[str, str, str]]) -> Figure:
    shown = [part for part in parts if any(part[0] in line or f"validation_{part[0]}" in line for line in history)]
    figure, places = panels(1, max(1, len(shown)), 2.7)
    for axes, (key, title, unit) in zip(places, shown, strict=False):
        curve(axes, history, key, color=BLUE, label="training")
        curve(axes, history, f"validation_{key}", color=ORANGE, label="held out")
        focus(axes)
        say(axes, title, "training step", unit, legend={})
    return figure


@drawn
def evolution_curves(history: History) -> Figure:
    """The search: return of the population by generation, its step size, and the return against working time."""
    figure = blank(4.2)
    main, sigma, cost = figure.subplot_mosaic([["main", "main", "sigma"], ["main", "main", "cost"]]).values()
    generation, mean = series(history, "generation", "mean")
    _, std = series(history, "generation", "std")
    band(main, generation, mean - std, mean + std, color=BLUE, label="± std")
    curve(main, history, "mean", color=BLUE, label="population mean")
    curve(main, history, "best", color=GREY, linewidth=1.0, label="best candidate")
    curve(main, history, "validation", **CHECKED, label="CMA's mean, validation seeds")
    say(main, "return by generation", "generation", "return per episode", legend={})
    curve(sigma, history, "sigma", color=GREEN)
    say(sigma, "step size σ", "generation", "σ")
    _return_by_cost(cost, history)
    return figure


def _return_by_cost(axes: Axes, history: History) -> None:
    """Return against minutes of search, with the episodes they bought on top."""
    minutes = np.cumsum([float(line.get("seconds", 0)) for line in history]) / 60
    timed = [{**line, "minutes": minute} for line, minute in zip(history, minutes, strict=True)]
    axes.plot(*series(timed, "minutes", "mean"), color=BLUE, linewidth=1.4)
    axes.plot(*series(timed, "minutes", "validation"), color=ORANGE, linewidth=1.4)
    episodes = sum(int(line.get("episodes", 0)) for line in history)
    say(axes, f"return by cost{f', {episodes:,} episodes' if episodes else ''}", "minutes of search", "return")


@drawn
def rounds_curves(history: History) -> Figure:
    """The rounds: what the kept agent and the exploring one returned in reality, by round and by real steps.

    Lines are those of `rounds/history.jsonl`; finalists have `final`, their return on seeds of their own.
    """
    figure, (main, cost) = panels(1, 2, 2.9, width_ratios=(2, 1))
    curve(main, history, "collected", color=GREY, linewidth=1.2, label="exploring, collected")
    curve(main, history, "validation", **CHECKED, label="kept agent, validation seeds")
    finals = {"linestyle": "", "marker": "D", "markersize": 5}
    curve(main, history, "final", color=GREEN, **finals, label="finalists, further seeds")
    say(main, "return by round, in reality", "round", "return per episode", legend={})
    cost.plot(*series(history, "real_steps", "validation"), color=ORANGE, linewidth=1.4)
    cost.xaxis.set_major_formatter(EngFormatter(sep=""))
    say(cost, "return by real steps", "steps of the real environment", "return")
    return figure


@drawn
def evaluation_figure(report: Mapping[str, Any]) -> Figure:
    """Every return as a dot, its mean and 95 % interval, for the agent and for each baseline."""
    rows = {"agent": report, **report.get("baselines", {})}
    figure, (axes,) = panels(1, 1, 0.8 + 0.55 * len(rows))
    for i, entry in enumerate(rows.values()):
        returns, mean = np.asarray(entry.get("returns", []), float), entry["mean"]
        colour = BLUE if i == 0 else GREY
        axes.scatter(returns, i + 0.26 * spread(len(returns)), s=20, color=colour, alpha=0.55, linewidths=0, zorder=2)
        low, high = entry.get("ci95", (mean, mean))
        axes.plot([low, high], [i, i], color=INK, linewidth=2.2, solid_capstyle="butt", zorder=3)
        axes.plot([mean] * 2, [i - 0.24, i + 0.24], color=INK, linewidth=2.2, zorder=3)
        text = f"{mean:.0f}".replace("-", "\N{MINUS SIGN}")
        axes.annotate(text, (mean, i - 0.27), fontsize=9, ha="center", va="bottom")
    say(axes, "", "return per episode (bar: mean, line: 95 % interval)")
    axes.set_yticks(range(len(rows)), [name.replace("_", " ") for name in rows])
    axes.set_ylim(len(rows) - 0.4, -0.75)
    axes.grid(False, axis="y")
    axes.grid(True, axis="x")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0, labelsize=10, labelcolor=INK)
    return figure


def reconstruction_grid(frames: NDArray[np.uint8], decoded: NDArray[np.uint8]) -> Figure:
    """Frames above, what the vision keeps of them below. Both u8[N,H,W,C] of one shape; ValueError otherwise."""
    if frames.shape != decoded.shape or not len(frames):
        raise ValueError(f"frames {frames.shape} and decoded {decoded.shape} must have one shape, and hold a picture")
    return picture_rows([("seen", frames), ("reconstructed", decoded)])


def filmstrip(record: DriveRecord, instants: int = 8) -> Figure:
    """Evenly spread instants of a drive: seen, reconstructed, and what the memory expected before it saw them."""
    chosen = np.unique(np.linspace(1, record.steps, min(instants, record.steps)).round().astype(int))
    rows = [("seen", record.frames), ("reconstructed", record.reconstructions)]
    if record.expected is not None:
        rows.append(("expected", record.expected))
    return picture_rows([(name, pictures[chosen]) for name, pictures in rows], [f"step {t}" for t in chosen])
