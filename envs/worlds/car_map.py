"""CarRacing's ground as a map: field, grass, road and kerbs of one episode, painted once and read by every frame.

A frame is a window on this map, turned and zoomed: one warp in place of some sixty polygons. The map is as fine as a
frame needs it when the camera is near, and has coarser levels for the first second, when the camera comes down.
`docs/decisions/0007-car-racing.md` has the measurements.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..frames import Frames

SIDE = 1008  # pixels of the finest level, 1.5 for a unit of the world; halved four times without a rest
LEVELS = 5
SHIFT = 6  # OpenCV takes whole numbers: these are 1/64 pixel
SWELL = 0.7  # pixels by which OpenCV's smooth edges stand out of a polygon
PATCHES = 20  # squares of the field along a side; every second one in both directions is grass of the other green
Quads = NDArray[
    np.float64
]  # f64[n,4,2]: corners of a stretch of road in units, two at its far end, two at its near end


class CarMap:
    """The ground of one episode after another, in levels u8[S,S,4]: red, green, blue, and a byte that makes warps fast.

    `extent` is half the side of the field in units of the world; beyond it all is black. `tones` u8[256] is what
    becomes of each level of a colour on its way to the frame. `begin` paints a track, `recolour` one tile of it, and
    `level` gives what a camera of some resolution should look at.
    """

    def __init__(self, extent: float, tones: NDArray[np.uint8]) -> None:
        self.scale = SIDE / (2 * extent)  # pixels of the finest level for a unit
        self._extent, self._tones = extent, tones
        self._grass: list[Frames] = []
        self._colours: tuple[Any, ...] = ()
        self._levels: list[Frames] = []
        self._dirty = (0, 0, 0, 0)
        self._quads = self._inner = np.empty((0, 4, 2), np.int32)

    def begin(self, quads: Quads, colours: Sequence[Any], field: Any, grass: Any) -> None:
        """Paint the stretches of a track in their order, each in its colour, on a field of two greens."""
        self._restore(tuple(field), tuple(grass))
        kerbs = np.array([isinstance(colour, tuple) for colour in colours])[:, None]  # tiles have arrays, which change
        self._quads = self._corners(quads, SWELL, np.where(kerbs, SWELL, SWELL / 2), 0.0)
        self._inner = self._corners(quads, 2 * SWELL, SWELL, SWELL)
        finest, shades = self._levels[0], self._shades(colours)
        before: tuple[NDArray[np.int32], tuple[int, ...]] | None = None  # a tile under the swollen end of the next
        for quad, inner, shade, kerb in zip(self._quads, self._inner, shades, kerbs[:, 0].tolist(), strict=True):
            cv2.fillConvexPoly(finest, quad, shade, cv2.LINE_AA, SHIFT)
            if before is not None:
                cv2.fillConvexPoly(finest, before[0], before[1], cv2.LINE_AA, SHIFT)
            before = None if kerb else (inner, shade)
        self._dirty = self._bounds()
        self._coarsen()

    def recolour(self, index: int, colour: Any) -> None:
        """Paint one stretch anew, but for the edges that it shares with the grass.

        The coarse levels keep the old colour: they serve less than a second.
        """
        (shade,) = self._shades([colour])
        cv2.fillConvexPoly(self._levels[0], self._inner[index], shade, cv2.LINE_AA, SHIFT)

    def level(self, resolution: float) -> tuple[Frames, float]:
        """The level for a camera with `resolution` pixels for a unit of the world, and the level's own resolution."""
        ratio = np.log2(max(self.scale / resolution, 1.0)) - 0.25  # rather a little blurred than with jagged edges
        index = min(max(round(ratio), 0), LEVELS - 1)
        return self._levels[index], self.scale / 2**index

    def _restore(self, field: tuple[Any, ...], grass: tuple[Any, ...]) -> None:
        """Bare grass on all levels, as cheaply as can be: where the last track was, unless the colours are new."""
        if self._colours != (field, grass):
            self._colours = (field, grass)
            self._grass = _pyramid(*self._shades([field, grass]))
            self._levels = [level.copy() for level in self._grass]
        for index, (level, bare) in enumerate(zip(self._levels, self._grass, strict=True)):
            left, top, right, bottom = (edge >> index for edge in self._dirty)
            level[top:bottom, left:right] = bare[top:bottom, left:right]

    def _shades(self, colours: Sequence[Any]) -> list[tuple[int, ...]]:
        """Red, green, blue and the fourth byte of each, cut to whole numbers as officially, then toned."""
        toned = self._tones[np.array(colours).astype(np.uint8)]
        return [(*shade, 255) for shade in toned.tolist()]

    def _corners(self, quads: Quads, sides: float, near: Any, far: Any) -> NDArray[np.int32]:
        """Corners in 1/64 pixel, with the sides and the ends of all stretches drawn in by so many pixels.

        OpenCV's smooth edges swell, by which a joint is covered without a gap; sides have to be drawn in for it.
        """
        pixels = (quads + self._extent) * self.scale - 0.5  # OpenCV's whole numbers are the middles of pixels
        left, right, near_right, near_left = np.moveaxis(pixels, 1, 0)
        over, back = _inwards(right - left, sides), _inwards(near_right - near_left, sides)
        along = _unit(left + right - near_left - near_right)
        front, rear = along * far, along * near
        drawn = [left + over - front, right - over - front, near_right - back + rear, near_left + back + rear]
        return np.round(np.stack(drawn, 1) * 2**SHIFT).astype(np.int32)

    def _bounds(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom around the track, on pixels that all levels have."""
        step = 2 ** (LEVELS - 1)
        low = self._quads.min((0, 1)) >> SHIFT
        high = self._quads.max((0, 1)) >> SHIFT
        left, top = np.clip((low - 2) // step * step, 0, SIDE).tolist()
        right, bottom = np.clip((high + 2 + step) // step * step, 0, SIDE).tolist()
        return left, top, right, bottom

    def _coarsen(self) -> None:
        for index in range(1, LEVELS):
            left, top, right, bottom = (edge >> index for edge in self._dirty)
            finer = self._levels[index - 1][2 * top : 2 * bottom, 2 * left : 2 * right]
            self._levels[index][top:bottom, left:right] = _half(finer)


def _meadow(field: tuple[int, ...], grass: tuple[int, ...]) -> Frames:
    """The bare field u8[S,S,4]: every pixel mixed by the area that the squares of the other green have in it."""
    edge = np.arange(SIDE + 1) * PATCHES / SIDE  # in periods of two squares' sides, one of them grass
    covered = np.diff(np.floor(edge) / 2 + np.minimum(edge % 1, 0.5)) * SIDE / PATCHES
    share = (covered[:, None] * covered)[..., None]
    return np.round(np.array(field) * (1 - share) + np.array(grass) * share).astype(np.uint8)


@lru_cache(maxsize=1)  # all slots of a process begin on the same grass
def _pyramid(field: tuple[int, ...], grass: tuple[int, ...]) -> list[Frames]:
    levels = [_meadow(field, grass)]
    for _ in range(LEVELS - 1):
        levels.append(_half(levels[-1]))
    return levels


def _half(picture: Frames) -> Frames:
    height, width = picture.shape[:2]
    return cv2.resize(picture, (width // 2, height // 2), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def _inwards(across: NDArray[np.float64], length: float) -> NDArray[np.float64]:
    """Vectors f64[n,2] of this length in the direction of `across`, but never more than a third of it."""
    return _unit(across) * np.minimum(length, np.linalg.norm(across, axis=-1, keepdims=True) / 3)


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Vectors f64[n,2] of length 1; those of no length stay."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)
