"""NumPy archives (npz) of frames, actions and rewards: one episode, or many, and never more than some frames read."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frmdn.agent.errors import shortened

from ..sources.packed import read_arrays, read_header, whole
from .take import Source, Take, Tracks, stamp

FRAMES = ("frames", "frame", "obs", "observations", "observation", "images", "pictures")
ACTIONS = ("actions", "action")
REWARDS = ("rewards", "reward")
ENDS = ("terminated", "terminations", "terminals", "dones", "done")
LENGTHS = "lengths"  # frames of each episode, where one archive has many
PIECE = 1 << 22  # bytes read at once


def arrays(path: Path) -> Source:
    """One npz file, or all of a folder in the order of their names."""
    files = [path] if path.is_file() else sorted(file for file in path.iterdir() if is_archive(file))
    takes = [take for file in files for take in _takes(Archive(file))]
    return Source("arrays", path.resolve().name, takes)


def is_archive(path: Path) -> bool:
    return path.suffix.lower() == ".npz" and not path.name.startswith(".")


class Archive:
    """An npz file, of which arrays are read by the names that people give them, whole or row by row.

    Raises:
        ValueError: it is no whole npz file, or has an array of objects; the message names it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with whole(self._broken), zipfile.ZipFile(path) as file:
            self.names = [name.removesuffix(".npy") for name in file.namelist()]

    def _broken(self, why: str) -> str:
        return f"{self.path} is no whole npz file of numbers ({why}): write it again"

    def find(self, names: Sequence[str]) -> str | None:
        """The array that bears one of these names."""
        return next((name for name in names if name in self.names), None)

    def read(self, names: Sequence[str]) -> NDArray[Any] | None:
        """A whole array; None where there is none of these names."""
        name = self.find(names)
        if name is None:
            return None
        with whole(self._broken):
            return read_arrays(self.path, {name})[name]

    def shape(self, name: str) -> tuple[int, ...]:
        with whole(self._broken), zipfile.ZipFile(self.path) as file, file.open(name + ".npy") as stream:
            return read_header(stream)[0]

    def rows(self, name: str, start: int, stop: int) -> Iterator[NDArray[Any]]:
        """Entries start to stop-1 along the first axis, without reading the others into memory."""
        with whole(self._broken), zipfile.ZipFile(self.path) as file, file.open(name + ".npy") as stream:
            shape, fortran, dtype = read_header(stream)
            if fortran:
                raise ValueError(f"{name} is in Fortran's order: save np.ascontiguousarray of it")
            size = prod(shape[1:]) * dtype.itemsize
            self._skip(stream, start * size)
            for _ in range(start, stop):
                data = stream.read(size)
                if len(data) < size:
                    raise ValueError(f"{name} is cut short")
                yield np.frombuffer(data, dtype).reshape(shape[1:])

    def ended(self, flags: NDArray[Any] | None) -> bool:
        """Whether flags, one or one a row, say that the task ended with the last row."""
        return flags is not None and flags.size > 0 and bool(np.asarray(flags).reshape(-1)[-1])

    def _skip(self, stream: Any, size: int) -> None:
        while size > 0:
            piece = len(stream.read(min(size, PIECE)))
            if not piece:
                raise ValueError("an array is cut short")
            size -= piece


@dataclass(frozen=True)
class Place:
    """Where an episode lies in its archive."""

    frames: str  # the name of the frames' array
    number: int
    episodes: int  # in the archive
    first: int  # row of its first frame; of a padded archive, its only row
    count: int  # of its frames
    padded: bool = False  # [N,T,...]: a row for each episode, of which the first `count` entries count


def _takes(archive: Archive) -> Iterator[Take]:
    name = archive.find(FRAMES)
    if name is None:
        told = shortened(", ".join(archive.names), 200)
        raise ValueError(f"{archive.path} has no frames (it holds {told or 'nothing'}): name them {FRAMES[0]}")
    shape, lengths = archive.shape(name), archive.read([LENGTHS])
    if lengths is None and len(shape) in (3, 4):
        yield _take(archive, archive.path.name, Place(name, 0, 1, 0, shape[0]))
        return
    counts = _lengths(archive, lengths) if lengths is not None else [shape[1]] * shape[0] if len(shape) == 5 else []
    padded = len(shape) == 5 and len(counts) == shape[0] and max(counts, default=0) <= shape[1]
    if not padded and (len(shape) not in (3, 4) or sum(counts) != shape[0]):
        raise ValueError(
            f"{archive.path}: {name} is {list(shape)}, but must be [T,H,W,C] for one episode, [N,T,H,W,C] for many, or "
            f"[all frames,H,W,C] with {LENGTHS} that add up to them"
        )
    first = 0
    for number, count in enumerate(counts):
        place = Place(name, number, len(counts), number if padded else first, count, padded)
        yield _take(archive, f"{archive.path.name}, episode {number}", place)
        first += count


def _lengths(archive: Archive, lengths: NDArray[Any]) -> list[int]:
    if lengths.dtype.kind not in "iu" or lengths.ndim != 1 or (lengths < 1).any():
        raise ValueError(f"{archive.path}: {LENGTHS} must hold the whole number of frames of each episode, from 1 up")
    return [int(count) for count in lengths]


def _take(archive: Archive, name: str, place: Place) -> Take:
    pictures, tracks = partial(_pictures, archive, place), partial(_tracks, archive, name, place)
    return Take(name, stamp(archive.path), pictures, tracks, place.count)


def _pictures(archive: Archive, place: Place) -> Iterator[NDArray[np.uint8]]:
    if place.padded:
        for row in archive.rows(place.frames, place.first, place.first + 1):
            yield from row[: place.count]
    else:
        yield from archive.rows(place.frames, place.first, place.first + place.count)


def _tracks(archive: Archive, name: str, place: Place) -> Tracks:
    where = str(archive.path.parent / name)
    actions, rewards = (_part(archive, where, names, place) for names in (ACTIONS, REWARDS))
    flags = archive.read(ENDS)
    if flags is not None and place.episodes > 1:
        each = flags.shape == (place.episodes,)  # one for each episode, not for each step
        flags = flags[place.number : place.number + 1] if each else _part(archive, where, ENDS, place)
    return Tracks(where, actions, rewards, archive.ended(flags))


def _part(archive: Archive, where: str, names: Sequence[str], place: Place) -> NDArray[Any] | None:
    """The rows of one episode. Those of many are divided as the frames are, with T+1 or T rows each."""
    found, shape = archive.read(names), archive.shape(place.frames)
    if found is None or (place.episodes == 1 and not place.padded):
        return found
    label = f"{where}: {archive.find(names)}"
    if not found.ndim:
        raise ValueError(f"{label} is a single number: give it a row for each step")
    if place.padded:
        if found.ndim < 2 or len(found) != shape[0] or shape[1] - found.shape[1] not in (0, 1):
            raise ValueError(
                f"{label} is {list(found.shape)}, but {place.frames} is {list(shape)}: give it as many episodes, and "
                f"{shape[1] - 1} or {shape[1]} rows each"
            )
        return found[place.number, : place.count - (shape[1] - found.shape[1])]
    short = shape[0] - len(found)  # 0, or a row less in every episode
    if short not in (0, place.episodes):
        raise ValueError(
            f"{label} has {len(found)} rows, but {place.frames} has {shape[0]} in {place.episodes} episodes: give it "
            f"{shape[0] - place.episodes} or {shape[0]}"
        )
    less = 1 if short else 0
    first = place.first - less * place.number
    return found[first : first + place.count - less]
