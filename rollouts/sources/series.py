"""Anybody's series out of a file, as sequences to model: standardised, held out by sequence or by time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from frmdn.agent.density.flows.flow import deviations

from .sequences import TEST, TRAIN, VALIDATION, Held, Source, Steps, split_names
from .tables import Choice, Table, read_table

LENGTH, BATCH = 100, 16  # steps and segments of a training batch
WARM = 50  # rows before a piece of a series that the models may look at, unmeasured
LEAST = 10  # rows of a file at least


@dataclass(frozen=True)
class SeriesScale:
    """(y - mean) / std of each column over the training rows: targets first, then contexts."""

    target: list[str]
    context: list[str]
    mean: list[float]
    std: list[float]

    def native(self, target: Tensor) -> np.ndarray:
        """Normalised targets [*,D] in the units of the file, f64[*,D]."""
        size = len(self.target)
        values = np.asarray(target.detach().cpu(), np.float64)
        return np.asarray(values * np.asarray(self.std[:size]) + np.asarray(self.mean[:size]))


def series(path: Path | str, choice: Choice | None = None, held_out: float = 0.1, skip: bool = False) -> Source:
    """p(target row | target rows before, context rows up to this one), in nats per dimension in the file's units.

    Validation and test get the share `held_out` each: whole sequences where there are enough of them (1 / held_out at
    least, by a hash of their names), otherwise the ends of every sequence, test last.

    Args:
        path: npy, npz, csv or parquet, as `read_table` reads them.
        choice: columns; None: all are targets.
        held_out: share of validation, and again of test, above 0 and below 0.5.
        skip: rows with a missing number are not measured, and count as the last known value for what comes after;
            without it a missing number is refused.

    Raises:
        ValueError: names file, column and row of what is wrong, or a column that never changes.
        MissingExtra: parquet, but pyarrow is not installed.
    """
    if not 0 < held_out < 0.5:
        raise ValueError(f"held_out {held_out} must be above 0 and below 0.5: validation and test take it each")
    table = read_table(Path(path), choice or Choice())
    gap = table.gap()
    if gap is not None and not skip:
        raise ValueError(
            f"{gap}: a number is missing: fill it, or leave such rows out of the measure by --missing skip"
        )
    by_name = round(held_out * len(table.sequences), 6) >= 1 and len(table.sequences) >= 3
    pieces = _by_name(table, held_out) if by_name else _by_time(table, held_out)
    for part, found in pieces.items():
        if not any(piece.scored.any() for piece in found):
            raise ValueError(f"{table.path}: no row for {part} is whole: give it more rows, or another held_out")
    scale = _measure(table, pieces[TRAIN])
    size = len(table.target)
    return Source(
        name=Path(path).name,
        inputs=size + len(table.context),
        outputs=size,
        unit="nats per dimension, in the units of the file",
        splits={name: Held([_rows(piece, scale) for piece in found]) for name, found in pieces.items()},
        prepare=partial(_prepare, size, -sum(math.log(std) for std in scale.std[:size])),
        scale=scale,
        batch=BATCH,
        length=LENGTH + 1,
        overlap=1,
        about={
            "rows": {name: int(sum(piece.scored.sum() for piece in found)) for name, found in pieces.items()},
            "sequences": len(table.sequences),
            "held out by": "sequence" if by_name else "time",
            "target": table.target,
            "context": table.context,
        },
    )


@dataclass(frozen=True)
class _Piece:
    """Consecutive rows of one sequence, f64[T,D+E], without gaps; scored: bool[T], whether a row is measured."""

    before: np.ndarray | None  # f64[D+E], the row before the first, where it is known
    values: np.ndarray
    scored: np.ndarray


def _by_name(table: Table, held_out: float) -> dict[str, list[_Piece]]:
    names = list(table.sequences)
    whole = [_piece(values, 0, len(values), 0) for values in table.sequences.values()]
    parts = split_names(names, (held_out, held_out))
    return {part: [whole[place] for place in places] for part, places in parts.items()}


def _by_time(table: Table, held_out: float) -> dict[str, list[_Piece]]:
    pieces: dict[str, list[_Piece]] = {TRAIN: [], VALIDATION: [], TEST: []}
    total = sum(len(values) for values in table.sequences.values())
    if total < LEAST:
        raise ValueError(f"{table.path} has {total} rows: give at least {LEAST}")
    for values in table.sequences.values():
        held = max(1, round(held_out * len(values)))
        ends = [0, len(values) - 2 * held, len(values) - held, len(values)]
        if ends[1] < 1:  # too short to be cut: to learn from
            pieces[TRAIN].append(_piece(values, 0, len(values), 0))
            continue
        for part, start, stop in zip(pieces, ends, ends[1:], strict=False):
            pieces[part].append(_piece(values, start, stop, WARM if start else 0))
    if not pieces[TEST]:
        raise ValueError(f"{table.path}: all of its {len(table.sequences)} sequences are too short to hold out a part")
    return pieces


def _piece(values: np.ndarray, start: int, stop: int, warm: int) -> _Piece:
    """Rows start to stop-1 with up to `warm` rows before them; a gap is filled with the last known value."""
    known = ~np.isnan(values)
    last = np.maximum.accumulate(np.where(known, np.arange(len(values))[:, None], -1), 0)
    filled = np.where(last >= 0, np.take_along_axis(values, np.maximum(last, 0), 0), np.nan)
    begin = max(0, start - warm)
    scored = known.all(1)
    scored[begin:start] = False
    return _Piece(filled[begin - 1] if begin else None, filled[begin:stop], scored[begin:stop])


def _measure(table: Table, pieces: list[_Piece]) -> SeriesScale:
    rows = np.concatenate([piece.values[piece.scored] for piece in pieces])
    if len(rows) < 2:
        raise ValueError(f"{table.path} has {len(rows)} whole rows to learn from: give it more")
    names = table.target + table.context
    for name, low, high in zip(names, rows.min(0), rows.max(0), strict=True):
        if low == high and name in table.target:
            raise ValueError(
                f"{table.path}, column {name}: {low:g} in every row to learn from; leave it out by --target"
            )
    mean, std = deviations(torch.from_numpy(rows))
    return SeriesScale(table.target, table.context, mean.tolist(), std.tolist())


def _rows(piece: _Piece, scale: SeriesScale) -> Tensor:
    """f32[T+1,D+E+1]: the row before (the mean where there is none), the rows, and whether each is measured."""
    mean, std = np.asarray(scale.mean), np.asarray(scale.std)
    before = mean if piece.before is None else piece.before
    values = np.nan_to_num((np.concatenate([before[None], piece.values]) - mean) / std)  # not known yet: the mean
    scored = np.concatenate([[0.0], piece.scored])
    return torch.from_numpy(np.concatenate([values, scored[:, None]], 1).astype(np.float32))


def _prepare(size: int, jacobian: float, raw: Tensor, mask: Tensor, noise: torch.Generator) -> Steps:
    """Raw f32[B,T+1,D+E+1] -> T steps: context (y[t-1], x[t]), target y[t]."""
    context = torch.cat([raw[:, :-1, :size], raw[:, 1:, size:-1]], -1)
    measured = mask[:, 1:] & (raw[:, 1:, -1] > 0)
    return Steps(context, raw[:, 1:, :size], measured, torch.full(measured.shape, jacobian))
