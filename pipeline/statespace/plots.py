"""The figures of `frmdn statespace`: training, generated trajectories, latents, filmstrips, a dreamt controller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from frmdn.envs.worlds.pendulum import SIZE, angle

from ..report.plots import BLUE, GREEN, GREY, INK, ORANGE, RULE, SOFT

WIDTH, SHOWN = 9.6, 4  # inches; trajectories in a figure
NAMES = ("cosine", "sine", "velocity / 8 rad/s")
LEGEND: dict[str, Any] = {"frameon": False, "fontsize": 8.5, "labelcolor": INK}


class Generated(NamedTuple):
    """What the model makes of the first observation and the controls."""

    true: Tensor  # f32[N,T+1,3]
    means: Tensor  # f32[N,T+1,3], noise at its centre
    drawn: Tensor  # f32[S,N,T+1,3], S draws of the noise


def training_curves(histories: Sequence[Sequence[Mapping[str, Any]]], annealed: int) -> Figure:
    """Bound, KL and generation error over the updates: one line a seed; bound and KL are those at full weight."""
    panels = (("bound", "bound", "nats per trajectory"), ("kl", "KL to the prior", "nats per trajectory"))
    figure, axes = _panels(3, 2.9)
    for place, (key, title, unit) in zip(axes, panels, strict=False):
        for name, colour, label in ((key, BLUE, "training batches"), (f"validation_{key}", ORANGE, "held out")):
            for seed, history in enumerate(histories):
                points = [(line["step"], line[name]) for line in history if name in line]
                if points:
                    place.plot(
                        *zip(*points, strict=True),
                        color=colour,
                        linewidth=1.1,
                        alpha=0.8,
                        label=None if seed else label,
                    )
        _dress(place, title, "update", unit)
        if annealed:
            place.axvline(annealed, color=GREY, linewidth=0.8, linestyle=":")
        place.legend(**LEGEND)
    axes[1].axhline(0.0, color=INK, linewidth=0.9)
    axes[1].set_ylim(bottom=min(-1.0, axes[1].get_ylim()[0]))
    _clip_low(axes[0])
    for history in histories:
        name = "validation_generation_mae"
        points = [(line["step"], line[name]) for line in history if name in line]
        if points:
            axes[2].plot(*zip(*points, strict=True), color=ORANGE, linewidth=1.1, alpha=0.8)
    axes[2].set_ylim(bottom=0.0)
    _dress(axes[2], "generation at means, held out", "update", "mean absolute error")
    return figure


def generated_figure(made: Generated) -> Figure:
    """True and generated trajectories, their angle by the arctangent of sine and cosine, and the error over time."""
    true, means, drawn = (tensor.numpy() for tensor in made)
    rows, times = min(SHOWN, len(true)), np.arange(true.shape[1])
    figure, grid = _grid(rows + 1, 4, 1.55)
    for i, line in enumerate(grid[:rows]):
        for j, axes in enumerate(line):
            curves = [(row[i, :, j] if j < 3 else _broken(angle(row[i]))) for row in (*drawn, means, true)]
            for draw in curves[:-2]:
                axes.plot(
                    times, draw, color=BLUE, linewidth=0.7, alpha=0.45, label="sampled" if draw is curves[0] else None
                )
            axes.plot(times, curves[-2], color=ORANGE, linewidth=1.4, label="at means")
            axes.plot(times, curves[-1], color=INK, linewidth=1.2, linestyle="--", label="true")
            _dress(axes, (*NAMES, "angle, rad")[j] if i == 0 else "", "", f"test {i}" if j == 0 else "")
    grid[0][0].legend(**{**LEGEND, "fontsize": 7})
    _errors(grid[rows], true, means, drawn)
    return figure


def _errors(line: Sequence[Axes], true: NDArray[Any], means: NDArray[Any], drawn: NDArray[Any]) -> None:
    """Mean absolute error by step over all test trajectories, with the angle's taken around the circle."""
    for j, axes in enumerate(line):
        for made, colour, label in ((drawn, BLUE, "sampled"), (means[None], ORANGE, "at means")):
            if j < 3:
                error = np.abs(made[..., j] - true[..., j])
            else:
                turn = angle(made) - angle(true)
                error = np.abs((turn + np.pi) % (2 * np.pi) - np.pi)
            axes.plot(error.mean((0, 1)), color=colour, linewidth=1.3, label=label)
        axes.set_ylim(bottom=0.0)
        _dress(axes, "", "step", "mean absolute error" if j == 0 else "")
    line[0].legend(**{**LEGEND, "fontsize": 7})


