"""From anybody's pictures to the frames that the vision sees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from frmdn.envs.frames import FramePipe


@dataclass(frozen=True)
class Fitting:
    """Pictures u8[H,W], u8[H,W,1] or u8[H,W,3] to frames u8[S,S,C], by area averaging.

    Pictures of S x S pixels are left as they are. Others lose the rows that the environment's own frames lose, and with
    `middle` their longer sides; then they are squeezed into the square.
    """

    size: int  # S
    channels: int  # C
    middle: bool = False
    rows: tuple[int, int] | None = None  # that are kept; None: all
    height: int | None = None  # of the environment's own picture, in which `rows` count

    def __call__(self, picture: NDArray[np.uint8], where: str) -> NDArray[np.uint8]:
        """One frame; ValueError names `where` the picture is from, and what is wrong with it."""
        found = channels(picture, where)
        if found != self.channels:
            ours, theirs = ("grey" if count == 1 else "of 3 colours" for count in (self.channels, found))
            raise ValueError(f"{where} is {theirs}, but the others are {ours}: import them into a run of their own")
        if picture.shape[:2] == (self.size, self.size):
            return picture.reshape(self.size, self.size, found).copy()
        picture = FramePipe(self.size, found, self.rows, self.height).cut(picture)
        if self.middle:
            height, width = picture.shape[:2]
            side = min(height, width)
            top, left = (height - side) // 2, (width - side) // 2
            picture = picture[top : top + side, left : left + side]
        return FramePipe(self.size, found)(np.ascontiguousarray(picture))


def channels(picture: NDArray[np.uint8], where: str) -> int:
    """C of a picture, 1 or 3; ValueError where it is none that we can read."""
    shape = picture.shape
    if picture.dtype != np.uint8:
        raise ValueError(f"{where} has pictures of {picture.dtype}: save them as uint8, 0 to 255")
    count = 1 if len(shape) == 2 else shape[-1] if len(shape) == 3 else 0
    if count in (1, 3) and min(shape[:2]) > 0:
        return count
    first = len(shape) == 3 and shape[0] in (1, 3)
    remedy = "put the channels last" if first else "drop the alpha channel" if count == 4 else "grey or RGB are needed"
    raise ValueError(f"{where} has pictures of {list(shape)}, not [H,W], [H,W,1] or [H,W,3]: {remedy}")
