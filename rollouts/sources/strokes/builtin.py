"""The data sets of strokes that need no file, and those that do, by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..sequences import Source
from .files import read_drawings
from .quickdraw import read_sketches
from .source import split_drawings, stroke_source

WORDS = {"train": 6000, "validation": 100, "test": 200}  # drawings of each split


def strokes(name: str, path: Path | str | None = None) -> Source:
    """kanji, handwriting or touch as they are built in, or drawings out of the files at `path`.

    Raises:
        ValueError: there is no such set, or a file is wrong; the message names it.
        MissingExtra: the package that carries a set is not installed.
    """
    builders = {"kanji": kanji, "handwriting": handwriting, "touch": touch}
    if path is not None:
        return _of_files(name, Path(path))
    if name not in builders:
        raise ValueError(f"{name!r} is no set of drawings: take one of {', '.join(builders)}, or give a path")
    return builders[name]()


def _of_files(name: str, path: Path) -> Source:
    """Recorded drawings in the place of the built-in ones; times count in touch alone."""
    if path.suffix.lower() == ".npz":
        drawings = read_sketches(path)  # has its own splits
    else:
        found = read_drawings(path)
        untimed = name != "touch"
        drawings = split_drawings({key: replace(each, waits=None) if untimed else each for key, each in found.items()})
    if name == "touch" and any(each.waits is None for each in drawings["train"]):
        raise ValueError(f"{path}: a drawing has no times, and touch needs them: take --data drawings")
    return stroke_source(name, drawings, "the file's units", {"path": path.name})


def kanji() -> Source:
    """6,413 kanji in the order of their strokes, KanjiVG; lengths in the units of a square of 109."""
    from .kanji import TOLERANCE, read_kanji

    drawings = {name: replace(each, text="") for name, each in read_kanji().items()}  # a name, and not what is spelt
    return stroke_source("kanji", split_drawings(drawings), "KanjiVG's units, 109 a side", {"tolerance": TOLERANCE})


def handwriting() -> Source:
    """Words in many hands of two single-line fonts; the words of test and validation are never trained on."""
    from .words import FONTS, written

    drawn = {split: written(split, count) for split, count in WORDS.items()}
    return stroke_source("handwriting", drawn, "heights of a small x", {"fonts": list(FONTS)})


def touch() -> Source:
    """Performances of touches on a screen, with times."""
    from .touches import perform

    drawn = {split: [perform(split, i) for i in range(count)] for split, count in TOUCHES.items()}
    return stroke_source("touch", drawn, "widths of the screen, seconds", {"motions": "sigma-lognormal, by seed"})


TOUCHES = {"train": 1500, "validation": 150, "test": 300}
