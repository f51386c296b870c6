"""Arrays out of npy and npz files of anybody: what a header promises must be there before memory is spent on it."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from frmdn.agent.errors import first_line

MOST = 1 << 34  # bytes of the arrays that are read, unpacked
FREE, RATIO = 1 << 26, 200  # bytes that any file may unpack to; beyond, so many for one: honest numbers do not pack so


@contextmanager
def whole(told: Callable[[str], str]) -> Iterator[None]:
    """What goes wrong while a stranger's file is read, as a ValueError that says `told` of the reason.

    zip, zlib, LZMA, NumPy and picklers raise what they like. No memory is no fault of the file.
    """
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        raise ValueError(told(first_line(error))) from None


def check_packed(path: Path, names: Collection[str] | None = None) -> None:
    """An npz file is a zip, and a small one can unpack beyond all memory; of `names` alone where only they are read.

    Pictures, which others read one at a time, may pack as well as they like: a ball before black does, 600 for one.
    """
    if path.suffix.lower() != ".npz":
        return
    with zipfile.ZipFile(path) as archive:
        read = [item for item in archive.infolist() if names is None or item.filename.removesuffix(".npy") in names]
    size = sum(item.file_size for item in read)
    packed = min(sum(item.compress_size for item in read), path.stat().st_size)  # what the zip says may be forged
    if size > MOST:
        raise ValueError(f"it unpacks to {size} bytes, and {MOST} is the most: divide it")
    if size > max(FREE, RATIO * packed):
        raise ValueError(f"it unpacks to {size} bytes, over {RATIO} times its own size: save it without compression")


def read_arrays(path: Path, names: Collection[str] | None = None) -> dict[str, NDArray[Any]]:
    """The arrays of an npz file by name, of an npy file under no name; those of `names` alone where they are given.

    Whatever is wrong with the file raises: ValueError, or what the libraries for its packing raise.
    """
    if path.suffix.lower() != ".npz":
        with path.open("rb") as stream:
            return {"": _array(stream, path.stat().st_size)}
    check_packed(path, names)
    found = {}
    with zipfile.ZipFile(path) as archive:
        for item in archive.infolist():
            name = item.filename.removesuffix(".npy")
            if names is None or name in names:
                with archive.open(item) as stream:
                    found[name] = _array(stream, item.file_size)
    return found


def read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and type of the array that a stream begins with; ValueError where it holds objects."""
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(stream)
    if dtype.hasobject:
        raise ValueError("it holds objects")
    if any(size < 0 for size in shape):
        raise ValueError(f"an array of {list(shape)} cannot be")
    return shape, fortran, dtype


def _array(stream: IO[bytes], size: int) -> NDArray[Any]:
    shape, fortran, dtype = read_header(stream)
    promised, there = math.prod(shape) * dtype.itemsize, size - stream.tell()
    if promised > there:
        raise ValueError(f"it promises {promised} bytes, and {there} are there")
    data = stream.read(promised)
    if len(data) < promised:
        raise ValueError(f"it promises {promised} bytes, and {len(data)} are there")
    if not promised:
        return np.zeros(shape if dtype.itemsize else 0, dtype if dtype.itemsize else np.uint8)
    return np.frombuffer(bytearray(data), dtype).reshape(shape, order="F" if fortran else "C")
