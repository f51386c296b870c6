"""Whether a word can be read: the nearest glyphs of the fonts under dynamic time warping, without a dictionary."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from frmdn.rollouts.sources.strokes.carrier import Strokes
from frmdn.rollouts.sources.strokes.vocabulary import LETTERS
from frmdn.rollouts.sources.strokes.words import FONTS, Hand, write

POINTS = 20  # of a glyph, evenly along its ink
MOST = 4  # strokes of a glyph
SLANTS = (0.0, 0.12, 0.24)
LETTER = 0.05  # what a glyph costs besides, so that two are no cheaper than one
APART = 0.4  # heights of a small x between the middles of neighbours; nearer ones cost what is missing
AT_A_TIME = 400  # pieces that are compared together: bounds the memory


def read_words(words: Sequence[Strokes]) -> list[str]:
    """What is written, letter by letter: of all ways to cut each word's strokes into glyphs, the one that costs least.

    A glyph has one to four strokes. It costs its mean distance to the nearest glyph of the fonts, straight or slanted,
    under dynamic time warping (Sakoe and Chiba 1978), times its strokes; neighbours that crowd each other cost more.
    Heights over the base line count, places along it do not. The reader knows the fonts, and neither the hand nor which
    words there are.
    """
    pieces, homes = [], []
    counts = sorted({lines for _, lines, _ in _glyphs()})
    for w, word in enumerate(words):
        lines = word.lines
        for start in range(len(lines)):
            for count in counts:
                if start + count <= len(lines):
                    pieces.append(_even(lines[start : start + count]))
                    homes.append((w, start, count))
    costs: list[dict[tuple[int, int], tuple[float, str]]] = [{} for _ in words]
    for count in counts:
        glyphs = [(letter, shape) for letter, lines, shape in _glyphs() if lines == count]
        places = [i for i, home in enumerate(homes) if home[2] == count]
        for part in range(0, len(places), AT_A_TIME):
            chosen = places[part : part + AT_A_TIME]
            distance = warped(np.stack([pieces[i] for i in chosen]), np.stack([shape for _, shape in glyphs]))
            for i, near, cost in zip(chosen, distance.argmin(1), distance.min(1), strict=True):
                w, start, _ = homes[i]
                costs[w][start, count] = float(cost) * count, glyphs[near][0]
    return [_cut(word, cost) for word, cost in zip(words, costs, strict=True)]


def _cut(word: Strokes, costs: dict[tuple[int, int], tuple[float, str]]) -> str:
    """The letters of the cheapest way from the first stroke to the last; each also costs LETTER, and what it crowds."""
    lines = word.lines
    best: dict[tuple[int, int], tuple[float, str]] = {(0, 0): (0.0, "")}  # strokes read, of which the last glyph has
    for stop in range(1, len(lines) + 1):
        for count in range(1, MOST + 1):
            known = costs.get((stop - count, count))
            if known is None:
                continue
            middle = _middle(lines[stop - count : stop])
            ways = []
            for (at, size), (cost, letters) in best.items():
                if at == stop - count:
                    ahead = middle - _middle(lines[at - size : at]) if size else APART
                    ways.append((cost + known[0] + LETTER + max(0.0, APART - ahead), letters + known[1]))
            best[stop, count] = min(ways)
    return min(found for (at, _), found in best.items() if at == len(lines))[1]


def _middle(lines: Sequence[np.ndarray]) -> float:
    across = np.concatenate(lines)[:, 0]
    return float(across.min() + across.max()) / 2


@cache
def _glyphs() -> list[tuple[str, int, np.ndarray]]:
    """Letter, number of strokes, and shape f64[POINTS,2] of every glyph, straight and slanted."""
    found = []
    for font in FONTS:
        for slant in SLANTS:
            hand = Hand(font, slant, width=1.0, size=1.0, spacing=0.0, slope=0.0, jitter=0.0, sway=0.0)
            for letter in LETTERS.strip():
                lines = write(letter, hand, np.random.default_rng(0)).lines
                found.append((letter, len(lines), _even(lines)))
    return found


def _even(lines: Sequence[np.ndarray]) -> np.ndarray:
    """Points evenly along the ink of some strokes, around the middle of their widths: f64[POINTS,2]."""
    points = np.concatenate(lines)
    # no ink between strokes
    inked = np.concatenate([np.hypot(*np.diff(line, axis=0, prepend=line[:1]).T) for line in lines])
    way = inked.cumsum() + 1e-9 * np.arange(len(inked))
    at = np.linspace(0, way[-1], POINTS)
    shape = np.stack([np.interp(at, way, points[:, axis]) for axis in (0, 1)], 1)
    shape[:, 0] -= (points[:, 0].min() + points[:, 0].max()) / 2
    return shape


def warped(pieces: np.ndarray, glyphs: np.ndarray) -> np.ndarray:
    """Mean distance along the best warping of each piece f64[A,P,2] to each glyph f64[B,P,2]: f64[A,B].

    D(i,j) = d(i,j) + min(D(i-1,j), D(i,j-1), D(i-1,j-1)); D(P,P) / P is returned.
    """
    size = pieces.shape[1]
    before = np.full((size + 1, len(pieces), len(glyphs)), np.inf)
    before[0] = 0.0
    for i in range(size):
        now = np.full_like(before, np.inf)
        if i:
            before[0] = np.inf
        for j in range(size):
            apart = np.hypot(
                pieces[:, None, i, 0] - glyphs[None, :, j, 0], pieces[:, None, i, 1] - glyphs[None, :, j, 1]
            )
            now[j + 1] = apart + np.minimum(np.minimum(before[j], before[j + 1]), now[j])
        before = now
    return np.asarray(before[size] / size)


def right(written: str, read: str) -> float:
    """Share of characters that are right, 0 to 1: one minus the edits (Levenshtein) from what was to be written."""
    row = list(range(len(read) + 1))
    for i, letter in enumerate(written, 1):
        after = [i]
        for j, other in enumerate(read, 1):
            after.append(min(row[j] + 1, after[j - 1] + 1, row[j - 1] + (letter != other)))
        row = after
    return max(0.0, 1 - row[-1] / max(len(written), 1))
