"""What the models have learnt, as figures: densities over the toy data, spectrograms, rows of pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from frmdn.rollouts.sources import Source
from frmdn.rollouts.sources.toy import LIMIT, InverseSineScale, true_log_density

from ..drawing.figures import WIDTH, drawn, panels
from .model import NextStep

GRID = 240  # points of a density picture along each axis
WINDOW, HOP = 400, 100  # samples of a spectrogram: 25 ms, every 6 ms
RANGE = 70.0  # dB shown
HEAT = LinearSegmentedColormap.from_list("heat", ["#ffffff", "#c9dcf5", "#3d7eda", "#17386b", "#0b1a33"])


@drawn
def toy_densities(source: Source, models: Mapping[str, NextStep]) -> Figure:
    """p(y | x) of each model and of the data's own law, with test points; dark where y is likely."""
    scale: InverseSineScale = source.scale
    x, y = np.linspace(-13, 13, GRID), np.linspace(-LIMIT - 2.5, LIMIT + 2.5, GRID)
    shown = {"the data's own law": _true_density(x, y)}
    shown |= {name: _density(model, scale, x, y) for name, model in models.items()}
    test = source.splits["test"]
    points = torch.cat([test.rows(i, 0, 1) for i in range(min(300, len(test.lengths)))]).numpy()
    columns = min(len(shown), 4)
    figure, axes = panels(-(-len(shown) // columns), columns, 2.6, min(WIDTH, 4.0 * columns), sharex=True, sharey=True)
    for spare in axes[len(shown) :]:
        spare.remove()
    for panel, (name, density) in zip(axes, shown.items(), strict=False):
        corners = (x[0], x[-1], y[0], y[-1])
        root = np.sqrt(np.minimum(density, 1.0))  # so that a wide density is seen beside a sharp one
        panel.imshow(root, extent=corners, origin="lower", aspect="auto", cmap=HEAT, vmin=0, vmax=1)
        native = points[:, 0] * scale.x_std + scale.x_mean, points[:, 1] * scale.y_std + scale.y_mean
        panel.scatter(*native, s=1.5, color="#e07b39", alpha=0.6, linewidths=0)
        panel.set(xlim=corners[:2], ylim=corners[2:], title=name)
        panel.grid(False)
    figure.supxlabel("x")
    figure.supylabel("y")
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
    device = next(model.parameters()).device
    context = torch.from_numpy((x - scale.x_mean) / scale.x_std).float().reshape(-1, 1, 1).to(device)
    distribution, _ = model.density(context)
    values = torch.from_numpy((y - scale.y_mean) / scale.y_std).float().to(device)
    rows = [distribution.log_prob(value.expand(len(x), 1, 1))[:, 0] for value in values]
    return np.asarray(torch.stack(rows).cpu().double().exp()) / scale.y_std


@drawn
def spectrograms(sounds: Sequence[tuple[str, NDArray[np.int16]]], rate: int) -> Figure:
    """Named sounds i16[N] one above the other, on one scale of loudness."""
    pictures = [(name, _spectrogram(sound)) for name, sound in sounds]
    top = max(float(picture.max()) for _, picture in pictures)
    figure, axes = panels(len(pictures), 1, 1.6, sharex=True)
    for panel, (name, picture), (_, sound) in zip(axes, pictures, sounds, strict=True):
        corners = (0, len(sound) / rate, 0, rate / 2000)
        panel.imshow(picture, extent=corners, origin="lower", aspect="auto", cmap=HEAT, vmin=top - RANGE, vmax=top)
        panel.set_title(name)
        panel.grid(False)
    figure.supxlabel("seconds")
    figure.supylabel("kHz")
    return figure


def _spectrogram(sound: NDArray[np.int16]) -> NDArray[np.float64]:
    """Power in dB, f64[frequency,time]."""
    if len(sound) < WINDOW:
        raise ValueError(f"a spectrogram needs {WINDOW} samples, not {len(sound)}")
    pieces = np.lib.stride_tricks.sliding_window_view(sound.astype(float), WINDOW)[::HOP]
    power = np.abs(np.fft.rfft(pieces * np.hanning(WINDOW), axis=1)) ** 2
    return 10 * np.log10(power.T + 1.0)
