"""The figures of `frmdn statespace`: training, generated trajectories, latents, filmstrips, a dreamt controller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from frmdn.envs.worlds.pendulum import SIZE, angle

from ..drawing.figures import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    History,
    curve,
    drawn,
    focus,
    panels,
    picture_rows,
    say,
    spread,
)

SHOWN = 4  # trajectories in a figure
NAMES = ("cosine", "sine", "velocity / 8 rad/s")
SMALL = {"fontsize": 7}


class Generated(NamedTuple):
    """What the model makes of the first observation and the controls."""

    true: Tensor  # f32[N,T+1,3]
    means: Tensor  # f32[N,T+1,3], noise at its centre
    drawn: Tensor  # f32[S,N,T+1,3], S draws of the noise


@drawn
def training_curves(histories: Sequence[History], annealed: int) -> Figure:
    """Bound, KL and generation error over the updates: one line a seed; bound and KL are those at full weight."""
    figure, (bound, kl, error) = panels(1, 3, 2.9)
    held = {"color": ORANGE, "linewidth": 1.1, "alpha": 0.8}
    for axes, key, title in ((bound, "bound", "bound"), (kl, "kl", "KL to the prior")):
        for i, history in enumerate(histories):
            curve(axes, history, key, **{**held, "color": BLUE}, label=None if i else "training batches")
            curve(axes, history, f"validation_{key}", **held, label=None if i else "held out")
        if key == "bound":
            focus(axes)
        if annealed:
            axes.axvline(annealed, color=GREY, linewidth=0.8, linestyle=":")
        say(axes, title, "update", "nats per trajectory", legend={})
    kl.axhline(0.0, color=INK, linewidth=0.9)
    kl.set_ylim(bottom=min(-1.0, kl.get_ylim()[0]))
    for history in histories:
        curve(error, history, "validation_generation_mae", **held)
    error.set_ylim(bottom=0.0)
    say(error, "generation at means, held out", "update", "mean absolute error")
    return figure


@drawn
def generated_figure(made: Generated) -> Figure:
    """True and generated trajectories, their angle by the arctangent of sine and cosine, and the error over time."""
    true, means, samples = (tensor.numpy() for tensor in made)
    rows, times = min(SHOWN, len(true)), np.arange(true.shape[1])
    figure, places = panels(rows + 1, 4, 1.55)
    for k, axes in enumerate(places[:-4]):
        i, j = divmod(k, 4)
        curves = [(row[i, :, j] if j < 3 else _broken(angle(row[i]))) for row in (*samples, means, true)]
        for n, draw in enumerate(curves[:-2]):
            axes.plot(times, draw, color=BLUE, linewidth=0.7, alpha=0.45, label=None if n else "sampled")
        axes.plot(times, curves[-2], color=ORANGE, linewidth=1.4, label="at means")
        axes.plot(times, curves[-1], color=INK, linewidth=1.2, linestyle="--", label="true")
        title = "" if i else (*NAMES, "angle, rad")[j]
        say(axes, title, "", "" if j else f"test {i}", legend=None if k else SMALL)
    _errors(places[-4:], true, means, samples)
    return figure


def _errors(line: Sequence[Axes], true: NDArray[Any], means: NDArray[Any], samples: NDArray[Any]) -> None:
    """Mean absolute error by step over all test trajectories, with the angle's taken around the circle."""
    for j, axes in enumerate(line):
        for made, colour, label in ((samples, BLUE, "sampled"), (means[None], ORANGE, "at means")):
            if j < 3:
                error = np.abs(made[..., j] - true[..., j])
            else:
                turn = angle(made) - angle(true)
                error = np.abs((turn + np.pi) % (2 * np.pi) - np.pi)
            axes.plot(error.mean((0, 1)), color=colour, linewidth=1.3, label=label)
        axes.set_ylim(bottom=0.0)
        say(axes, "", "step", "" if j else "mean absolute error", legend=None if j else SMALL)


@drawn
def latent_figure(states: Tensor, truth: Tensor) -> Figure:
    """The two widest principal axes of the states [N,T+1,Z], and the first with the third, by angle and by velocity."""
    flat, true = states.flatten(0, 1).numpy(), truth.flatten(0, 1).numpy()
    centred = flat - flat.mean(0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    points = centred @ directions.T
    if points.shape[1] < 3:
        points = np.pad(points, ((0, 0), (0, 3 - points.shape[1])))
    figure, places = panels(2, 2, 3.4)
    colours = ((angle(true), "twilight", "angle, rad"), (8 * true[:, 2], "coolwarm", "velocity, rad/s"))
    for axes, ((a, b), (values, colormap, label)) in zip(places, product(((0, 1), (0, 2)), colours), strict=True):
        dots = axes.scatter(points[:, a], points[:, b], c=values, cmap=colormap, s=3, linewidths=0)
        figure.colorbar(dots, ax=axes, label=label)
        say(axes, "", f"principal axis {a + 1}", f"principal axis {b + 1}")
    return figure


def pixel_filmstrip(true: Tensor, seen: Tensor, means: Tensor, drawn: Tensor, shown: int = 3) -> Figure:
    """Pictures over time [N,T+1,S*S]: the true ones, reconstructed, generated at the means, and generated by a draw."""
    strips = (("reconstructed", seen), ("generated, means", means), ("generated, drawn", drawn))
    rows = [
        (name, strip[i].clamp(0, 1).mul(255).round().byte().reshape(-1, SIZE, SIZE, 1).numpy())
        for i in range(min(shown, len(true)))
        for name, strip in ((f"test {i}, true", true), *strips)
    ]
    return picture_rows(rows, [str(t) for t in range(true.shape[1])])


@drawn
def control_figure(
    history: Sequence[Mapping[str, Any]], reports: Mapping[str, Mapping[str, Any]], angles: NDArray[Any]
) -> Figure:
    """The search in the dream, the returns in the real environment, and the real angle over time f32[N,T+1]."""
    figure, (dream, real, turn) = panels(1, 3, 3.0)
    curve(dream, history, "best", color=GREY, linewidth=1.0, label="best candidate")
    curve(dream, history, "mean", color=BLUE, label="population mean")
    say(dream, "in the dream", "generation", "return of a dreamt episode", legend={})
    for i, report in enumerate(reports.values()):
        returns, colour = np.asarray(report["returns"]), (BLUE, GREY, GREEN)[i % 3]
        real.scatter(i + 0.15 * spread(len(returns)), returns, s=14, color=colour, alpha=0.6, linewidths=0)
        real.plot([i - 0.25, i + 0.25], [report["mean"]] * 2, color=INK, linewidth=2)
    real.set_xticks(range(len(reports)), list(reports))
    say(real, "in the real environment", "", "return of an episode")
    for row in angles:
        turn.plot(_broken(row), color=BLUE, linewidth=0.8, alpha=0.6)
    turn.axhline(0.0, color=INK, linewidth=0.8, linestyle="--")
    turn.set_ylim(-np.pi, np.pi)
    say(turn, "real angle under the dreamt controller", "step", "rad, 0 upright")
    return figure


def _broken(angles: NDArray[Any]) -> NDArray[Any]:
    """Angles with a gap where they jump from pi to -pi, so that no line crosses the plot."""
    broken = np.array(angles, float)
    broken[1:][np.abs(np.diff(broken)) > np.pi] = np.nan
    return broken
