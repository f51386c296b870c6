"""The official CarRacing with its physics and its tracks as they are, and a painter of our own.

Nothing of the official code is written down here: methods that are called in every step run as they are, but find the
mathematics of Python's own floats where they ask for `np`, whose functions take ten times as long for a single number
and give the same one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import FunctionType
from typing import Any

import numpy as np
from gymnasium.envs.box2d.car_dynamics import Car
from gymnasium.envs.box2d.car_racing import CarRacing, FrictionDetector

from ..frames import Frames
from .car_painter import SIZE, CarPainter


class Scalars:
    """What `np` is to a method that handles single numbers: the same functions to the last bit, of floats."""

    sqrt = staticmethod(math.sqrt)

    @staticmethod
    def square(x: float) -> float:
        return x * x

    @staticmethod
    def sign(x: float) -> float:
        return (x > 0) - (x < 0)

    @staticmethod
    def clip(x: float, low: float, high: float) -> float:
        return float(min(max(x, low), high))

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


def over(method: Any, **names: Any) -> Callable[..., Any]:
    """The same method, which finds these objects where it asks for the names of its module."""
    scope = {**method.__globals__, **names}
    function = FunctionType(method.__code__, scope, method.__name__, method.__defaults__, method.__closure__)
    function.__kwdefaults__ = method.__kwdefaults__
    return function


class QuickCar(Car):
    """The official car, driven with Python's floats."""

    step = over(Car.step, np=Scalars())
    gas = over(Car.gas, np=Scalars())

    def steer(self, s: float) -> None:
        super().steer(float(s))

    def brake(self, b: float) -> None:
        super().brake(float(b))


class Touches(FrictionDetector):
    """The official contact listener, which also tells the painter of every tile that something begins to touch."""

    def BeginContact(self, contact: Any) -> None:
        super().BeginContact(contact)
        for fixture in (contact.fixtureA, contact.fixtureB):
            body = fixture.body.userData
            if body is not None and hasattr(body, "road_friction"):
                self.env.painter.touch(body)


class CarWorld(CarRacing):
    """As `CarRacing`, with all its options, but a step paints nothing: `paint` does, when it is wanted."""

    _create_track = over(CarRacing._create_track, np=Scalars())
    _begin = over(CarRacing.reset, Car=QuickCar)

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.painter = CarPainter(self)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        told: tuple[Any, dict[str, Any]] = self._begin(seed=seed, options=options)
        self.painter.begin()
        self.world.contactListener_bug_workaround = Touches(self, self.lap_complete_percent)
        self.world.contactListener = self.world.contactListener_bug_workaround
        return told

    def paint(self, out: Frames | None = None) -> Frames:
        """The frame u8[64,64,3] of this moment, into `out` where it is given."""
        return self.painter.paint(np.empty((SIZE, SIZE, 3), np.uint8) if out is None else out)

    def official(self) -> Frames:
        """The official painter's picture u8[96,96,3] of the same moment."""
        picture: Frames = super()._render("state_pixels")
        return picture

    def _render(self, mode: str) -> Any:
        return None if mode == "state_pixels" else super()._render(mode)
