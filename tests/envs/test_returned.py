"""What an environment declares and what it returns may differ: converted where that is clear, else refused by name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest

from frmdn.envs import FrameEnv, FramePipe, counting_spec, make_slots
from frmdn.envs.worlds.pendulum import pendulum_spec

GREY = np.random.default_rng(0).integers(2, 256, (96, 80), dtype=np.uint8)
COLOUR = np.random.default_rng(1).integers(2, 256, (96, 80, 3), dtype=np.uint8)


class Odd(gymnasium.Env):
    """Declares three colours of uint8, and returns whatever it is told to."""

    observation_space = gymnasium.spaces.Box(0, 255, (96, 80, 3), np.uint8)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, shown: Any = COLOUR, *, began: Any = None, stepped: Any = None, **outcome: Any) -> None:
        self.shown = shown
        self.began = (shown, {}) if began is None else began
        outcome = {"reward": 1.0, "terminated": False, "truncated": False} | outcome
        self.stepped = (shown, *outcome.values(), {}) if stepped is None else stepped

    def reset(self, *, seed=None, options=None):
        return self.began

    def step(self, action):
        return self.stepped


def frame(env: Odd, channels: int = 3, **options: Any) -> np.ndarray:
    """The frame after one step, through memory that is full of 7s before."""
    seen = FrameEnv(env, FramePipe(64, channels), **options)
    seen.reset(seed=0)
    return seen.step(0)[0]


RIGHT = FramePipe()(COLOUR)


@pytest.mark.parametrize(
    "shown",
    [
        COLOUR.astype(np.int64),
        COLOUR.astype(np.float32),
        COLOUR.astype(np.float64),
        np.dstack([COLOUR, GREY]),  # the fourth channel says how opaque a pixel is
        COLOUR.tolist(),
    ],
    ids=["int64", "float32", "float64", "RGBA", "list"],
)
@pytest.mark.parametrize("pool", [False, True])
def test_a_picture_that_is_clear_is_the_right_frame(shown: Any, pool: bool) -> None:
    np.testing.assert_array_equal(frame(Odd(shown), pool=pool), RIGHT)


@pytest.mark.parametrize("shown", [GREY, GREY[..., None], GREY[..., None].astype(np.int32)], ids=["HW", "HW1", "int"])
def test_grey_where_colours_are_declared_is_three_equal_colours(shown: Any) -> None:
    np.testing.assert_array_equal(frame(Odd(shown)), np.repeat(FramePipe(64, 1)(GREY), 3, axis=2))


@pytest.mark.parametrize(
    ("shown", "channels", "message"),
    [
        (COLOUR / 255, 3, r"'Odd'.*float64 reaches from .* to 1, of 255 declared; return uint8"),
        (COLOUR.astype(np.int64) * 2, 3, "'Odd'.*int64 reaches from .* but 0 to 255 are declared"),
        (COLOUR - np.float32(50), 3, "'Odd'.*reaches from -"),
        (np.where(COLOUR > 9, COLOUR, np.nan), 3, "'Odd'.*reaches from nan"),
        (COLOUR > 9, 3, "'Odd'.*is bool"),
        (COLOUR.astype("U3"), 3, "'Odd'.*which is none"),
        (COLOUR.transpose(2, 0, 1), 3, r"'Odd'.*shape \(3, 96, 80\), but \(H, W, 3\) is declared"),
        (COLOUR, 1, r"'Odd'.*\(96, 80, 3\), but \(H, W\) or"),
        (np.dstack([COLOUR, GREY, GREY]), 3, "'Odd'.*shape"),
        (None, 3, "'Odd'.*which is none"),
    ],
)
@pytest.mark.parametrize("at", ["reset", "step"])
def test_any_other_picture_is_refused_by_name(shown: Any, channels: int, message: str, at: str) -> None:
    good = COLOUR if channels == 3 else GREY
    env = Odd(shown) if at == "reset" else Odd(shown, began=(good, {}))
    with pytest.raises(ValueError, match=message):
        frame(env, channels)


@pytest.mark.parametrize(
    ("picture", "channels"),
    [(COLOUR / 255, 3), (COLOUR.astype(np.float32), 3), (np.dstack([COLOUR, GREY]), 3), (COLOUR, 1), (GREY, 3)],
)
@pytest.mark.parametrize("size", [64, 80])
def test_a_pipe_never_leaves_a_frame_as_it_was(picture: np.ndarray, channels: int, size: int) -> None:
    out = np.full((size, size, channels), 7, np.uint8)
    with pytest.raises(ValueError, match="a picture must be uint8 of shape"):
        FramePipe(size, channels).into(picture[:80], out)
    with pytest.raises(ValueError, match="a picture of 96 rows is too low to keep rows 200 to 300"):
        FramePipe(size, channels, rows=(200, 300)).into(COLOUR, out)
    assert (out == 7).all()


@pytest.mark.parametrize("reward", [np.array([2.5]), np.array(2.5), np.float32(2.5), [[2.5]], np.array([[2.5]])])
def test_a_reward_of_one_number_is_that_number(reward: Any) -> None:
    env = FrameEnv(Odd(reward=reward), FramePipe(), repeat=2)
    env.reset(seed=0)
    _, total, *_ = env.step(0)
    assert total == 5.0 and type(total) is float


def test_ends_in_any_shape_are_ends() -> None:
    env = FrameEnv(Odd(terminated=np.array([True]), truncated=np.bool_(False)), FramePipe(), repeat=3)
    env.reset(seed=0)
    assert env.step(0)[1:4] == (1.0, True, False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reward": np.zeros(2)}, r"'Odd': reward must be one number, not \(2,\)"),
        ({"reward": None}, "'Odd': reward must be"),
        ({"reward": "much"}, "'Odd': reward must be a number, not 'much'"),
        ({"terminated": np.zeros(2, bool)}, "'Odd': terminated must be one number"),
        ({"stepped": (COLOUR, 1.0, False, {})}, r"'Odd': step must return .* not a tuple of 4; .*shimmy"),
        ({"began": COLOUR}, r"'Odd': reset must return \(observation, info\), not an array of shape"),
        ({"began": (COLOUR, COLOUR)}, "'Odd': reset must return"),
        ({"began": COLOUR[:2]}, "'Odd': reset must return"),  # would come apart into two
    ],
)
def test_what_is_not_clear_is_refused_by_name(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        frame(Odd(**options))


def test_pooled_pictures_are_copies_of_a_screen_that_is_drawn_into_for_ever() -> None:
    """Of an environment with one screen, the brighter of the last two pictures is not the last one twice."""

    class Blinking(Odd):
        def step(self, action):
            self.shown[:] = 255 - self.shown
            return self.shown, 0.0, False, False, {}

    screen = np.zeros((64, 64, 3), np.uint8)
    env = FrameEnv(Blinking(screen), FramePipe(), repeat=2, pool=True)
    env.reset(seed=0)
    assert all((env.step(0)[0] == 255).all() for _ in range(3))


def test_a_world_of_vectors_shows_as_many_numbers_as_it_says() -> None:
    """One number in place of three would be written three times."""
    spec = pendulum_spec()
    with pytest.raises(ValueError, match=r"'Pendulum-v1'.*shape \(1,\), not the declared \(3,\)"):
        make_slots(replace(spec, build=lambda **_: Odd(np.ones(1))), 1).start(0, 1)
    slots = make_slots(replace(spec, build=lambda **_: Odd(np.ones(3))), 1)
    assert slots.start(0, 1).shape == (3,)
    slots = make_slots(replace(spec, build=lambda **_: Odd(np.ones(3), reward=np.array([1.5]))), 1)
    slots.start(0, 1)
    assert slots.step(np.array([0]), np.zeros((1, 1), np.float32)).rewards[0] == 1.5


def test_the_worlds_of_this_program_need_no_conversion() -> None:
    slots = make_slots(counting_spec(5), 2)
    assert slots.start(1, 3).dtype == np.uint8
