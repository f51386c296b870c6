"""The worlds: official Gymnasium environments seen as 64 x 64 frames, many at once, on the fastest back end.

Names are imported when they are first used, so that who needs the frames and the actions alone needs no Gymnasium.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .catalogue import get_spec
    from .errors import MissingExtra
    from .framed import FrameEnv
    from .frames import FramePipe
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

_HOMES = {
    "catalogue": ("get_spec",),
    "errors": ("MissingExtra",),
    "framed": ("FrameEnv",),
    "frames": ("FramePipe",),
    "measure": ("Measure",),
    "options": ("WorldConfig",),
    "slots": ("SlotEnv", "Step"),
    "spec": ("ActionCodec", "EnvSpec"),
    "vector": ("GymnasiumSlots", "make_slots"),
    "worlds.counting": ("CountingEnv", "Failure", "counting_spec", "read_frame"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

if not TYPE_CHECKING:  # so that a type checker knows which names there are, and reports the others

    def __getattr__(name: str) -> Any:
        """Import a name on its first use, and keep it."""
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value = getattr(import_module(f".{_HOME[name]}", __name__), name)
        return value
