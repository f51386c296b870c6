"""What the models have learnt, as figures: densities over the toy data, spectrograms, rows of pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from frmdn.rollouts.sources import Source
from frmdn.rollouts.sources.toy import LIMIT, InverseSineScale, true_log_density

from ..report.plots import INK, RULE, SOFT
from .model import NextStep

GRID = 240  # points of a density picture along each axis
WINDOW, HOP = 400, 100  # samples of a spectrogram: 25 ms, every 6 ms
RANGE = 70.0  # dB shown
HEAT = LinearSegmentedColormap.from_list("heat", ["#ffffff", "#c9dcf5", "#3d7eda", "#17386b", "#0b1a33"])


def toy_densities(source: Source, models: Mapping[str, NextStep]) -> Figure:
    """p(y | x) of each model and of the data's own law, with test points; dark where y is likely."""
    scale: InverseSineScale = source.scale
    x, y = np.linspace(-13, 13, GRID), np.linspace(-LIMIT - 2.5, LIMIT + 2.5, GRID)
    panels = {"the data's own law": _true_density(x, y)}
    panels |= {name: _density(model, scale, x, y) for name, model in models.items()}
    test = source.splits["test"]
    points = torch.cat([test.rows(i, 0, 1) for i in range(min(300, len(test.lengths)))]).numpy()
    figure, axes = _grid(len(panels), 2.5)
    for panel, (name, density) in zip(axes, panels.items(), strict=True):
        corners = (x[0], x[-1], y[0], y[-1])
        shown = np.sqrt(np.minimum(density, 1.0))  # a root, so that a wide density is seen beside a sharp one
        panel.imshow(shown, extent=corners, origin="lower", aspect="auto", cmap=HEAT, vmin=0, vmax=1)
        native = points[:, 0] * scale.x_std + scale.x_mean, points[:, 1] * scale.y_std + scale.y_mean
        panel.scatter(*native, s=1.5, color="#e07b39", alpha=0.6, linewidths=0)
        panel.set(xlim=corners[:2], ylim=corners[2:])
        _name(panel, name)
    _label(figure, axes, "x", "y")
    return figure


def _true_density(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """f64[y,x], zero outside the data's range."""
    across, up = np.meshgrid(x, y)
    inside = np.abs(up) <= LIMIT
    density = np.zeros(across.shape)
    density[inside] = np.exp(true_log_density(across[inside], up[inside]))
    return density


@torch.no_grad()
def _density(
    model: NextStep, scale: InverseSineScale, x: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.float64]:
    """p(y | x) at every point of the grid, f64[y,x], per unit of y."""
    model.eval()
    context = torch.from_numpy((x - scale.x_mean) / scale.x_std).float().reshape(-1, 1, 1)
    distribution, _ = model.density(context)
    values = torch.from_numpy((y - scale.y_mean) / scale.y_std).float()
    rows = [distribution.log_prob(value.expand(len(x), 1, 1))[:, 0] for value in values]
    return np.asarray(torch.stack(rows).double().exp()) / scale.y_std


def spectrograms(sounds: Sequence[tuple[str, NDArray[np.int16]]], rate: int) -> Figure:
    """Named sounds i16[N] one above the other, on one scale of loudness."""
    pictures = [(name, _spectrogram(sound)) for name, sound in sounds]
    top = max(float(picture.max()) for _, picture in pictures)
    figure = Figure(figsize=(9.6, 0.5 + 1.45 * len(pictures)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(pictures), 1, sharex=True, squeeze=False)[:, 0]
    for panel, (name, picture), (_, sound) in zip(axes, pictures, sounds, strict=True):
        corners = (0, len(sound) / rate, 0, rate / 2000)
        panel.imshow(picture, extent=corners, origin="lower", aspect="auto", cmap=HEAT, vmin=top - RANGE, vmax=top)
        _name(panel, name)
    _label(figure, axes, "seconds", "kHz")
    return figure


def _spectrogram(sound: NDArray[np.int16]) -> NDArray[np.float64]:
    """Power in dB, f64[frequency,time]."""
    if len(sound) < WINDOW:
        raise ValueError(f"a spectrogram needs {WINDOW} samples, not {len(sound)}")
    pieces = np.lib.stride_tricks.sliding_window_view(sound.astype(float), WINDOW)[::HOP]
    power = np.abs(np.fft.rfft(pieces * np.hanning(WINDOW), axis=1)) ** 2
    return 10 * np.log10(power.T + 1.0)


def _grid(count: int, height: float) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels in rows of four, sharing their axes."""
    columns = min(count, 4)
    lines = -(-count // columns)
    figure = Figure(figsize=(9.6 if columns > 2 else 4.0 * columns, 0.3 + height * lines), layout="constrained")
    FigureCanvasAgg(figure)
    axes: list[Axes] = list(figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).flat)
    for spare in axes[count:]:
        spare.remove()
    return figure, axes[:count]


def _name(axes: Axes, name: str) -> None:
    axes.set_title(name, loc="left", fontsize=9.5, color=INK)
    axes.tick_params(colors=SOFT, labelsize=8, length=3, width=0.7)
    for spine in axes.spines.values():
        spine.set_color(RULE)


def _label(figure: Figure, axes: Any, x: str, y: str) -> None:
    figure.supxlabel(x, fontsize=9, color=SOFT)
    figure.supylabel(y, fontsize=9, color=SOFT)
