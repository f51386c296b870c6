"""The worlds: official Gymnasium environments seen as 64 x 64 frames, many at once, on the fastest back end."""

from __future__ import annotations

from .catalogue import get_spec
from .errors import MissingExtra
from .frames import FrameEnv, FramePipe
from .measure import Measure
from .options import WorldConfig
from .slots import SlotEnv, Step
from .spec import ActionCodec, EnvSpec
from .vector import GymnasiumSlots, make_slots
from .worlds.counting import CountingEnv, Failure, counting_spec, read_frame

__all__ = [
    "ActionCodec",
    "CountingEnv",
    "EnvSpec",
    "Failure",
    "FrameEnv",
    "FramePipe",
    "GymnasiumSlots",
    "Measure",
    "MissingExtra",
    "SlotEnv",
    "Step",
    "WorldConfig",
    "counting_spec",
    "get_spec",
    "make_slots",
    "read_frame",
]
