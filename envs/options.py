"""What may be chosen about how a world is played: part of a run's configuration, and recorded with its results."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

SEEN = ("key", "axes", "render", "bound")  # options of worlds that are known by their spaces alone


@dataclass(frozen=True)
class WorldConfig:
    """How a world is played. None leaves a choice to the world; what it does not offer, it refuses.

    `repeat`, `sticky`, `pool` and `max_steps` go with every world that shows pictures. Sticky actions (Machado et al.
    2018, section 5) are drawn for each decision, not for each frame of it: the harder reading, where a late decision
    comes late by a whole `repeat`. `imports` goes with every world, for the modules that register it. `key`, `axes`,
    `render` and `bound` are for environments of other people, whose spaces alone are known.

    >>> frmdn.get_spec("CarRacing-v3", world=frmdn.WorldConfig(repeat=2, max_steps=100)).max_steps
    100
    """

    repeat: int | None = None  # steps of the world for one decision
    sticky: float = 0.0  # chance that a decision is ignored and the action before it goes on
    pool: bool = False  # a frame is the brighter one, pixel by pixel, of the last two pictures of a decision
    max_steps: int | None = None  # decisions before an episode is truncated
    noops: int | None = None  # an episode starts with 0 to so many idle steps of the world, drawn by its seed
    stuck: int | None = None  # decisions without progress before an episode is truncated; 0: never
    actions: str | None = None  # the name of a set of actions
    reward: str | None = None  # the name of a reward
    imports: tuple[str, ...] = ()  # modules that register the environment when they are imported, e.g. ale_py
    key: str | None = None  # of the picture among observations with names; dots lead deeper: camera.rgb
    axes: str | None = None  # of the picture, by letters: H W C, and T for stacked pictures; None: as its shape tells
    render: bool = False  # look at what the environment renders (rgb_array), not at what it observes
    bound: float | None = None  # how far a number of an action goes where the environment sets no end

    def __post_init__(self) -> None:
        for name, least in (("repeat", 1), ("max_steps", 1), ("noops", 0), ("stuck", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name} must be at least {least}, not {value}")
        if self.bound is not None and not 0 < self.bound < math.inf:
            raise ValueError(f"bound must be a number above 0, not {self.bound}")
        if self.render and (self.key or self.axes):
            raise ValueError("render looks at no observation: leave key and axes away, or render")
        if not 0 <= self.sticky < 1:
            raise ValueError(f"sticky must be a chance from 0 to below 1, not {self.sticky}")

    def refuse(self, names: tuple[str, ...], id: str) -> None:
        """Raise ValueError where one of these options is set, which the world `id` does not offer."""
        defaults: dict[str, Any] = {field.name: field.default for field in fields(self)}
        chosen = [name for name in names if getattr(self, name) != defaults[name]]
        if chosen:
            raise ValueError(f"{id} does not offer the option {chosen[0]}: leave it at {defaults[chosen[0]]}")
