"""Handwriting without a download: words in the single-line fonts of Dr. Hershey, in hands that are drawn by seed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from frmdn.agent.errors import MissingExtra
from frmdn.agent.seeds import derive

from .carrier import Strokes
from .simplify import simplify
from .vocabulary import LETTERS, WORDS, made_up

FONTS = ("futural", "scripts")  # plain letters, and letters that lean on each other; both of single lines
HEIGHT = 14.0  # of a small x in the fonts' units
BASE = 9.0  # the line that they stand on
TOLERANCE = 0.9  # of `simplify`, in the fonts' units


@dataclass(frozen=True)
class Hand:
    """Who writes: a font, and how it is bent. Lengths are in heights of a small x."""

    font: str
    slant: float  # to the right, for each height
    width: float  # of a letter, against the font's
    size: float
    spacing: float  # added between letters
    slope: float  # of the line, downwards
    jitter: float  # deviation of every point
    sway: float  # deviation of a whole letter


def draw_hand(rng: np.random.Generator) -> Hand:
    """A hand by chance."""
    return Hand(
        font=str(rng.choice(FONTS)),
        slant=float(rng.uniform(-0.1, 0.35)),
        width=float(rng.uniform(0.85, 1.15)),
        size=float(rng.uniform(0.85, 1.15)),
        spacing=float(rng.uniform(0.0, 0.25)),
        slope=float(rng.normal(0, 0.02)),
        jitter=float(rng.uniform(0.01, 0.03)),
        sway=float(rng.uniform(0.0, 0.04)),
    )


@cache
def glyphs(font: str) -> dict[str, tuple[list[np.ndarray], float]]:
    """Each letter's strokes [n,2] from its left edge and the base line, and its advance; in heights of a small x.

    Raises:
        MissingExtra: Hershey-Fonts is not installed.
    """
    try:
        from HersheyFonts import HersheyFonts
    except ImportError:
        raise MissingExtra("Hershey-Fonts", "strokes", "--data handwriting") from None
    reader = HersheyFonts()
    reader.load_default_font(font)
    found = {}
    for letter in LETTERS:
        advance = _advance(reader, letter)
        lines = [np.asarray(stroke, np.float64) for stroke in reader.strokes_for_text(letter)]
        kept = [line[places] for line, places in zip(lines, simplify(lines, TOLERANCE), strict=True)]
        found[letter] = [(line - (0, BASE)) / HEIGHT for line in kept], advance / HEIGHT
    return found


def _advance(reader: object, letter: str) -> float:
    """How far the next letter stands to the right: where the point behind it moves to."""
    behind = [list(reader.strokes_for_text(text)) for text in (f"{letter}i", "i")]  # type: ignore[attr-defined]
    return float(behind[0][-1][0][0] - behind[1][-1][0][0])


def write(text: str, hand: Hand, rng: np.random.Generator) -> Strokes:
    """A text in a hand, from the base line at x = 0; jitter and sway by chance. Units are heights of a small x.

    Raises:
        ValueError: a letter that the fonts' small alphabet does not have, or no letter at all.
    """
    foreign = sorted(set(text) - set(LETTERS))
    if foreign or not text.strip():
        raise ValueError(f"text {text!r}: write it with {LETTERS.strip()} and spaces; it has {foreign or 'no letter'}")
    alphabet, place, lines = glyphs(hand.font), 0.0, []
    for letter in text:
        strokes, advance = alphabet[letter]
        sway = rng.normal(0, hand.sway, 2)
        for stroke in strokes:
            line = stroke * (hand.width, 1.0) + (place, 0.0) + sway
            line = line + rng.normal(0, hand.jitter, line.shape)
            lines.append(line)
        place += advance * hand.width + hand.spacing
    bend = np.array([[1.0, hand.slope], [-hand.slant, 1.0]]) * hand.size  # row vectors: x right, y down
    return Strokes.of_lines([line @ bend for line in lines], text=text)


def split_words() -> dict[str, list[str]]:
    """The vocabulary in train, validation (100 words) and test (200 words of three letters and more), by hash."""
    ranked = sorted((word for word in set(WORDS) if len(word) > 2), key=lambda word: derive(0, "word", word))
    held = {"test": sorted(ranked[:200]), "validation": sorted(ranked[200:300])}
    return {"train": sorted(set(WORDS) - {*ranked[:300]}), **held}


@cache
def written(split: str, count: int) -> list[Strokes]:
    """`count` drawings of a split, each in a hand of its own; the same for the same arguments, always.

    Training has words of its own vocabulary and made-up ones in equal shares, but none that is held out; the other
    splits their words in turn.
    """
    words = split_words()
    held, short = {*words["test"], *words["validation"]}, [word for word in words["train"] if len(word) < 9]
    found = []
    for i in range(count):
        rng = np.random.default_rng(derive(0, "written", split, i))
        text = words[split][i % len(words[split])] if split != "train" else str(rng.choice(short))
        if split == "train" and rng.random() < 0.5:
            text = made_up(rng)
            while held & {*text.split()}:
                text = made_up(rng)
        found.append(write(text, draw_hand(rng), rng))
    return found
