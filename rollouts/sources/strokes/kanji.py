"""Kanji of KanjiVG as stroke sequences: every stroke in the order in which it is written."""

from __future__ import annotations

import html
import re
from functools import cache
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import numpy as np

from frmdn.agent.errors import MissingExtra

from .carrier import Strokes
from .simplify import simplify
from .svg import path_lines

BOX = 109  # side of KanjiVG's square
FIRST, LAST = 0x4E00, 0x9FFF  # CJK unified ideographs
TOLERANCE = 1.0  # of the square's side BOX
PATH = re.compile(r'<path[^>]* d="([^"]*)"')


@cache
def read_kanji(tolerance: float = TOLERANCE) -> dict[str, Strokes]:
    """Every kanji of the package `kanjivg` (by Ulrich Apel, CC BY-SA 3.0): strokes around the square's centre.

    Units are those of KanjiVG's square of 109. Variants and signs that are no CJK ideographs are left out.

    Args:
        tolerance: of `simplify`, in those units.

    Raises:
        MissingExtra: kanjivg is not installed.
        ValueError: names a file of the package without strokes.
    """
    names: list[str] = []
    owners: list[int] = []  # whose stroke a line is
    lines: list[np.ndarray] = []
    for path in _files():
        found = [line for d in PATH.findall(path.read_text(encoding="utf-8")) for line in path_lines(html.unescape(d))]
        if not found:
            raise ValueError(f"{path} has no strokes: install kanjivg again")
        owners += [len(names)] * len(found)
        lines += found
        names.append(chr(int(path.stem, 16)))
    kept = [line[places] - BOX / 2 for line, places in zip(lines, simplify(lines, tolerance), strict=True)]
    ends = np.searchsorted(owners, np.arange(len(names) + 1)).tolist()
    return {
        name: Strokes.of_lines(kept[start:stop], text=name)
        for name, start, stop in zip(names, ends[:-1], ends[1:], strict=True)
    }


def _files() -> list[Path]:
    """The files kanji/NNNNN.svg of the package that are ideographs, ascending."""
    try:
        listed = files("kanjivg") or []
    except PackageNotFoundError:
        raise MissingExtra("kanjivg", "strokes", "--data kanji") from None
    chosen = [each for each in listed if re.fullmatch(r"0[4-9][0-9a-f]{3}\.svg", each.name)]
    return sorted(Path(str(each.locate())) for each in chosen if FIRST <= int(each.name[:5], 16) <= LAST)
