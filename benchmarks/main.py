"""Every hot loop against the classical way, in the same run. Light: what a loop needs is imported when it begins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module

from frmdn.pipeline.progress import Progress, duration

from .row import ROUNDS, Meter, Row


@dataclass(frozen=True)
class Loop:
    """A loop that can be measured: `module(workers, meter)` in the module of this name gives its rows."""

    module: str
    sides: int  # ours, the classical way, the limit and what the notes quote: each is timed for as long as the others
    about: str


LOOPS = {
    "collect": Loop("collect", 4, "random episodes of CarRacing, compressed and safe on disk"),
    "agent": Loop("acting", 3, "the whole agent driving: environment, vision, memory, controller"),
    "vision": Loop("vision", 4, "training the vision"),
    "memory": Loop("memory", 5, "training the memory on stored latents"),
    "dream": Loop("dream", 5, "dreaming, and searching in dreams"),
    "density": Loop("density", 7, "low-rank precisions, and training FRMDN beside RMDN"),
    "strokes": Loop("strokes", 3, "training on kanji, stroke by stroke"),
    "mario": Loop("mario", 3, "the whole agent playing Super Mario Bros"),
}


def chosen(names: Sequence[str]) -> list[str]:
    """The loops of these names, all for none; ValueError names those that do not exist."""
    unknown = sorted(set(names) - set(LOOPS))
    if unknown:
        raise ValueError(f"there is no benchmark {', '.join(unknown)}; choose from {', '.join(LOOPS)}")
    return list(dict.fromkeys(names or LOOPS))


def forecast(names: Sequence[str], seconds: float) -> str:
    """How long it will take, for people: before they start it and walk away."""
    sides = sum(LOOPS[name].sides for name in names)
    return f"{sides} sides of {seconds:g} s: at least {duration(sides * seconds)}, and some for starting and warming up"


def rows(asked: Sequence[str], workers: int, seconds: float, progress: Progress) -> Iterator[Row]:
    """Each row as soon as it is measured. Without `asked` names all loops, but for those whose extra is missing."""
    for name in chosen(asked):
        progress.line(f"{name}: starting and warming up")
        try:
            yield from _rows(name, workers, seconds, progress)
        except ImportError as missing:
            if type(missing).__name__ != "MissingExtra" or name in asked:
                raise
            progress.line(f"{name} left out: {missing}")


def _rows(name: str, workers: int, seconds: float, progress: Progress) -> Iterator[Row]:
    """The rows of one loop, with a task for each that is closed before the row is shown."""
    done, total = 0, ROUNDS * LOOPS[name].sides

    def told(turns: int, side: str) -> None:
        nonlocal done
        done += turns
        task.update(done, total, side)

    module = import_module(f"{__package__}.{LOOPS[name].module}")
    stream: Iterator[Row] = getattr(module, LOOPS[name].module)(workers, Meter(seconds, told))
    while True:
        with progress.task(name, "turns") as task:
            row = next(stream, None)
        if row is None:
            return
        yield row
