"""What of HDF5 the file of an episode may use: nothing that lies in another file, that no checksum covers, or that
swells in memory. A file from a stranger that uses more is refused before anything of it is read."""

from __future__ import annotations

import math
from typing import Any

import h5py
import numpy as np

CHUNK = 32  # frames a chunk: smaller compresses worse, larger writes slower
ZSTD, FLETCHER = 32015, 3  # the filters of an episode by their registered numbers
MOST = 20_000  # bytes of frames for one in the file: zstd makes 9,000 of one of flat pictures, 12 of a game
MAGIC = 0xFD2FB528  # of a zstd frame


def write_text(file: h5py.File, name: str, text: str) -> None:
    """A text of fixed length: it stands where a checksum covers it. One of variable length lies in HDF5's global heap,
    which has none, and where 16 bytes of zeros make HDF5 search for ever."""
    data = text.encode()
    file.attrs.create(name, data, dtype=h5py.string_dtype("utf-8", max(1, len(data))))


def read_attributes(file: h5py.File) -> dict[str, Any]:
    """Numbers and texts of fixed length, by name; ValueError where there is anything else."""
    found: dict[str, Any] = {}
    for place in range(h5py.h5a.get_num_attrs(file.id)):
        attribute = h5py.h5a.open(file.id, index=place)
        name, kind = attribute.name.decode(), attribute.get_type()
        number = kind.get_class() in (h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.ENUM)
        fixed = kind.get_class() == h5py.h5t.STRING and not kind.is_variable_str()
        if not (number or fixed) or attribute.shape != ():
            raise ValueError(f"its attribute {name} is neither a number nor a text of fixed length")
        value = np.empty((), attribute.dtype)
        attribute.read(value)
        found[name] = value.item().decode() if fixed else value.item()
    return found


def check_arrays(file: h5py.File) -> None:
    """ValueError where an array is not as `encode_episode` writes it; nothing of it is read for that."""
    for name in ("frames", "actions", "rewards"):
        _check(file, name)
    for name in ("origin_actions", "origin_rewards"):
        if file.id.links.exists(name.encode()):  # `name in file` would follow a link
            _check(file, name)


def _check(file: h5py.File, name: str) -> None:
    if file.id.links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
        raise ValueError(f"{name} is a link to something else")
    array = h5py.h5o.open(file.id, name.encode())
    if not isinstance(array, h5py.h5d.DatasetID):
        raise ValueError(f"{name} is no array")
    plan = array.get_create_plist()
    if name == "actions" and array.shape[1:] == (0,):  # nobody acts: HDF5 has no chunks of nothing
        if plan.get_layout() != h5py.h5d.CONTIGUOUS or plan.get_external_count() or array.dtype != np.float32:
            raise ValueError(f"the numbers of {name} lie elsewhere")
        return
    if plan.get_layout() != h5py.h5d.CHUNKED or plan.get_external_count():
        raise ValueError(f"the numbers of {name} lie elsewhere")
    if array.dtype not in (np.uint8, np.float32):
        raise ValueError(f"{name} holds {array.dtype}")
    filters = [plan.get_filter(place)[0] for place in range(plan.get_nfilters())]
    wanted = [ZSTD, FLETCHER] if name == "frames" else [FLETCHER]
    shape = array.shape
    chunk = (min(CHUNK, shape[0]), *shape[1:]) if name == "frames" and shape else shape
    if filters != wanted or not shape or plan.get_chunk() != chunk or 0 in shape:
        raise ValueError(f"{name} is not stored as frmdn stores it")
    _check_size(array, name, chunk)


def _check_size(array: Any, name: str, chunk: tuple[int, ...]) -> None:
    """What is promised must be there: HDF5 fills what is missing with zeros, however much that is."""
    size, pieces = math.prod(array.shape) * array.dtype.itemsize, -(-array.shape[0] // chunk[0])
    if array.get_num_chunks() != pieces or size > array.get_storage_size() * (MOST if name == "frames" else 1):
        raise ValueError(f"{name} promises {size} bytes, which {array.get_storage_size()} in the file cannot hold")


def check_chunks(frames: h5py.Dataset, start: int, stop: int) -> None:
    """ValueError where a chunk that holds frames start to stop-1 would unpack to more than a chunk is."""
    array, chunk = frames.id, frames.chunks
    whole = math.prod(chunk) * frames.dtype.itemsize
    for first in range(start - start % chunk[0], stop, chunk[0]):
        _, data = array.read_direct_chunk((first, *(0,) * (len(chunk) - 1)))
        if _unpacked(data) != whole:
            raise ValueError(f"the chunk of frame {first} is not {whole} bytes of zstd")


def _unpacked(data: bytes) -> int | None:
    """The size that the header of a zstd frame promises (RFC 8878, 3.1.1.1): the filter would reserve it unasked."""
    if len(data) < 6 or int.from_bytes(data[:4], "little") != MAGIC:
        return None
    flags = data[4]
    single = flags >> 5 & 1
    start = 5 + (0 if single else 1) + (0, 1, 2, 4)[flags & 3]
    width = (single, 2, 4, 8)[flags >> 6]
    return int.from_bytes(data[start : start + width], "little") + (256 if width == 2 else 0) if width else None
