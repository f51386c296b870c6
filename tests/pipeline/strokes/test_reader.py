"""The reader reads what is written, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from frmdn.pipeline.strokes.reader import read_words, right, warped
from frmdn.rollouts.sources.strokes.carrier import Strokes

pytest.importorskip("HersheyFonts")


def test_warping_is_that_of_the_book() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 6, 2)), rng.normal(size=(3, 6, 2))
    found = warped(a, b)
    for i in range(2):
        for j in range(3):
            table = np.full((7, 7), np.inf)
            table[0, 0] = 0
            for m in range(1, 7):
                for n in range(1, 7):
                    least = min(table[m - 1, n], table[m, n - 1], table[m - 1, n - 1])
                    table[m, n] = np.hypot(*(a[i, m - 1] - b[j, n - 1])) + least
            assert abs(found[i, j] - table[6, 6] / 6) < 1e-12
    assert (np.diag(warped(a, a)) == 0).all()


def test_held_out_words_of_the_fonts_are_read() -> None:
    from frmdn.rollouts.sources.strokes.words import written

    words = written("test", 200)[:40]
    read = read_words(words)
    letters = sum(len(word.text) for word in words)
    assert sum(right(a.text, b) * len(a.text) for a, b in zip(words, read, strict=True)) / letters > 0.95
    mirrored = [Strokes.of_lines([line * (-1, 1) for line in word.lines]) for word in words]
    wrong = read_words(mirrored)
    assert sum(right(a.text, b) * len(a.text) for a, b in zip(words, wrong, strict=True)) / letters < 0.4


@pytest.mark.parametrize(
    ("written", "read", "share"),
    [
        ("word", "word", 1.0),
        ("word", "wrd", 0.75),
        ("word", "worrd", 0.75),
        ("word", "ward", 0.75),
        ("word", "", 0.0),
        ("a", "bcd", 0.0),
    ],
)
def test_characters_that_are_right(written: str, read: str, share: float) -> None:
    assert right(written, read) == share
