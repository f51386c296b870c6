"""CarRacing-v3, as in World Models (Ha and Schmidhuber 2018, section 3): the picture without its bar, 64 x 64 x 3."""

from __future__ import annotations

import math
from functools import partial

from ..spec import ActionCodec, EnvSpec, build_gymnasium

ID = "CarRacing-v3"
LIMIT = 1000  # steps of the world, its official time limit


def car_racing_spec(repeat: int = 1) -> EnvSpec:
    """Steering -1..1, gas 0..1, brake 0..1; raw zero is straight on, half gas, no brake."""
    return EnvSpec(
        id=ID,
        action=ActionCodec("box", low=(-1.0, 0.0, 0.0), high=(1.0, 1.0, 1.0), rest=(0.0, 0.5, 0.0)),
        build=partial(build_gymnasium, ID),
        rows=(0, 84),  # below lies the bar with speed and score
        height=96,
        max_steps=math.ceil(LIMIT / repeat),
        repeat=repeat,
        idle_reward=-0.1 * repeat,
        painted=True,
    )
