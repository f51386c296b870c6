"""The figures of a dream report: how long dreams stay true, and whether they rank controllers as reality does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..drawing.figures import BLUE, GREEN, GREY, INK, ORANGE, drawn, panels, say

NAMES = {
    "point": ("point predictions", BLUE, "-"),
    "drawn": ("drawn dreams", ORANGE, "-"),
    "still": ("nothing changes", GREY, "--"),
}
MINUS = "\N{MINUS SIGN}"


@drawn
def open_loop_figure(result: Mapping[str, Any]) -> Figure:
    """Relative error over the horizon, in latents and in decoded frames."""
    quality = result["open_loop"]
    figure, places = panels(1, 2, 3.1)
    for axes, (part, title) in zip(places, (("latents", "latents"), ("frames", "decoded frames")), strict=True):
        for name, (label, colour, style) in NAMES.items():
            values = quality[part]["error"][name]
            axes.plot(quality[part]["at"], values, style, color=colour, label=label, linewidth=1.7)
        axes.axhline(quality["threshold"], color=INK, linewidth=0.8, linestyle=":")
        axes.set_ylim(0, None)
        say(axes, title, "steps without seeing", "relative error", legend={"loc": "lower right"})
    return figure


@drawn
def transfer_figure(result: Mapping[str, Any], temperature: float = 1.0) -> Figure:
    """Dream return against real return, one dot a controller, at the temperature nearest to the given one."""
    row = nearest(result, temperature)
    real = np.array([one["real"]["mean"] for one in result["controllers"]])
    means = np.array([one["kind"] == "mean" for one in result["controllers"]])
    dreamt = np.array(row["returns"])
    figure, (axes,) = panels(1, 1, 4.2)
    low, high = max(real.min(), dreamt.min()), min(real.max(), dreamt.max())
    if np.ptp(dreamt) > 0.3 * np.ptp(real) and high > low:  # on another scale the line would only flatten the dots
        axes.plot([low, high], [low, high], color=GREY, linewidth=0.8, linestyle=":", label="dream = reality")
    for which, label, colour in ((means, "CMA's means", BLUE), (~means, "candidates", ORANGE)):
        axes.scatter(real[which], dreamt[which], s=30, color=colour, alpha=0.75, linewidths=0, label=label)
    last = max((i for i in range(len(means)) if means[i]), key=lambda i: result["controllers"][i]["generation"])
    axes.scatter(real[last], dreamt[last], s=110, facecolors="none", edgecolors=INK, linewidths=1.2, label="the agent")
    title = f"Spearman {rho_text(row['spearman'])}, temperature {row['temperature']:g}"
    say(axes, title, "real return", "dream return", legend={})
    return figure


@drawn
def temperature_figure(result: Mapping[str, Any]) -> Figure:
    """Over the temperature: the rank correlation with its interval, and what dream and reality say of the agent."""
    rows = sorted(result["temperatures"], key=lambda row: row["temperature"])
    tau = [row["temperature"] for row in rows]
    figure, (left, axes) = panels(1, 2, 3.1)
    _correlations(left, rows)
    for key, label, colour in (("agent", "agent", BLUE), ("preferred", "the dream's favourite", GREEN)):
        for side, style, said in (("dream", "-o", "dreamt"), ("real", "--", "real")):
            values = [row[key][side]["mean"] for row in rows]
            axes.plot(tau, values, style, color=colour, markersize=4, label=f"{label}, {said}")
    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom, top + 0.3 * (top - bottom))  # room for the legend, which would hide the curves
    say(axes, "returns", "temperature", "return per episode", legend={"ncols": 2, "loc": "upper left"})
    return figure


def _correlations(axes: Axes, rows: list[Mapping[str, Any]]) -> None:
    known = [(row["temperature"], row["spearman"]) for row in rows if row["spearman"]["value"] is not None]
    for t, rho in known:
        axes.plot([t, t], [rho["low"], rho["high"]], color=BLUE, alpha=0.35, linewidth=4, solid_capstyle="butt")
    axes.plot([t for t, _ in known], [rho["value"] for _, rho in known], "-o", color=BLUE, markersize=4)
    axes.axhline(0, color=INK, linewidth=0.8, linestyle=":")
    say(axes, "Spearman, dream against reality", "temperature", "rank correlation")
    axes.set_ylim(-1.05, 1.05)


def nearest(result: Mapping[str, Any], temperature: float) -> Mapping[str, Any]:
    """The row of the table whose temperature is nearest."""
    row: Mapping[str, Any] = min(result["temperatures"], key=lambda row: abs(row["temperature"] - temperature))
    return row


def rho_text(rho: Mapping[str, float | None]) -> str:
    """0.71 (0.42 to 0.88)."""
    if rho["value"] is None:
        return "undefined"
    low, high = rho["low"], rho["high"]
    interval = f" ({low:.2f} to {high:.2f})" if low is not None and high is not None else ""
    return f"{rho['value']:.2f}{interval}".replace("-", MINUS)
