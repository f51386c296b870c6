"""CarRacing's frame u8[64,64,3] painted directly: a window on the map of the track, and the car in the middle.

The official picture has 1000 x 800 pixels, of which the upper 700 rows become the frame.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import pygame
from gymnasium.envs.box2d import car_dynamics, car_racing
from numpy.typing import NDArray

from ..frames import Frames
from .car_map import CarMap

SIZE = 64  # pixels of the frame's side
ROWS = 700  # of the official picture's 800, that end up in the frame
ACROSS, ALONG = car_racing.WINDOW_W, ROWS  # official pixels across and along the frame
CENTRE = car_racing.WINDOW_W / 2, car_racing.WINDOW_H * 3 / 4  # of the car, official pixels from the upper left
WARP = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
TOP, BOTTOM, LEFT, RIGHT = 48, 64, 28, 36  # rows and columns of the frame around the car
WIDTH, HEIGHT = RIGHT - LEFT, BOTTOM - TOP
COARSE = WIDTH * car_racing.STATE_W // SIZE, HEIGHT * 84 // SIZE  # pixels of the official observation there
FINE = 4  # the car is painted so much larger than there, then averaged twice as the official picture is
SHIFT = 4  # OpenCV takes whole numbers: these are 1/16 of such a small pixel
GRAIN = np.array([car_racing.STATE_W / car_racing.WINDOW_W, car_racing.STATE_H / car_racing.WINDOW_H]) * FINE
ORIGIN = GRAIN * CENTRE - np.array([LEFT * car_racing.STATE_W, TOP * 84]) * FINE / SIZE - 0.5  # of the car
SWELL = 0.05  # units by which OpenCV's polygons stand out further than the official ones, as large as they are painted
STRIPE = 1.2  # radians of a wheel's turn that its grey stripe spans


class CarPainter:
    """Paints what `world`, an official CarRacing, shows in its state. `begin` after each reset, `touch` for each tile
    that something has run over, `paint` for a frame."""

    def __init__(self, world: Any) -> None:
        self._world = world
        self._map = CarMap(car_racing.PLAYFIELD, tones())
        self._window = np.empty((SIZE, SIZE, 4), np.uint8)
        self._tiles: list[int] = []  # of tile i, its place among the polygons of the road
        self._touched: dict[int, Any] = {}  # tiles run over since the last frame, by number
        self._visited: set[int] = set()  # tiles that have their new colour on the map

    def begin(self) -> None:
        """Read the track and the car of a new episode."""
        world = self._world
        corners = np.array([polygon for polygon, _ in world.road_poly], np.float64)
        colours = [colour for _, colour in world.road_poly]
        self._map.begin(corners, colours, world.bg_color, world.grass_color)
        owners = {id(tile.color): tile.idx for tile in world.road}
        places = {owners[id(c)]: place for place, c in enumerate(colours) if id(c) in owners}
        self._tiles = [places[i] for i in range(len(world.road))]
        self._touched.clear()
        self._visited.clear()
        self._car = _Car(world.car)

    def touch(self, tile: Any) -> None:
        """A tile has been run over, and has changed its colour. The next frame shows it.

        Neighbours share the pixels of their joint, and Box2D tells of them in an order that depends on the episodes
        before: they are painted by number, and once.
        """
        if tile.idx not in self._visited:
            self._touched[tile.idx] = tile

    def paint(self, out: Frames) -> Frames:
        """The frame u8[64,64,3] of this moment, written into `out`."""
        for index in sorted(self._touched):
            self._map.recolour(self._tiles[index], self._touched[index].color)
        self._visited.update(self._touched)
        self._touched.clear()
        hull, t = self._world.car.hull, self._world.t
        zoom = 0.1 * car_racing.SCALE * max(1 - t, 0) + car_racing.ZOOM * car_racing.SCALE * min(t, 1)
        ground, scale = self._map.level(zoom * SIZE / ALONG)
        x, y = hull.position
        cv2.warpAffine(
            ground, self._view(x, y, hull.angle, zoom, scale), (SIZE, SIZE), dst=self._window, flags=WARP,
            borderMode=cv2.BORDER_CONSTANT, borderValue=0,
        )  # fmt: skip
        cv2.cvtColor(self._window, cv2.COLOR_RGBA2RGB, dst=out)
        self._car.paint(out, zoom)
        return out

    def _view(self, x: float, y: float, angle: float, zoom: float, scale: float) -> NDArray[np.float64]:
        """From a pixel of the window to one of the map: f64[2,3]. The car looks up, and y of the world goes up."""
        right, up = scale * ACROSS / (SIZE * zoom), scale * ALONG / (SIZE * zoom)  # map pixels for one of the window
        cos, sin = math.cos(angle), math.sin(angle)
        left, top = 0.5 - CENTRE[0] * SIZE / ACROSS, 0.5 - CENTRE[1] * SIZE / ALONG  # of the first pixel, from the car
        matrix = np.array([[cos * right, sin * up, 0.0], [sin * right, -cos * up, 0.0]])
        extent = car_racing.PLAYFIELD
        matrix[0, 2] = (x + extent) * scale - 0.5 + matrix[0, 0] * left + matrix[0, 1] * top
        matrix[1, 2] = (y + extent) * scale - 0.5 + matrix[1, 0] * left + matrix[1, 1] * top
        return matrix


class _Car:
    """The car of one episode: its polygons, and how they lie in the frame, where its hull never moves.

    Points are complex numbers, units to the right and ahead of the hull's own origin: to turn is to multiply.
    """

    def __init__(self, car: Any) -> None:
        self._body, self._wheels = car.hull, list(car.wheels)
        painted = np.array([car.wheels[0].color, car.hull.color]) * 255
        self._colours = _toned(painted[0]), _toned(car_dynamics.WHEEL_WHITE), _toned(painted[1])
        self._parts = [_vertices(fixture) for fixture in car.hull.fixtures]
        corners = np.stack([_vertices(wheel.fixtures[0]) for wheel in self._wheels])
        edge = np.array([-1.0, 1.0, 1.0, -1.0]) * (car_dynamics.WHEEL_W * car_dynamics.SIZE - SWELL)
        self._points = np.concatenate([corners, np.broadcast_to(edge, corners.shape)], 1)  # of wheels, and stripes
        self._places = np.array([[complex(*car.hull.GetLocalPoint(wheel.position))] for wheel in self._wheels])
        self._large = np.empty((COARSE[1] * FINE, COARSE[0] * FINE, 4), np.uint8)
        self._zoom, self._hull = 0.0, [np.empty((0, 2), np.int32)]

    def paint(self, frame: Frames, zoom: float) -> None:
        """Wheels, their stripes and the hull above them, over what `frame` shows of the ground."""
        wheel, stripe, hull = self._colours
        wheels, stripes = self._moved(zoom)
        large = self._large
        large.fill(0)  # a fourth byte of 0: nothing of the car
        cv2.fillPoly(large, wheels, wheel, cv2.LINE_8, SHIFT)
        if stripes:
            cv2.fillPoly(large, stripes, stripe, cv2.LINE_8, SHIFT)
        if zoom != self._zoom:
            self._zoom, self._hull = zoom, [_pixels(part, zoom) for part in self._parts]
        for part in self._hull:
            cv2.fillConvexPoly(large, part, hull, cv2.LINE_8, SHIFT)
        coarse = cv2.resize(large, COARSE, interpolation=cv2.INTER_AREA)
        small = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        around = frame[TOP:BOTTOM, LEFT:RIGHT]
        around[...] = small[..., :3] + (around * (256 - small[..., 3:].astype(np.uint16)) >> 8)

    def _moved(self, zoom: float) -> tuple[list[NDArray[np.int32]], list[NDArray[np.int32]]]:
        """The wheels' polygons, and the stripes' of those that show one, as they are turned now."""
        ahead, turns = self._body.angle, []
        ends: list[tuple[float, float]] = []
        for wheel in self._wheels:
            turn = wheel.angle - ahead
            turns.append((complex(math.cos(turn), math.sin(turn)),))
            ends.append(_stripe(wheel.phase))
        self._points.imag[:, 4:] = np.array(ends).repeat(2, 1)
        placed = list(_pixels(self._points * np.array(turns) + self._places, zoom))
        return [w[:4] for w in placed], [w[4:] for w, (near, far) in zip(placed, ends, strict=True) if near != far]


@lru_cache(maxsize=1)
def tones() -> NDArray[np.uint8]:
    """What pygame's smoothscale makes of each level of an even colour, u8[256]: on most machines two levels less."""
    width, height = car_racing.WINDOW_W, car_racing.WINDOW_H
    columns, rows = np.arange(width) * 16 // width, np.arange(height) * 16 // height
    levels = (columns[:, None] * 16 + rows).astype(np.uint8)  # fields of one level each, far larger than a pixel
    surface = pygame.surfarray.make_surface(np.repeat(levels[..., None], 3, 2))
    small = pygame.transform.smoothscale(surface, (car_racing.STATE_W, car_racing.STATE_H))
    x, y = ((np.arange(16) + 0.5) * side / 16 for side in (car_racing.STATE_W, car_racing.STATE_H))
    picture = pygame.surfarray.array3d(small)[..., 0]
    return picture[x.astype(int)[:, None], y.astype(int)].ravel()


