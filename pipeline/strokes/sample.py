"""`frmdn density sample` for strokes: handwriting of a text, drawings, performances; begun, answered, between two."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from frmdn.agent.seeds import derive, generator
from frmdn.agent.strokes.generate import generate
from frmdn.agent.strokes.sketch import between
from frmdn.rollouts.sources import Source, whole_batches
from frmdn.rollouts.sources.strokes.carrier import END, LIFT, Strokes
from frmdn.rollouts.sources.strokes.files import read_drawings
from frmdn.rollouts.sources.strokes.source import StrokeScale

from ..files import write_bytes
from .canvas import Cell, lay_out
from .model import Sketcher, StrokeModel, Writer
from .pictures import check, encode

MOST = 300  # points of a drawing
PER_LETTER = 30  # points of a letter at most
COLUMNS = 6
EDGE = 0.2  # of a word: how far its first ink lies from its beginning, in heights of a small x


@dataclass(frozen=True)
class Wish:
    """What is to be drawn."""

    temperature: float = 1.0
    bias: float = 0.0
    seed: int = 0
    count: int = 12
    text: str = ""
    prime: Strokes | None = None


def draw(model: StrokeModel, scale: StrokeScale, wish: Wish) -> list[Cell]:
    """`wish.count` drawings; where something was given, each begins with it.

    Prediction and touch go on with what was given (RoboJam's call and response); synthesis writes the text in the hand
    of what was given, which must have a text of its own; the sketch VAE completes it, with a z that encodes it.
    """
    if isinstance(model, Writer) and len(wish.text.split()) > 1:
        return [_by_words(model, scale, wish, row) for row in range(wish.count)]
    noise = generator(wish.seed, "strokes", wish.count)
    prime = None if wish.prime is None else scale.normal(wish.prime).expand(wish.count, -1, -1)
    like = torch.zeros(wish.count, model.config.outputs)
    made = generate(
        _step(model, scale, wish, prime, noise),
        like,
        MOST if not wish.text else PER_LETTER * len(wish.text),
        prime=prime,
        temperature=wish.temperature,
        bias=wish.bias,
        generator=noise,
    )
    return [_cell(scale.native(rows, wish.text), wish.prime) for rows in made]


def _by_words(model: Writer, scale: StrokeScale, wish: Wish, row: int) -> Cell:
    """A long text word by word, each in the hand of the one before: no window walks further than in training."""
    given, shift = wish.prime, 0.0  # where the drawing that is given begins on the line
    points = [] if given is None else [given.points]
    pens = [] if given is None else [np.minimum(given.pen, LIFT)]
    for place, word in enumerate(wish.text.split()):
        one = replace(wish, seed=derive(wish.seed, row, place), count=1, text=word, prime=given)
        (cell,) = draw(model, scale, one)
        inside, pen = cell.drawing.points[cell.given :], cell.drawing.pen[cell.given :]
        points.append(inside + (shift, 0.0))
        pens.append(np.minimum(pen, LIFT))
        ahead = float(inside[:, 0].min()) - EDGE  # the word becomes a hand by itself, from its own left edge on
        given, shift = _whole(inside - (ahead, 0.0), pen, word), shift + ahead
    return Cell(_whole(np.concatenate(points), np.concatenate(pens), wish.text), len(wish.prime) if wish.prime else 0)


def _whole(points: np.ndarray, pen: np.ndarray, text: str) -> Strokes:
    """A drawing of absolute points f64[N,2]."""
    ended = np.concatenate([pen[:-1], [END]]).astype(np.uint8)
    return Strokes(np.diff(points, axis=0, prepend=np.zeros((1, 2))).astype(np.float32), ended, text=text)


def _step(model: StrokeModel, scale: StrokeScale, wish: Wish, prime: Tensor | None, noise: torch.Generator) -> Any:
    density = model.density
    if isinstance(model, Writer):
        if not wish.text:
            raise ValueError('synthesis writes a text: give --text "..."')
        before = "" if wish.prime is None else f"{wish.prime.text} "
        if before == " ":
            raise ValueError("--prime for synthesis must have a text of its own, and this drawing has none")
        text = scale.codes(before + wish.text).expand(wish.count, -1)
        return lambda context, state: density.step(context, text, state)
    if wish.text:
        raise ValueError(f"--text is for synthesis, and this is {model.config.model}: fit --model synthesis")
    if isinstance(model, Sketcher):
        if prime is None:
            z = torch.randn(wish.count, model.config.latent, generator=noise)
        else:
            z = density.encode(prime, torch.ones(prime.shape[:2], dtype=torch.bool)).mean
        return lambda context, state: density(context, z, state)
    return density


def _cell(made: Strokes, prime: Strokes | None) -> Cell:
    if prime is None:
        return Cell(made)
    pen = np.concatenate([np.minimum(prime.pen, LIFT), made.pen])
    waits = None
    if prime.waits is not None and made.waits is not None:
        waits = np.concatenate([prime.waits, made.waits])
    text = f"{prime.text} {made.text}".strip()
    return Cell(Strokes(np.concatenate([prime.offsets, made.offsets]), pen, waits, text), len(prime))


def encoded(model: Sketcher, scale: StrokeScale, drawings: Sequence[Strokes]) -> Tensor:
    """The means of q(z | drawing), f32[N,Z]."""
    found = []
    with torch.no_grad():
        for drawing in drawings:
            rows = scale.normal(drawing).unsqueeze(0)
            found.append(model.density.encode(rows, torch.ones(rows.shape[:2], dtype=torch.bool)).mean[0])
    return torch.stack(found)


def decoded(model: Sketcher, scale: StrokeScale, z: Tensor, temperature: float, seed: int) -> list[Strokes]:
    """One drawing of each z f32[N,Z]."""
    made = generate(
        lambda context, state: model.density(context, z, state),
        torch.zeros(len(z), model.config.outputs),
        MOST,
        temperature=temperature,
        generator=generator(seed, "decoded"),
    )
    return [scale.native(rows) for rows in made]


def interpolated(
    model: Sketcher, scale: StrokeScale, ends: tuple[Strokes, Strokes], steps: int, temperature: float, seed: int
) -> list[Cell]:
    """Two drawings, and `steps` between their vectors: what was given stands at both ends."""
    first, second = encoded(model, scale, ends)
    way = decoded(model, scale, between(first, second, torch.linspace(0, 1, steps)), temperature, seed)
    return [Cell(ends[0], len(ends[0])), *map(Cell, way), Cell(ends[1], len(ends[1]))]


def half(drawing: Strokes) -> Strokes:
    """The first half of a drawing's strokes (of its points, where it has one stroke): a begun one."""
    lines = drawing.lines
    points = sum(len(line) for line in lines[: len(lines) // 2]) or (len(drawing) + 1) // 2
    pen = drawing.pen[:points].copy()
    pen[-1] = END
    waits = None if drawing.waits is None else drawing.waits[:points]
    return replace(drawing, offsets=drawing.offsets[:points], pen=pen, waits=waits)


def reconstruction(model: Sketcher, source: Source, split: str = "test") -> dict[str, float]:
    """SketchRNN's own measures of a split (their table 1): L_R and L_KL, in normalised units and without z's noise.

    L_R divides by the longest drawing of the set, so padded rows count as nothing for the offsets and the pen alike;
    `per_point` divides by the points that are there.
    """
    total, kl, drawings, points = 0.0, 0.0, 0, 0
    longest = max(max(each.lengths) for each in source.splits.values())
    with torch.no_grad():
        for batch in whole_batches(source, split, derive(0, "measure", split)):
            noise = generator(0, "reconstruction", drawings)
            log_prob, each = model.density.parts(batch.context, batch.target, batch.mask, noise)
            total -= float(log_prob.double().sum())
            kl += float(each.double().mean(1).sum())
            drawings, points = drawings + len(each), points + int(batch.mask.sum())
    return {"L_R": total / (drawings * longest), "L_KL": kl / drawings, "per_point": total / points}


def write_strokes(options: argparse.Namespace, source: Source, model: StrokeModel) -> str:
    """Carry out `frmdn density sample` for strokes; returns one line for people."""
    suffix = options.out.suffix.lower()
    scale: StrokeScale = source.scale
    held = source.splits["test"]
    check(suffix, options.animate)
    given = None if options.prime is None else _given(options.prime, scale, held)
    if given is not None and isinstance(model, Sketcher):
        given = half(given)
    rows: list[list[Cell]] = []
    for temperature in options.temperature:
        wish = Wish(temperature, options.bias, options.seed, options.count, options.text or "", given)
        if options.between:
            if not isinstance(model, Sketcher):
                raise ValueError(f"--between is for sketch-vae, and this is {model.config.model}")
            ends = tuple(scale.native(_row(held, place, "--between")[:, : scale.event]) for place in options.between)
            rows.append(interpolated(model, scale, ends, options.count, temperature, options.seed))  # type: ignore[arg-type]
            continue
        cells = draw(model, scale, wish)
        wide = len(cells) if len(options.temperature) > 1 else COLUMNS if not wish.text else 1
        for start in range(0, len(cells), wide):
            row = cells[start : start + wide]
            title = f"temperature {temperature:g}" if len(options.temperature) > 1 else ""
            rows.append([replace(row[0], title=title), *row[1:]])
    sheet = lay_out(rows, fixed=fixed(source))
    write_bytes(options.out, encode(sheet, suffix, options.animate))
    return f"wrote {options.out}: {sum(map(len, rows))} drawings"


def fixed(source: Source) -> tuple[float, float] | None:
    """Half of a cell in the units of a built-in set with a frame of its own."""
    frames = {"kanji": (54.5, 54.5), "touch": (0.5, 0.5)}
    return frames.get(source.name) if "path" not in source.about else None


def _row(split: Any, place: int, option: str) -> Tensor:
    if place >= len(split.lengths):
        raise ValueError(f"{option} {place} is not there: the test split has 0 to {len(split.lengths) - 1}")
    rows: Tensor = split.rows(place, 0, split.lengths[place])
    return rows


def _given(word: str, scale: StrokeScale, split: Any) -> Strokes:
    """A drawing by its place in the test split, or the first of a file."""
    if not word.isdigit():
        given = next(iter(read_drawings(Path(word)).values()))
        return given if scale.timed else replace(given, waits=None)
    rows = _row(split, int(word), "--prime")
    text = ""
    if scale.characters:
        text = "".join(scale.characters[int(code) - 1] for code in rows[:, scale.event].tolist() if code)
    return scale.native(rows[:, : scale.event], text)
