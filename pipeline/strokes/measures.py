"""What the samples are worth: words that can be read, drawings that come back, touches that keep time."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import numpy as np
import torch

from frmdn.agent.seeds import generator
from frmdn.agent.strokes.generate import generate
from frmdn.rollouts.sources import Source
from frmdn.rollouts.sources.strokes.carrier import Strokes
from frmdn.rollouts.sources.strokes.source import StrokeScale
from frmdn.rollouts.sources.strokes.words import written

from .model import Sketcher, StrokeModel, Writer
from .reader import read_words, right
from .sample import PER_LETTER, Wish, draw, reconstruction

WORDS = 200
QUANTILES = (0.1, 0.5, 0.9)


def measure(model: StrokeModel, source: Source, count: int = WORDS, bias: float = 0.0, seed: int = 0) -> dict[str, Any]:
    """The measures of the model's kind: reading for synthesis, reconstruction for the VAE, statistics for others."""
    if isinstance(model, Writer):
        return readable(model, source.scale, count, bias, seed)
    if isinstance(model, Sketcher):
        return reconstruction(model, source)
    real = _recorded(source, count)
    wish = Wish(1.0, bias, seed, len(real))
    return {"real": statistics(real), "sampled": statistics([cell.drawing for cell in draw(model, source.scale, wish)])}


def readable(model: Writer, scale: StrokeScale, count: int, bias: float, seed: int) -> dict[str, Any]:
    """Characters that the reader gets right: of held-out words as the model writes them, and as they are in the set.

    The model writes each of the first `count` words of the test split once, in a hand of its own choice.
    """
    real = written("test", count)
    words = [each.text for each in real]
    text = torch.nn.utils.rnn.pad_sequence([scale.codes(word) for word in words], batch_first=True)
    rows = generate(
        lambda context, state: model.density.step(context, text, state),
        torch.zeros(len(words), model.config.outputs),
        PER_LETTER * text.shape[1],
        bias=bias,
        generator=generator(seed, "readable"),
    )
    made = [scale.native(row, word) for row, word in zip(rows, words, strict=True)]
    found: dict[str, Any] = {"words": len(words), "bias": bias}
    for name, drawings in (("sampled", made), ("real", real)):
        read = read_words(drawings)
        letters = sum(map(len, words))
        found[f"characters_{name}"] = sum(right(a, b) * len(a) for a, b in zip(words, read, strict=True)) / letters
        found[f"words_{name}"] = sum(a == b for a, b in zip(words, read, strict=True)) / len(words)
        found[f"read_{name}"] = read[:20]
    return found


def statistics(drawings: list[Strokes]) -> dict[str, Any]:
    """Tenth, half and nine tenths of: points, strokes, length of ink; with times also seconds, speeds and waits."""
    ink = [sum(float(np.hypot(*np.diff(line, axis=0).T).sum()) for line in each.lines) for each in drawings]
    found = {
        "points": _quantiles([len(each) for each in drawings]),
        "strokes": _quantiles([len(each.lines) for each in drawings]),
        "ink": _quantiles(ink),
    }
    timed = [each for each in drawings if each.waits is not None]
    if timed:
        touching = [np.concatenate([[False], each.pen[:-1] == 0]) for each in timed]
        waits = [np.asarray(each.waits) for each in timed]
        speeds = [
            np.hypot(*each.offsets.T)[down] / wait[down]
            for each, down, wait in zip(timed, touching, waits, strict=True)
        ]
        found["seconds"] = _quantiles([float(wait.sum()) for wait in waits])
        found["speed while touching"] = _quantiles(np.concatenate(speeds))
        found["wait while touching"] = _quantiles(np.concatenate([w[d] for w, d in zip(waits, touching, strict=True)]))
        found["wait between touches"] = _quantiles(
            np.concatenate([w[1:][~d[1:]] for w, d in zip(waits, touching, strict=True)])
        )
    return found


def _quantiles(values: Any) -> list[float]:
    array = np.asarray(values, np.float64)
    return [round(float(value), 4) for value in np.quantile(array, QUANTILES)] if len(array) else []


def _recorded(source: Source, count: int) -> list[Strokes]:
    split, scale = source.splits["test"], source.scale
    places = range(min(count, len(split.lengths)))
    return [scale.native(split.rows(i, 0, split.lengths[i])[:, : scale.event]) for i in places]


def write_measures(options: argparse.Namespace, source: Source, model: StrokeModel) -> int:
    """Carry out `frmdn density measure`."""
    found = measure(model, source, options.count, options.bias, options.seed)
    if options.json:
        print(json.dumps({"data": source.name, "model": model.config.model, **found}, indent=2, allow_nan=False))
        return 0
    for name, value in found.items():
        if isinstance(value, dict):
            for inner, numbers in value.items():
                print(f"{name}: {inner}: {', '.join(f'{n:g}' for n in numbers)} (10, 50, 90 %)", file=sys.stderr)
        elif isinstance(value, list):
            print(f"{name}: {' '.join(value)}", file=sys.stderr)
        else:
            print(f"{name}: {value:.4g}", file=sys.stderr)
    return 0
