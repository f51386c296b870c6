"""Readers of anybody's series: npy, npz, csv and parquet files, as named columns of one or many sequences."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from frmdn.agent.errors import MissingExtra, first_line, shortened

from .packed import read_arrays, whole

SUFFIXES = (".npy", ".npz", ".csv", ".parquet")
MISSING = {"", "na", "n/a", "nan", "null", "none"}  # how files say that a number is missing, in any case
LONGEST = 900  # characters of an error
LENGTHS = "lengths"  # of an npz file: rows of each sequence of its one other array


@dataclass(frozen=True)
class Choice:
    """Which columns of a file; arrays name theirs 0, 1, 2 ..."""

    target: list[str] = field(default_factory=list)  # to be modelled; none named: all that have no other part
    context: list[str] = field(default_factory=list)  # known when the target of the same row is to be said
    sequence: str | None = None  # names the sequence that a row belongs to; None: the file is one, or has arrays


@dataclass(frozen=True)
class Table:
    """The chosen columns of a file: f64[T,D+E] of each sequence by name, targets first; NaN where one is missing."""

    path: Path
    target: list[str]  # D
    context: list[str]  # E
    sequences: Mapping[str, np.ndarray]
    rows: Mapping[str, np.ndarray]  # i64[T] of each: which row of the file, counted from 1

    def gap(self) -> str | None:
        """The first missing number in words, or None."""
        for name, values in self.sequences.items():
            for row, column in np.argwhere(np.isnan(values)):
                return place(self.path, (self.target + self.context)[column], int(self.rows[name][row]), name)
        return None


def place(path: Path, column: str, row: int, sequence: str = "") -> str:
    """Where in a file, for an error's beginning."""
    return f"{path}{', sequence ' + sequence[:80] if sequence else ''}, column {column:.80}, row {row}"


def read_table(path: Path, choice: Choice) -> Table:
    """The chosen columns of a file, by its suffix.

    npy: f[T], f[T,n], or f[N,T,n] for N sequences. npz: one such array for each sequence, or one array of all rows
    f[sum,n] (or padded, f[N,T,n]) and `lengths`. csv (comma, semicolon or tab) and parquet: named columns, and
    `choice.sequence` for the one that tells sequences apart.

    Raises:
        ValueError: names the file, the column and the row (counted from 1, without the header) of what is wrong.
        MissingExtra: a parquet file, but pyarrow is not installed.
    """
    if not path.is_file():
        raise ValueError(f"{path} is not there: give --data a file that ends with {', '.join(SUFFIXES)}")
    try:
        return _table(path, choice)
    except ValueError as error:  # names of arrays, columns and cells stand in it, of any length
        raise ValueError(shortened(str(error), LONGEST)) from None


def _table(path: Path, choice: Choice) -> Table:
    suffix = path.suffix.lower()
    if suffix in (".npy", ".npz"):
        return _of_arrays(path, _arrays(path), choice)
    names, column = _csv(path) if suffix == ".csv" else _parquet(path)
    return _of_columns(path, names, column, choice)


def _chosen(path: Path, names: Sequence[str], choice: Choice) -> tuple[list[str], list[str]]:
    """Targets and contexts; ValueError where a name is not there or has two parts."""
    asked = Counter([*choice.target, *choice.context, *([choice.sequence] if choice.sequence else [])])
    known = set(names)
    for name, count in asked.items():
        if name not in known:
            raise ValueError(f"{path} has no column {name}: its columns are {shortened(', '.join(names), 300)}")
        if count > 1:
            raise ValueError(f"{path}, column {name}: it can be target, context or sequence, but only one of them")
    target = choice.target or [name for name in names if name not in asked]
    if not target:
        raise ValueError(f"{path} has no column left to model: name it by --target")
    return list(target), list(choice.context)


def _of_arrays(path: Path, arrays: Mapping[str, np.ndarray], choice: Choice) -> Table:
    if choice.sequence:
        raise ValueError(f"{path}: --sequence is for csv and parquet; an npz file has one array for each sequence")
    widths = {name: array.shape[1] for name, array in arrays.items()}
    if len(set(widths.values())) > 1:
        raise ValueError(f"{path}: its arrays have different numbers of columns, {widths}: give all of them the same")
    names = [str(i) for i in range(next(iter(widths.values())))]
    target, context = _chosen(path, names, choice)
    chosen = [int(name) for name in target + context]
    sequences = {name: array[:, chosen].astype(np.float64) for name, array in arrays.items()}
    for name, values in sequences.items():
        for row, column in np.argwhere(np.isinf(values)):
            raise ValueError(f"{place(path, str(chosen[column]), row + 1, name)}: infinity is no value: mend the file")
    rows = {name: np.arange(1, len(values) + 1) for name, values in sequences.items()}
    return Table(path, target, context, sequences, rows)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """The sequences f[T,n] of an npy or npz file."""
    with whole(lambda why: f"{path} is no whole {path.suffix} file of numbers ({why}): write it again"):
        found = read_arrays(path)
    lengths = found.pop(LENGTHS, None)
    if lengths is not None:
        if len(found) != 1:
            raise ValueError(f"{path} has lengths and {len(found)} other arrays ({', '.join(found)}): give it just one")
        ((name, array),) = found.items()
        found = _cut(path, name, array, np.asarray(lengths).ravel())
    made: dict[str, np.ndarray] = {}
    for name, array in found.items():
        where = f"{path}{', array ' + name if name else ''}"
        if array.dtype.kind not in "fiub":
            raise ValueError(f"{where} holds {array.dtype}, not numbers: save it as floating point numbers")
        if array.ndim == 3 and len(found) == 1:
            made |= {str(i): part for i, part in enumerate(array)}
        elif array.ndim in (1, 2):
            made[name] = array if array.ndim == 2 else array[:, None]
        else:
            raise ValueError(f"{where} is {list(array.shape)}, but must be [time] or [time, columns]")
    made = {name: array for name, array in made.items() if array.size}
    if not made:
        raise ValueError(f"{path} has no rows")
    return made


