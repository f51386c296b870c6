"""What of HDF5 a recording of others may use: nothing that lies in another file, or that swells in memory."""

from __future__ import annotations

import math
from pathlib import Path

import h5py

from frmdn.agent.errors import first_line

FREE, RATIO = 1 << 28, 300  # bytes that an array may be; beyond, so many for one that the file has of it
DEEPEST = 32  # groups in each other


def check_recorded_file(path: Path) -> None:
    """ValueError where a file links to others, or promises far more than it holds; nothing else of it is read.

    HDF5 follows such links by itself: a data set of a stranger would read any file of whoever imports it.
    """
    try:
        with h5py.File(path, "r", locking=False) as file:
            _check(path, file.id, "", 0, set())
    except (OSError, RuntimeError, KeyError) as error:  # damage surfaces as HDF5 likes
        raise ValueError(f"{path} is no whole HDF5 file ({first_line(error)}): copy it once more") from None


def _check(path: Path, group: h5py.h5g.GroupID, place: str, depth: int, seen: set[int]) -> None:
    """`seen` are the places in the file that were looked at: two names may be of one group, even of one around it."""
    if depth > DEEPEST:
        raise ValueError(f"{path} has over {DEEPEST} groups in each other: do not trust it")
    for name in list(group):
        where = f"{place}/{name.decode('utf-8', 'replace')}"[-80:]
        if group.links.get_info(name).type != h5py.h5l.TYPE_HARD:
            raise ValueError(f"{path}: {where} is a link to something else: do not trust it")
        at = h5py.h5o.get_info(group, name).addr
        if at in seen:
            continue
        seen.add(at)
        found = h5py.h5o.open(group, name)
        if isinstance(found, h5py.h5g.GroupID):
            _check(path, found, where, depth + 1, seen)
        elif isinstance(found, h5py.h5d.DatasetID):
            _check_array(path, found, where)


def _check_array(path: Path, array: h5py.h5d.DatasetID, where: str) -> None:
    plan = array.get_create_plist()
    if plan.get_external_count() or plan.get_layout() == h5py.h5d.VIRTUAL:
        raise ValueError(f"{path}: the numbers of {where} lie in another file: do not trust it")
    size, there = math.prod(array.shape or (1,)) * array.dtype.itemsize, array.get_storage_size()
    if size > max(FREE, RATIO * there):
        raise ValueError(f"{path}: {where} promises {size} bytes, which {there} in the file cannot hold")
