"""The time of a generation and its efficiency by the number of workers, as one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from frmdn.pipeline.drawing.figures import BLUE, GREY, ORANGE, blank, drawn, to_png

from .simulation import Timing


def picture(found: Mapping[str, Sequence[Timing]]) -> bytes:
    """PNG; `found` has the timings of each population by its name."""
    return to_png(_figure(found), dpi=110)


@drawn
def _figure(found: Mapping[str, Sequence[Timing]]) -> Figure:
    figure = blank(3.0)
    left, right = figure.subplots(1, 2)
    for (name, timings), colour in zip(found.items(), (BLUE, ORANGE), strict=False):
        workers = [timing.workers for timing in timings]
        left.loglog(workers, [timing.seconds for timing in timings], "o-", ms=3, color=colour, label=name)
        right.semilogx(workers, [timing.efficiency for timing in timings], "o-", ms=3, color=colour, label=name)
        ideal = [timings[0].seconds / each for each in workers]
        left.loglog(workers, ideal, ":", color=GREY, lw=0.8)
    left.set(title="a generation", xlabel="workers", ylabel="seconds (dotted: no loss)")
    right.set(title="efficiency", xlabel="workers", ylim=(0, 1.05))
    left.legend()
    return figure
