"""The pictures that a comparison leaves: learning curves over the seeds, and what the models of seed 0 make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.typing import NDArray

from frmdn.rollouts.sources import Source
from frmdn.rollouts.sources.series import SeriesScale

from ..drawing.figures import INK, SOFT, Curve, band, drawn, focus, panels, picture_rows, say, to_png
from ..files import History, write_bytes
from .continued import continuations, continued
from .model import NextStep
from .pictures import spectrograms, toy_densities
from .results import BASELINE
from .run import open_run
from .sample import Draw, generate, real_sequences

Histories = Sequence[Sequence[Mapping[str, Any]]]  # the lines of each seed
SHOWN = 12  # pictures in a row
FRAMES = 200  # of a spectrogram, 2.5 s


def write_plots(folder: Path, source: Source, record: Mapping[str, Any]) -> list[Path]:
    """Write `learning.png` and, but for latents, `samples.png` into the folder of a data set's runs."""
    histories = {name: _histories(folder / name) for name in record["models"]}
    figures = {"learning.png": learning_curves(histories, record)}
    shown = samples(folder, source, record)
    if shown is not None:
        figures["samples.png"] = shown
    for name, figure in figures.items():
        write_bytes(folder / name, to_png(figure))
    return [folder / name for name in figures]


@drawn
def learning_curves(histories: Mapping[str, Histories], record: Mapping[str, Any]) -> Figure:
    """Validation NLL against the share of the budget: mean over the seeds, band from the best seed to the worst."""
    figure, (axes,) = panels(1, 1, 4.2)
    curves = {name: curve for name, lines in histories.items() if (curve := seed_curves(lines)) is not None}
    for i, (name, (share, nll)) in enumerate(curves.items()):
        colour, width = (INK, 2.0) if name == BASELINE else (colormaps["tab10"](i % 10), 1.4)
        mean = nll.mean(0)
        band(axes, 100 * share, nll.min(0), nll.max(0), color=colour)
        axes.plot(100 * share, mean, color=colour, linewidth=width, label=f"{name}  {mean.min():.3f}")
    floor = record.get("floor")
    if floor is not None:
        axes.axhline(floor, color=SOFT, linewidth=1, linestyle=":", label=f"floor  {floor:.3f}")
    focus(axes, skip=0.2)  # where the curves end, and not the plunge from untrained weights
    beside = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)}
    title, unit = f"{record['data']}, validation split", f"NLL, {record['unit']}"
    say(axes, title, "share of the training budget, %", unit, legend=beside)
    return figure


def seed_curves(histories: Histories) -> Curve | None:
    """Share of the budget f64[N] and validation NLL f64[S,N] of S seeds; None where there are no two points.

    Checks fall where a step ends, so the shares of two seeds differ a little.
    """
    found = []
    for lines in histories:
        points = [(line["share"], line["validation_nll_per_dim"]) for line in lines if "validation_nll_per_dim" in line]
        if len(points) > 1:
            found.append(np.asarray(points, float))
    if not found:
        return None
    last = min(float(points[-1, 0]) for points in found)
    share = np.linspace(0, last, max(len(points) for points in found))
    return share, np.stack([np.interp(share, points[:, 0], points[:, 1]) for points in found])


def samples(folder: Path, source: Source, record: Mapping[str, Any]) -> Figure | None:
    """What the models of seed 0 make, beside the real thing; None for latents, which no eye can judge, and drawings."""
    folders = {name: folder / name / "seed-0" for name in record["models"]}
    opened = {name: open_run(path)[1] for name, path in folders.items() if (path / "result.json").exists()}
    models = {name: model for name, model in opened.items() if isinstance(model, NextStep)}
    if source.name == "inverse-sine":
        return toy_densities(source, models)
    if source.name == "images":
        real = real_sequences(source, SHOWN)
        rows = [("real", real), *((name, generate(m, len(real), real.shape[1], Draw())) for name, m in models.items())]
        return picture_rows([(name, source.scale.native(sequences)) for name, sequences in rows])
    if source.name == "speech":
        sounds = [("recorded", _joined(source))]
        sounds += [(name, source.scale.native(generate(m, 1, FRAMES, Draw()))[0]) for name, m in models.items()]
        return spectrograms(sounds, source.scale.rate)
    if isinstance(source.scale, SeriesScale):
        made = {name: continued(model, source, Draw().generator("continue")) for name, model in models.items()}
        return continuations(source.scale, made)
    return None


def _joined(source: Source) -> NDArray[np.int16]:
    """Test segments end to end, as long as a sampled sound."""
    real = real_sequences(source, 8)
    sound: NDArray[np.int16] = source.scale.native(real).reshape(-1)[: FRAMES * source.outputs]
    return sound


def _histories(folder: Path) -> list[list[dict[str, Any]]]:
    """The histories of a model's finished seeds."""
    return [
        History(path.parent / "history.jsonl", "check").read() for path in sorted(folder.glob("seed-*/result.json"))
    ]
