"""One recording as all readers hand it over: its pictures one after the other, and what was done meanwhile."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from frmdn.envs.spec import ActionCodec


@dataclass(frozen=True)
class Tracks:
    """What was recorded beside the pictures: one row for each picture, or for each but the last."""

    where: str  # the file, for messages
    actions: NDArray[Any] | None = None  # [N], [N,A]; whole numbers in one column are the numbers of actions
    rewards: NDArray[Any] | None = None  # [N]
    ended: bool = False  # the task itself ended, it was not just the recording that stopped


@dataclass(frozen=True)
class Take:
    """One recording. Nothing is read before `pictures` or `tracks` is called, and each call reads anew."""

    name: str  # unlike those of its source
    stamp: str  # changes when its files do
    pictures: Callable[[], Iterator[NDArray[np.uint8]]]  # u8[H,W], u8[H,W,1] or u8[H,W,3], RGB
    tracks: Callable[[], Tracks]
    frames: int = 0  # how many pictures it says that it has; for the progress only


@dataclass(frozen=True)
class Source:
    """What is imported: recordings in their order."""

    kind: Literal["videos", "arrays", "minari", "lerobot"]
    name: str
    takes: Sequence[Take]
    action: ActionCodec | None = None  # where the source itself says what its actions are


def stamp(*paths: Path) -> str:
    """What changes when one of these files does: their sizes and times."""
    stats = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    return hashlib.sha256(repr(stats).encode()).hexdigest()[:16]
