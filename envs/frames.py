"""From a world's own picture to the frame that the Vision sees: crop and resize. Without Gymnasium."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.uint8]


@dataclass(frozen=True)
class FramePipe:
    """Pictures u8[H0,W0], u8[H0,W0,1] or u8[H0,W0,3] to frames u8[S,S,C]: keep some rows, then average pixel areas.

    A picture of another height than the world's own is cut at the same parts of it. ValueError: `rows` is no range of
    the picture.
    """

    size: int = 64  # S, pixels
    channels: int = 3  # C, as many as the picture has: 1 or 3
    rows: tuple[int, int] | None = None  # first row and the row after the last one; None keeps all
    height: int | None = None  # of the world's own picture, in which `rows` count; None: of whatever picture comes

    def __post_init__(self) -> None:
        if self.rows is None:
            return
        if len(self.rows) != 2 or not 0 <= self.rows[0] < self.rows[1] <= (self.height or self.rows[1]):
            within = f" of a picture of {self.height}" if self.height else ""
            raise ValueError(f"rows must be a first row and the row after the last one{within}, not {self.rows}")

    def __call__(self, picture: Frames) -> Frames:
        """One frame u8[S,S,C] of its own memory, never a view of the world's screen.

        ValueError: the picture has another type, other axes or another number of channels, or no rows are left of it.
        """
        return self.into(picture, np.empty((self.size, self.size, self.channels), np.uint8))

    def into(self, picture: Frames, out: Frames) -> Frames:
        """As a call, but written into `out` u8[S,S,C], for instance a row of a batch."""
        picture = self.cut(picture)
        if picture.dtype != np.uint8 or picture.shape[2:] not in self._depths or picture.ndim < 2 or not picture.size:
            # OpenCV would leave `out` as it is, and write somewhere else.
            raise ValueError(f"a picture must be uint8 of shape {self._wanted}, not {picture.dtype}{picture.shape}")
        if picture.shape[:2] == (self.size, self.size):
            out[...] = picture.reshape(out.shape)
        elif self.channels == 1:  # OpenCV drops a last axis of one
            out[..., 0] = cv2.resize(picture, (self.size, self.size), interpolation=cv2.INTER_AREA).reshape(
                self.size, self.size
            )
        else:
            cv2.resize(picture, (self.size, self.size), dst=out, interpolation=cv2.INTER_AREA)
        return out

    def cut(self, picture: Frames) -> Frames:
        """The rows of a picture that are kept, at least one."""
        if self.rows is None:
            return picture
        height = len(picture)
        own = self.height or height
        first, last = (round(row * height / own) for row in self.rows)
        if first >= min(last, height):
            raise ValueError(f"a picture of {height} rows is too low to keep rows {first} to {last}: give a larger one")
        return picture[first:last]

    @property
    def _depths(self) -> tuple[tuple[int, ...], ...]:
        return ((), (1,)) if self.channels == 1 else ((self.channels,),)

    @property
    def _wanted(self) -> str:
        return "(H, W) or (H, W, 1)" if self.channels == 1 else f"(H, W, {self.channels})"

    def batch(self, pictures: Frames) -> Frames:
        """Pictures u8[B,H0,W0(,C)] to frames u8[B,S,S,C]."""
        out = np.empty((len(pictures), self.size, self.size, self.channels), np.uint8)
        for picture, row in zip(pictures, out, strict=True):
            self.into(picture, row)
        return out
