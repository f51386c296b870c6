"""Drawings as a source of the density models: normalised, split, and turned back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from frmdn.agent.strokes.distribution import PENS
from frmdn.agent.strokes.generate import contexts

from ..sequences import TEST, TRAIN, VALIDATION, Held, Source, Steps, split_names
from .carrier import END, Strokes

BATCH = 32
ALIKE = 16  # see `Source.alike`: half of a random batch of drawings would be padding


@dataclass(frozen=True)
class StrokeScale:
    """Offsets / size and waits / wait: one size for both directions, so that shapes stay what they are."""

    size: float  # deviation of the offsets over the training split
    wait: float = 0.0  # geometric mean of the waits over the training split; 0: without times
    characters: str = ""  # what texts are written with; "": without texts

    @property
    def timed(self) -> bool:
        return self.wait > 0

    @property
    def event(self) -> int:
        """D of a target: dx, dy, the wait where there is one, and the pen."""
        return 4 if self.timed else 3

    def normal(self, strokes: Strokes) -> Tensor:
        """A drawing as targets f32[N,D]: dx, dy, the wait where there is one, the pen."""
        columns = [strokes.offsets / self.size]
        if self.timed:
            if strokes.waits is None:
                raise ValueError("this model has times, but the drawing has none: take one of --data touch")
            columns.append((strokes.waits / self.wait)[:, None])
        columns.append(strokes.pen[:, None].astype(np.float32))
        return torch.from_numpy(np.concatenate(columns, 1).astype(np.float32))

    def native(self, target: Tensor, text: str = "") -> Strokes:
        """Targets f32[N,D] as a drawing: `normal` backwards; what follows an END is dropped, the last point ends."""
        rows = np.asarray(target.detach().cpu(), np.float64)
        pen = rows[:, -1].round().astype(np.uint8)
        ends = np.flatnonzero(pen == END)
        stop = int(ends[0]) + 1 if len(ends) else len(pen)
        pen = pen[:stop].copy()
        pen[-1] = END
        waits = (rows[:stop, 2] * self.wait).astype(np.float32) if self.timed else None
        return Strokes((rows[:stop, :2] * self.size).astype(np.float32), pen, waits, text)

    def codes(self, text: str) -> Tensor:
        """A text as i64[U], the places of its characters from 1 on; 0 is padding.

        Raises:
            ValueError: a character that the training texts did not have.
        """
        foreign = sorted(set(text) - set(self.characters))
        if foreign or not text:
            raise ValueError(f"text {text!r} has {foreign or 'no character'}: this model writes {self.characters!r}")
        return torch.tensor([self.characters.index(each) + 1 for each in text])


@dataclass(frozen=True)
class Written(Steps):
    """Steps of drawings, with the texts that they write."""

    text: Tensor  # i64[B,U], `StrokeScale.codes` with zeros behind


def stroke_source(
    name: str, drawings: Mapping[str, Sequence[Strokes]], unit: str, about: Mapping[str, Any] | None = None
) -> Source:
    """p(point | points before) of drawings: of dx, dy, the wait where all have times, and the pen, jointly.

    Figures are in the drawings' own units: nats per dimension, the pen counted as one, and per point. Context t is row
    t-1: dx, dy, log wait, and the pen as one of three (all zeros before the first).

    Args:
        name: as in the results.
        drawings: of train, validation and test; texts are kept where every drawing has one.
        unit: of lengths, in words.
        about: for the record.

    Raises:
        ValueError: a split without drawings, or a training split whose pen never moves.
    """
    empty = [split for split in (TRAIN, VALIDATION, TEST) if not drawings.get(split)]
    if empty:
        raise ValueError(f"{name} has no drawing for {empty[0]}: give at least 3 drawings")
    everything = [each for split in drawings.values() for each in split]
    timed = all(each.waits is not None for each in everything)
    spelt = all(each.text for each in everything)
    scale = _measure(name, drawings[TRAIN], timed, _characters(everything) if spelt else "")
    size = 3 if timed else 2
    jacobian = -2 * math.log(scale.size) - (math.log(scale.wait) if timed else 0.0)
    return Source(
        name=name,
        inputs=size + PENS,
        outputs=size + 1,
        unit=f"nats per dimension ({'dx, dy, wait, pen' if timed else 'dx, dy, pen'}; lengths in {unit})",
        splits={split: Held([_rows(each, scale) for each in some]) for split, some in drawings.items()},
        prepare=partial(_prepare, scale, jacobian),
        scale=scale,
        batch=BATCH,
        alike=ALIKE,
        about={
            "drawings": {split: len(some) for split, some in drawings.items()},
            "points": {split: sum(map(len, some)) for split, some in drawings.items()},
            **(about or {}),
        },
        figures=lambda nll: {"nll_per_point": nll * (size + 1)},
    )


def split_drawings(drawings: Mapping[str, Strokes]) -> dict[str, list[Strokes]]:
    """Train, validation and test by a hash of the drawings' names."""
    names = list(drawings)
    return {split: [drawings[names[i]] for i in places] for split, places in split_names(names).items()}


def _characters(drawings: Sequence[Strokes]) -> str:
    return "".join(sorted({each for drawing in drawings for each in drawing.text}))


def _measure(name: str, drawings: Sequence[Strokes], timed: bool, characters: str) -> StrokeScale:
    offsets = np.concatenate([each.offsets for each in drawings]).astype(np.float64)
    size = float(offsets.std())
    if not size > 0:
        raise ValueError(f"{name}: the pen never moves in the drawings to learn from")
    wait = 0.0
    if timed:
        waits = np.concatenate([each.waits for each in drawings if each.waits is not None])
        wait = float(np.exp(np.log(waits.astype(np.float64)).mean()))
    return StrokeScale(size, wait, characters)


def _rows(drawing: Strokes, scale: StrokeScale) -> Tensor:
    """f32[N,D]: targets; with texts f32[max(N,U),D+1], whose last column holds character u in row u."""
    target = scale.normal(drawing)
    if not scale.characters:
        return target
    codes = scale.codes(drawing.text)
    if len(codes) > len(target):
        raise ValueError(f"{drawing.text!r} has more characters than its drawing has points: it is not written out")
    column = torch.zeros(len(target), 1)
    column[: len(codes), 0] = codes.float()
    return torch.cat([target, column], 1)


def _prepare(scale: StrokeScale, jacobian: float, raw: Tensor, mask: Tensor, noise: torch.Generator) -> Steps:
    target, text = raw[..., : scale.event], raw[..., scale.event :]
    if scale.timed:  # padding has no time either, and a logarithm of 0 would spread
        target = torch.cat(
            [target[..., :2], target[..., 2:3].masked_fill(~mask.unsqueeze(-1), 1.0), target[..., 3:]], -1
        )
    log_jacobian = torch.full(mask.shape, jacobian)
    context = contexts(target)
    if not scale.characters:
        return Steps(context, target, mask, log_jacobian)
    codes = text[..., 0].long()
    longest = int((codes > 0).sum(1).max())
    return Written(context, target, mask, log_jacobian, codes[:, :longest])