def latent_figure(states: Tensor, truth: Tensor) -> Figure:
    """The two widest principal axes of the states [N,T+1,Z], and the first with the third, by angle and by velocity."""
    flat, true = states.flatten(0, 1).numpy(), truth.flatten(0, 1).numpy()
    centred = flat - flat.mean(0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    points = centred @ directions.T
    if points.shape[1] < 3:
        points = np.pad(points, ((0, 0), (0, 3 - points.shape[1])))
    figure, grid = _grid(2, 2, 3.4)
    colours = ((angle(true), "twilight", "angle, rad"), (8 * true[:, 2], "coolwarm", "velocity, rad/s"))
    for line, (a, b) in zip(grid, ((0, 1), (0, 2)), strict=True):
        for axes, (values, colormap, label) in zip(line, colours, strict=True):
            dots = axes.scatter(points[:, a], points[:, b], c=values, cmap=colormap, s=3, linewidths=0)
            bar = figure.colorbar(dots, ax=axes)
            bar.set_label(label, fontsize=8.5, color=SOFT)
            bar.ax.tick_params(labelsize=7.5, colors=SOFT)
            _dress(axes, "", f"principal axis {a + 1}", f"principal axis {b + 1}")
    return figure


def pixel_filmstrip(true: Tensor, seen: Tensor, means: Tensor, drawn: Tensor, shown: int = 3) -> Figure:
    """Pictures over time [N,T+1,S*S]: the true ones, reconstructed, generated at the means, and generated by a draw."""
    figure, axes = _panels(1, 0.62 * 4 * shown + 0.3)
    rows, names = [], []
    for i in range(min(shown, len(true))):
        for name, strip in (
            ("true", true),
            ("reconstructed", seen),
            ("generated, means", means),
            ("generated, drawn", drawn),
        ):
            tiles = strip[i].clamp(0, 1).reshape(-1, SIZE, SIZE).numpy()
            rows.append(
                np.pad(
                    np.concatenate([np.pad(tile, 1, constant_values=0.5) for tile in tiles], 1),
                    ((0, 1), (0, 0)),
                    constant_values=0.5,
                )
            )
            names.append(name)
        rows[-1] = np.pad(rows[-1], ((0, 4), (0, 0)), constant_values=1.0)
    ends = np.cumsum([len(row) for row in rows])
    axes[0].imshow(np.concatenate(rows), cmap="gray", vmin=0, vmax=1, interpolation="none")
    axes[0].set_yticks([end - SIZE / 2 for end in ends], names)
    step = SIZE + 2
    axes[0].set_xticks(np.arange(true.shape[1]) * step + step / 2, np.arange(true.shape[1]))
    axes[0].tick_params(length=0, colors=SOFT, labelsize=8)
    axes[0].spines[:].set_visible(False)
    return figure


def control_figure(
    history: Sequence[Mapping[str, Any]], reports: Mapping[str, Mapping[str, Any]], angles: NDArray[Any]
) -> Figure:
    """The search in the dream, the returns in the real environment, and the real angle over time f32[N,T+1]."""
    figure, axes = _panels(3, 3.0)
    generation = [line["generation"] for line in history]
    axes[0].plot(generation, [line["best"] for line in history], color=GREY, linewidth=1.0, label="best candidate")
    axes[0].plot(generation, [line["mean"] for line in history], color=BLUE, linewidth=1.5, label="population mean")
    _dress(axes[0], "in the dream", "generation", "return of a dreamt episode")
    axes[0].legend(**LEGEND)
    for i, report in enumerate(reports.values()):
        returns = np.asarray(report["returns"])
        axes[1].scatter(
            np.full(len(returns), i) + 0.15 * np.sin(np.arange(len(returns)) * 2.4),
            returns,
            s=14,
            color=(BLUE, GREY, GREEN)[i % 3],
            alpha=0.6,
            linewidths=0,
        )
        axes[1].plot([i - 0.25, i + 0.25], [report["mean"]] * 2, color=INK, linewidth=2)
    axes[1].set_xticks(range(len(reports)), list(reports))
    _dress(axes[1], "in the real environment", "", "return of an episode")
    for row in angles:
        axes[2].plot(_broken(row), color=BLUE, linewidth=0.8, alpha=0.6)
    axes[2].axhline(0.0, color=INK, linewidth=0.8, linestyle="--")
    axes[2].set_ylim(-np.pi, np.pi)
    _dress(axes[2], "real angle under the dreamt controller", "step", "rad, 0 upright")
    return figure


def _broken(angles: NDArray[Any]) -> NDArray[Any]:
    """Angles with a gap where they jump from pi to -pi, so that no line crosses the plot."""
    broken = np.array(angles, float)
    broken[1:][np.abs(np.diff(broken)) > np.pi] = np.nan
    return broken


def _panels(count: int, height: float) -> tuple[Figure, list[Axes]]:
    figure, grid = _grid(1, count, height)
    return figure, grid[0]


def _grid(rows: int, columns: int, height: float) -> tuple[Figure, list[list[Axes]]]:
    figure = Figure(figsize=(WIDTH, rows * height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False)
    return figure, [list(line) for line in axes]


def _dress(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title, loc="left", fontsize=9.5, color=INK)
    axes.set_xlabel(x, fontsize=8.5, color=SOFT)
    axes.set_ylabel(y, fontsize=8.5, color=SOFT)
    axes.tick_params(colors=SOFT, labelsize=7.5, length=2.5, width=0.6)
    axes.grid(True, axis="y", color=RULE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(RULE)


def _clip_low(axes: Axes) -> None:
    """Leave the first climb of the bound off the axis, where it would flatten all that comes after it."""
    curves = [np.asarray(line.get_ydata(), float) for line in axes.lines]
    values = np.concatenate([curve[len(curve) // 10 :] for curve in curves if len(curve) > 2] or [np.zeros(0)])
    if len(values):
        low, high = float(values.min()), float(values.max())
        axes.set_ylim(low - 0.05 * (high - low), high + 0.1 * (high - low) + 1e-9)
