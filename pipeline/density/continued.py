"""How a series might go on: a held-out sequence, read up to an instant, and continued many times."""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure

from frmdn.agent.seeds import derive
from frmdn.rollouts.sources import Source, whole_batches
from frmdn.rollouts.sources.series import WARM, SeriesScale

from ..drawing.figures import BLUE, INK, SOFT, drawn, panels, say, to_png
from ..files import write_bytes
from .model import NextStep

COUNT, LENGTH, SHOWN = 12, 100, 4  # continuations, their rows at most, columns of a picture
SUFFIXES = (".png", ".csv", ".npz")


@dataclass(frozen=True)
class Continued:
    """In the units of the file."""

    recorded: np.ndarray  # f64[warm+steps,D]
    made: np.ndarray  # f64[count,steps,D], each from row `warm` on

    @property
    def warm(self) -> int:
        return self.recorded.shape[0] - self.made.shape[1]


@torch.no_grad()
def continued(
    model: NextStep,
    source: Source,
    noise: torch.Generator,
    count: int = COUNT,
    length: int | None = None,
    tau: float = 1,
) -> Continued:
    """The longest test sequence, read for up to WARM rows, and `count` ways on with its own contexts.

    Args:
        length: rows to go on; None: as many as were recorded, LENGTH at most.
        tau: temperature.

    Raises:
        ValueError: fewer rows were recorded than asked for.
    """
    model.eval()
    device, size = next(model.parameters()).device, model.config.outputs
    *_, batch = (part.to(device) for part in whole_batches(source, "test", derive(0, "show")))
    row = int(batch.mask.sum(1).argmax())
    context, target = batch.context[row : row + 1], batch.target[row : row + 1]
    rows = int(batch.mask[row].nonzero().max()) + 1
    warm = min(WARM, rows // 2)
    steps = min(LENGTH, rows - warm) if length is None else length
    if warm + steps > rows:
        raise ValueError(f"--length {steps} is more than the {rows - warm} rows that the held-out sequence still has")
    state = None
    if warm:
        _, state = model.density(context[:, :warm].expand(count, -1, -1))
    now, made = context[:, warm : warm + 1].expand(count, -1, -1), []
    for t in range(warm, warm + steps):
        distribution, state = model.density(now, state)
        y = distribution.sample(temperature=tau, generator=noise)
        made.append(y)
        if t + 1 < rows:
            now = torch.cat([y, context[:, t + 1 : t + 2, size:].expand(count, -1, -1)], -1)
    native = source.scale.native
    return Continued(native(target[0, : warm + steps].cpu()), native(torch.cat(made, 1).cpu()))


@drawn
def continuations(scale: SeriesScale, models: Mapping[str, Continued]) -> Figure:
    """A row for each model, a panel for each of the first columns: recorded in black, ways to go on in blue."""
    names = scale.target[:SHOWN]
    shape = (len(names), 1) if len(models) == 1 else (len(models), len(names))
    figure, axes = panels(*shape, height=2.2, sharex=True)
    rows = [axes[i : i + len(names)] for i in range(0, len(axes), len(names))]
    for row, (model, found) in zip(rows, models.items(), strict=True):
        ahead = np.arange(found.warm, len(found.recorded))
        for d, (panel, name) in enumerate(zip(row, names, strict=True)):
            panel.plot(ahead, found.made[:, :, d].T, color=BLUE, alpha=0.35, linewidth=0.8)
            panel.plot(found.recorded[:, d], color=INK, linewidth=1.2)
            panel.axvline(found.warm - 0.5, color=SOFT, linewidth=0.8, linestyle=":")
            say(panel, model if len(names) == 1 else f"{model}: {name}", "row of the held-out sequence", name)
    return figure


def write_continued(options: argparse.Namespace, source: Source, model: NextStep, noise: torch.Generator) -> str:
    """Carry out `frmdn density sample` for a file of one's own; returns one line for people."""
    path, scale = options.out, source.scale
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"--out {path} must end with {', '.join(SUFFIXES)}: that is what a series gives")
    found = continued(model, source, noise, options.count, options.length, options.temperature[0])
    if suffix == ".png":
        data = to_png(continuations(scale, {model.config.model: found}))
    elif suffix == ".csv":
        data = _csv(scale, found)
    else:
        kept = io.BytesIO()
        np.savez(kept, samples=found.made, recorded=found.recorded, columns=np.asarray(scale.target))
        data = kept.getvalue()
    write_bytes(path, data)
    return (
        f"wrote {path}: {len(found.made)} continuations of {found.made.shape[1]} rows, after {found.warm} recorded ones"
    )


def _csv(scale: SeriesScale, found: Continued) -> bytes:
    """sample, row, and the targets; sample 0 is what was recorded."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["sample", "row", *scale.target])
    for t, values in enumerate(found.recorded):
        writer.writerow([0, t + 1, *(f"{value:.7g}" for value in values)])
    for i, sample in enumerate(found.made, 1):
        for t, values in enumerate(sample, found.warm):
            writer.writerow([i, t + 1, *(f"{value:.7g}" for value in values)])
    return text.getvalue().encode()
