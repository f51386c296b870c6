"""Drawings of Quick, Draw!: its ndjson, and SketchRNN's npz."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from frmdn.agent.errors import first_line

from ..packed import check_packed, whole
from .carrier import END, Strokes, ascending

SIDE = 256.0  # of the simplified drawings' square
SPLITS = ("train", "valid", "test")
ALLOWED = {  # all that a pickled list of arrays needs, and nothing that does anything
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("_codecs", "encode"),
}


def read_ndjson(path: Path) -> dict[str, Strokes]:
    """Every drawing of a file of Quick, Draw!, by its key_id; raw ones have times, simplified ones none.

    A line is {"word", "key_id", "recognized", "drawing": [[x, y] or [x, y, t], ...]}, t in milliseconds. Drawings that
    the game did not recognise are left out. Places are relative to the square's centre.

    Raises:
        ValueError: names file and line of what is wrong.
    """
    found: dict[str, Strokes] = {}
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                value = json.loads(line)
                if value.get("recognized", True):
                    found[str(value.get("key_id", number))] = _drawing(value["drawing"])
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
                raise ValueError(f"{path}, line {number} is no drawing of Quick, Draw! ({first_line(error)})") from None
    if not found:
        raise ValueError(f"{path} has no drawing that was recognised")
    return found


def _drawing(strokes: list[list[list[float]]]) -> Strokes:
    lines = [np.array(stroke[:2], np.float64).T - SIDE / 2 for stroke in strokes]
    if not all(len(stroke) > 2 for stroke in strokes):
        return Strokes.of_lines(lines)
    return Strokes.of_lines(lines, ascending([np.array(stroke[2], np.float64) / 1000 for stroke in strokes]))


def read_sketches(path: Path) -> dict[str, list[Strokes]]:
    """The splits train, valid and test of SketchRNN's npz: arrays of drawings i16[N,3] of dx, dy, pen lifted.

    Such files are pickled lists of arrays. They are read by an unpickler that knows arrays and nothing else, so that a
    file of a stranger cannot run anything.

    Raises:
        ValueError: names a file that is not whole, a split that is missing, or a drawing of another shape.
    """
    with whole(lambda why: f"{path} is no npz of SketchRNN with train, valid and test ({why})"):
        check_packed(path)
        with zipfile.ZipFile(path) as archive:
            packed = [archive.read(f"{split}.npy") for split in SPLITS]
    train, valid, test = (_split(path, split, data) for split, data in zip(SPLITS, packed, strict=True))
    return {"train": train, "validation": valid, "test": test}


def _split(path: Path, split: str, data: bytes) -> list[Strokes]:
    stream = io.BytesIO(data)
    with whole(lambda why: f"{path}, {split}: {why}: copy it once more"):
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(stream)
        if dtype.hasobject:
            drawings = list(_Arrays(stream, encoding="latin1").load())
        else:  # all drawings of one length
            drawings = list(np.frombuffer(stream.read(), dtype).reshape(shape))
    return [_sketch(f"{path}, {split}, drawing {number}", rows) for number, rows in enumerate(drawings, 1)]


class _Arrays(pickle.Unpickler):
    """Knows the words in which NumPy pickles an array, each for the one thing that NumPy says with it.

    Even they would do harm in other places: `ndarray` makes an array of any size out of nothing.
    """

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it holds {module}.{name}, and not arrays alone: do not trust it")
        return {"ndarray": _Array, "_reconstruct": _begun, "encode": _encoded}.get(name, np.dtype)


class _Array:
    """Stands for the class of arrays; it makes none."""

    def __new__(cls) -> _Array:
        raise pickle.UnpicklingError("it makes arrays out of nothing: do not trust it")


def _begun(kind: object, shape: object, code: object) -> np.ndarray:
    """An array that its state will fill."""
    if kind is not _Array or shape != (0,):
        raise pickle.UnpicklingError(f"it begins an array with {shape!r:.40}: do not trust it")
    return np.ndarray(0, np.int8)


def _encoded(text: str, coding: str) -> bytes:
    """Bytes, as Python 2 wrote them."""
    if coding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"it holds text in {coding!r:.40}, and not arrays alone: do not trust it")
    return text.encode("latin-1")


def _sketch(where: str, rows: Any) -> Strokes:
    try:
        array = np.asarray(rows)
        array = array.astype(np.float64) if array.dtype.kind not in "iuf" else array
    except (ValueError, TypeError, OverflowError):
        raise ValueError(f"{where} is no array of numbers, but must be [N,3]: dx, dy, pen lifted") from None
    if array.ndim != 2 or array.shape[1] != 3 or not len(array):
        raise ValueError(f"{where} is {list(array.shape)}, but must be [N,3]: dx, dy, pen lifted")
    pen = (array[:, 2] > 0).astype(np.uint8)
    pen[-1] = END
    return Strokes(array[:, :2].astype(np.float32), pen)