def _vertices(fixture: Any) -> NDArray[np.complex128]:
    """Corners c128[n] of a part, drawn in by as much as OpenCV lets them swell. Box2D lists them counterclockwise."""
    corners = np.array([complex(*vertex) for vertex in fixture.shape.vertices])
    edges = np.roll(corners, -1) - corners
    inward = 1j * edges / abs(edges)  # of the edge that begins at a corner
    before = np.roll(inward, 1)
    return corners + SWELL * (before + inward) / (1 + (before * inward.conj()).real)


def _toned(colour: Any) -> tuple[int, ...]:
    return (*(int(tones()[int(part)]) for part in colour), 255)


def _stripe(phase: float) -> tuple[float, float]:
    """How far ahead of a wheel's middle its grey stripe begins and ends, in units; (0, 0) while it is below."""
    first, last = math.sin(phase), math.sin(phase + STRIPE)
    if first > 0 and last > 0:
        return 0.0, 0.0
    begin, end = math.cos(phase), math.cos(phase + STRIPE)
    radius = car_dynamics.WHEEL_R * car_dynamics.SIZE
    if first > 0:
        begin = math.copysign(1.0, begin)
    if last > 0:
        end = math.copysign(1.0, end)
    return begin * radius, end * radius


def _pixels(points: NDArray[np.complex128], zoom: float) -> NDArray[np.int32]:
    """Points c128[...,n] around the car to i32[...,n,2] in 1/16 of a small pixel."""
    grow = GRAIN * (zoom, -zoom) * 2**SHIFT
    return (points.view(np.float64).reshape(*points.shape, 2) * grow + ORIGIN * 2**SHIFT).astype(np.int32)