def _cut(path: Path, name: str, array: np.ndarray, lengths: np.ndarray) -> dict[str, np.ndarray]:
    """All rows behind each other, or padded, as one array for each length."""
    if lengths.dtype.kind not in "iu" or (lengths < 0).any():
        raise ValueError(f"{path}, array lengths: it must hold whole numbers of rows")
    if array.ndim == 3 and len(array) == len(lengths) and lengths.max(initial=0) <= array.shape[1]:
        return {str(i): array[i, :length] for i, length in enumerate(lengths)}
    if array.ndim in (1, 2) and lengths.sum() == len(array):
        return {str(i): part for i, part in enumerate(np.split(array, np.cumsum(lengths)[:-1]))}
    raise ValueError(
        f"{path}, array {name} is {list(array.shape)}, which {len(lengths)} lengths of {lengths.sum()} rows do not fit"
    )


Column = Any  # name -> list of cells, each a number, text, or None


def _of_columns(path: Path, names: Sequence[str], column: Column, choice: Choice) -> Table:
    target, context = _chosen(path, names, choice)
    values = np.stack([np.asarray(list(_numbers(path, name, column(name)))) for name in target + context], 1)
    if not len(values):
        raise ValueError(f"{path} has no rows")
    every = np.arange(1, len(values) + 1)
    if not choice.sequence:
        return Table(path, target, context, {"": values}, {"": every})
    keys = [str(cell).strip() if cell is not None else "" for cell in column(choice.sequence)]
    if "" in keys:
        raise ValueError(f"{place(path, choice.sequence, keys.index('') + 1)}: empty, but it names the sequence")
    labels = np.asarray(keys)
    sequences = {name: values[labels == name] for name in dict.fromkeys(keys)}
    return Table(path, target, context, sequences, {name: every[labels == name] for name in sequences})


def _numbers(path: Path, name: str, cells: Sequence[Any]) -> Iterator[float]:
    for row, cell in enumerate(cells, 1):
        try:
            number = float(cell)
        except (TypeError, ValueError):
            if cell is not None and str(cell).strip().lower() not in MISSING:
                comma = re.fullmatch(r"\s*[-+]?\d+,\d+\s*", str(cell))
                remedy = "write decimals with a point" if comma else "choose columns of numbers by --target"
                raise ValueError(f"{place(path, name, row)}: {cell!r:.80} is no number: {remedy}") from None
            number = np.nan
        if np.isinf(number):
            raise ValueError(f"{place(path, name, row)}: {cell!r:.80} is no value: mend the file")
        yield number


def _csv(path: Path) -> tuple[list[str], Column]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
        first = text.lstrip().split("\n", 1)[0]
        delimiter = max(",;\t", key=first.count)
        reader = csv.reader(io.StringIO(text), delimiter=delimiter)
        rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is no text of columns ({first_line(error)}): save it as csv in UTF-8") from None
    if not rows:
        raise ValueError(f"{path} has no rows")
    names = [cell.strip() for cell in rows[0][1]]
    if all(_is_number(name) for name in names):  # no header
        names = [str(i) for i in range(len(names))]
    else:
        rows = rows[1:]
    counts = Counter(names)
    for name, count in counts.items():
        if not name or count > 1:
            raise ValueError(f"{path}: its header names column {name!r:.80} {count} times: give each one name")
    for row, (line, cells) in enumerate(rows, 1):
        if len(cells) != len(names):
            raise ValueError(
                f"{path}, row {row} (line {line}) has {len(cells)} cells, but there are {len(names)} columns: "
                "mend the row, or quote cells that hold the separator"
            )
    places = {name: at for at, name in enumerate(names)}
    return names, lambda name: [cells[places[name]] for _, cells in rows]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _parquet(path: Path) -> tuple[list[str], Column]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise MissingExtra("pyarrow", "parquet", "reading parquet files") from None
    try:
        with parquet.ParquetFile(path) as file:  # of a folder or a URI of the same name nothing is read
            table = file.read()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise ValueError(f"{path} is no whole parquet file ({first_line(error)}): write it again") from None
    return list(table.column_names), lambda name: table.column(name).to_pylist()
