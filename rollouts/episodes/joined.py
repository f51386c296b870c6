"""Several stores as one: the episodes of all rounds so far, numbered through."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import numpy as np

from ..latents import EpisodeSource, Latents
from .episode import Episode, EpisodeSummary


class Episodes(EpisodeSource, Protocol):
    """Stored episodes by index, as `EpisodeStore` has them."""

    def read_frames(self, index: int, rows: np.ndarray | None = None) -> np.ndarray: ...


class LatentSource(Protocol):
    """Stored latents by index, as `LatentStore` has them."""

    @property
    def folder(self) -> Path: ...

    def indices(self) -> list[int]: ...

    def shape(self, index: int) -> tuple[int, int, int]: ...

    def read(self, index: int) -> Latents: ...

    def read_slice(self, index: int, start: int, stop: int) -> Latents: ...


Store = TypeVar("Store", Episodes, LatentSource)


class Joined(Generic[Store]):
    """Stores end to end: index i of part k is index i + (sizes of the parts before k).

    Args:
        parts: the stores, oldest first.
        sizes: how many episodes each of them has, numbered from 0.
    """

    def __init__(self, parts: Sequence[Store], sizes: Sequence[int]) -> None:
        if not parts or len(parts) != len(sizes):
            raise ValueError(f"parts and sizes must be as many, and at least one; not {len(parts)} and {len(sizes)}")
        self.parts: list[Store] = list(parts)
        self._ends = np.cumsum(sizes)

    def indices(self) -> list[int]:
        return list(range(int(self._ends[-1])))

    def place(self, index: int) -> tuple[Store, int]:
        """The part that has this index, and the index there."""
        if not 0 <= index < self._ends[-1]:
            raise ValueError(f"index must lie in 0..{self._ends[-1] - 1}, not {index}")
        part = int(np.searchsorted(self._ends, index, side="right"))
        return self.parts[part], index - (int(self._ends[part - 1]) if part else 0)


class JoinedEpisodes(Joined[Episodes]):
    """`Episodes` of several stores."""

    def summary(self, index: int) -> EpisodeSummary:
        store, at = self.place(index)
        return store.summary(at)

    def read(self, index: int) -> Episode:
        store, at = self.place(index)
        return store.read(at)

    def read_frames(self, index: int, rows: np.ndarray | None = None) -> np.ndarray:
        store, at = self.place(index)
        return store.read_frames(at, rows)


class JoinedLatents(Joined[LatentSource]):
    """A `LatentSource` of several stores."""

    @property
    def folder(self) -> Path:
        return self.parts[-1].folder

    def shape(self, index: int) -> tuple[int, int, int]:
        store, at = self.place(index)
        return store.shape(at)

    def read(self, index: int) -> Latents:
        store, at = self.place(index)
        return store.read(at)

    def read_slice(self, index: int, start: int, stop: int) -> Latents:
        store, at = self.place(index)
        return store.read_slice(at, start, stop)
