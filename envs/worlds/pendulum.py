"""Pendulum-v1 as vectors (cosine, sine, velocity / 8), or as pictures of 16 x 16 drawn from them."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import gymnasium
import numpy as np
from numpy.typing import NDArray

from ..frames import Frames
from ..spec import ActionCodec, EnvSpec, Vectors

ID = "Pendulum-v1"
LIMIT = 200  # steps of the world, its official time limit
MAX_TORQUE, MAX_SPEED = 2.0, 8.0  # newton metres, radians a second
SIZE = 16  # pixels of a picture's side
ROD, THICKNESS = 0.8, 0.16  # length and half the thickness of the rod, in halves of the picture's side
EDGE = 2.0 / SIZE  # the border between rod and background is one pixel wide


def pendulum_spec(observation: Literal["state", "pixels"] = "state", max_steps: int = LIMIT) -> EnvSpec:
    """The pendulum that shows f32[3] = (cos, sin, velocity / 8), or u8[16,16,1]; one torque in -2..2."""
    if observation not in ("state", "pixels"):
        raise ValueError(f"observation must be state or pixels, not {observation!r}")
    torque = ActionCodec("box", low=(-MAX_TORQUE,), high=(MAX_TORQUE,), rest=(0.0,))
    build, pixels = partial(build_pendulum, observation), observation == "pixels"
    return EnvSpec(ID, torque, build, frame_size=SIZE, channels=1, max_steps=max_steps, vector=0 if pixels else 3)


def build_pendulum(
    observation: str, *, max_episode_steps: int, render_mode: str | None = None
) -> gymnasium.Env[Any, Any]:
    """The official environment behind our observations; the physics, rewards and seeds are Gymnasium's."""
    env = gymnasium.make(ID, render_mode=render_mode, max_episode_steps=max_episode_steps, disable_env_checker=True)
    env = gymnasium.wrappers.TransformObservation(env, scaled, gymnasium.spaces.Box(-1.0, 1.0, (3,), np.float32))
    if observation == "state":
        return env
    space = gymnasium.spaces.Box(0, 255, (SIZE, SIZE, 1), np.uint8)
    return gymnasium.wrappers.TransformObservation(env, picture, space)


def scaled(observation: Vectors) -> Vectors:
    """(cos, sin, velocity) f32[*,3] of Gymnasium -> the same with the velocity in units of its bound, 8 rad/s."""
    return (observation / np.array([1.0, 1.0, MAX_SPEED])).astype(np.float32)


def picture(state: Vectors) -> Frames:
    """States (cos, sin, velocity / 8) f32[*,3] -> pictures u8[*,16,16,1]: a bright rod on black, angle 0 upright.

    The rod is a capsule from the pivot in the middle to its tip; a pixel is as bright as its distance to the rod's
    border says, fading over one pixel, so that the picture changes smoothly with the angle. Velocity is not in it.
    """
    state = np.asarray(state, np.float32)
    centres = ((np.arange(SIZE) + 0.5) * EDGE - 1).astype(np.float32)
    right, up = centres[None, :], -centres[:, None]  # row 0 is the top
    cosine, sine = state[..., 0, None, None], -state[..., 1, None, None]  # a positive angle leans to the left
    along = np.clip(right * sine + up * cosine, 0.0, ROD)  # the nearest point of the rod's axis
    distance = np.hypot(right - along * sine, up - along * cosine)
    cover = np.clip((THICKNESS - distance) / EDGE + 0.5, 0.0, 1.0)
    return np.rint(cover * 255).astype(np.uint8)[..., None]


def angle(state: NDArray[Any]) -> NDArray[Any]:
    """Angle in radians, -pi to pi and 0 upright, of states [*,3]: the arctangent of sine and cosine."""
    return np.arctan2(state[..., 1], state[..., 0])
