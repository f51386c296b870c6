"""Environments as people have them, seen and played through `get_spec`: which picture is seen, which action arrives."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple

from frmdn.envs import FramePipe, WorldConfig, get_spec, make_slots
from frmdn.envs.adapters.actions import MOST

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (50, 70, 3), dtype=np.uint8)
OTHER = RNG.integers(0, 256, (50, 70, 3), dtype=np.uint8)
GREY = COLOUR[..., 0].copy()
STACK = np.stack([OTHER[..., 0], OTHER[..., 1], OTHER[..., 2], GREY])  # the newest picture is the last one
ALPHA = np.dstack([COLOUR, GREY])
U8, F32 = np.uint8, np.float32


class Given(gymnasium.Env):
    """Has the spaces that it is given, shows always the same, and keeps the actions that arrive."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 5}  # noqa: RUF012

    def __init__(self, space, shown, actions=None, render_mode=None) -> None:
        self.observation_space, self.shown, self.render_mode = space, shown, render_mode
        self.action_space = Discrete(2) if actions is None else actions
        self.taken: list[Any] = []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.shown, {}

    def step(self, action):
        assert self.action_space.contains(action), f"{action!r} is not in {self.action_space}"
        self.taken.append(action)
        return self.shown, 1.0, False, False, {}

    def render(self):
        return COLOUR if self.render_mode == "rgb_array" else None


class Silent(Given):
    """Knows no render_mode, as many small environments do."""

    def __init__(self, space, shown) -> None:
        super().__init__(space, shown)


Register = Callable[..., str]


@pytest.fixture
def register():
    ids: list[str] = []

    def add(space, shown, actions=None, entry_point=Given, **more) -> str:
        ids.append(f"Given{len(ids)}-v0")
        kwargs = {"space": space, "shown": shown} | ({} if actions is None else {"actions": actions})
        gymnasium.register(ids[-1], entry_point=entry_point, kwargs=kwargs, **more)
        return ids[-1]

    yield add
    for id in ids:
        del gymnasium.registry[id]


def seen(spec) -> np.ndarray:
    """The first frame, of a description that went through pickle as to a worker."""
    slots = make_slots(pickle.loads(pickle.dumps(spec)), 1)
    frame = slots.start(0, seed=1)
    after = slots.step(np.array([0]), spec.action.sample(np.random.default_rng(0), 1)).frames[0]
    np.testing.assert_array_equal(frame, after)
    slots.close()
    return frame


IN_COLOUR, IN_GREY = FramePipe()(COLOUR), FramePipe(64, 1)(GREY)
KINDS = {
    "channels first": (Box(0, 255, (3, 50, 70), U8), COLOUR.transpose(2, 0, 1), {}, IN_COLOUR),
    "grey first": (Box(0, 255, (1, 50, 70), U8), GREY[None], {}, IN_GREY),
    "stacked grey": (Box(0, 255, (4, 50, 70), U8), STACK, {}, IN_GREY),
    "stacked grey, last": (Box(0, 255, (50, 70, 4), U8), STACK.transpose(1, 2, 0), {"axes": "HWT"}, IN_GREY),
    "five stacked, last": (Box(0, 255, (50, 70, 5), U8), np.dstack([GREY] * 5), {}, IN_GREY),
    "three grey": (Box(0, 255, (3, 50, 70), U8), STACK[1:], {"axes": "THW"}, IN_GREY),
    "stacked colours": (Box(0, 255, (2, 50, 70, 3), U8), np.stack([OTHER, COLOUR]), {}, IN_COLOUR),
    "stacked, channels first": (
        Box(0, 255, (2, 3, 50, 70), U8),
        np.stack([OTHER, COLOUR]).transpose(0, 3, 1, 2),
        {},
        IN_COLOUR,
    ),
    "RGBA": (Box(0, 255, (50, 70, 4), U8), ALPHA, {"axes": "HWC"}, IN_COLOUR),
    "lying": (Box(0, 255, (70, 50, 3), U8), COLOUR.transpose(1, 0, 2), {"axes": "WHC"}, IN_COLOUR),
    "0 to 1": (Box(0, 1, (50, 70, 3), F32), (COLOUR / 255).astype(F32), {}, IN_COLOUR),
    "-1 to 1": (Box(-1, 1, (3, 50, 70), F32), (COLOUR / 127.5 - 1).transpose(2, 0, 1).astype(F32), {}, IN_COLOUR),
    "0 to 255 in float": (Box(0, 255, (50, 70, 3), F32), COLOUR.astype(F32), {}, IN_COLOUR),
    "0 to 5": (
        Box(0, 5, (64, 64), U8),
        np.tile(np.arange(64, dtype=U8) % 6, (64, 1)),
        {},
        np.tile(np.arange(64, dtype=U8) % 6 * 51, (64, 1))[..., None],
    ),
    "key": (
        Dict(a=Box(0, 9, (4,)), image=Box(0, 255, (50, 70, 3), U8)),
        {"a": np.ones(4, F32), "image": COLOUR},
        {"key": "image"},
        IN_COLOUR,
    ),
    "keys": (
        Dict(eye=Dict(left=Box(0, 1, (3, 50, 70), F32))),
        {"eye": {"left": (COLOUR / 255).transpose(2, 0, 1).astype(F32)}},
        {"key": "eye.left"},
        IN_COLOUR,
    ),
    "tuple": (
        Tuple((Discrete(3), Dict({"a.b": Box(0, 255, (50, 70), U8)}))),
        (1, {"a.b": GREY}),
        {"key": "1.a.b"},
        IN_GREY,
    ),
    "state": (Box(-np.inf, np.inf, (4,)), np.zeros(4, F32), {"render": True}, IN_COLOUR),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_right_picture_is_seen(kind: str, register: Register) -> None:
    space, shown, options, frame = KINDS[kind]
    spec = get_spec(register(space, shown), world=WorldConfig(**options))
    assert spec.channels == frame.shape[2] and spec.world == WorldConfig(**options)
    np.testing.assert_allclose(seen(spec).astype(int), frame, atol=1)


@pytest.mark.parametrize(
    ("space", "options", "message"),
    [
        (Box(0, 255, (50, 70, 4), U8), {}, "axes are not clear: name them, e.g. --set world.axes=HWC"),
        (Box(0, 255, (50, 70, 12), U8), {}, "axes are not clear"),
        (Box(0, 255, (6, 50, 70), U8), {}, "axes are not clear"),
        (Box(0, 255, (50, 70, 80), U8), {}, "pictures are needed"),
        (Box(0, 255, (50, 70, 3), U8), {"axes": "HW"}, "axes must be 3 letters"),
        (Box(0, 255, (50, 70, 3), U8), {"axes": "HWX"}, "axes must be 3 letters"),
        (Box(0, 255, (50, 70, 3), U8), {"axes": "HCT"}, "axes must be 3 letters"),
        (Box(0, 255, (50, 70, 3), U8), {"axes": "CWH"}, "not 50"),
        (Box(0, 255, (50, 70, 3), U8), {"key": "image"}, "no observation 'image' .*none, for it observes no names"),
        (Dict(a=Discrete(2), b=Box(0, 255, (5, 5, 3), U8)), {}, "observes a, b: .* --set world.key=b"),
        (Dict(a=Discrete(2), b=Box(0, 255, (5, 5, 3), U8)), {"key": "c"}, "choose of a, b"),
        (Dict(a=Discrete(2), b=Box(0, 255, (5, 5, 3), U8)), {"key": "a"}, "holds no picture: --set world.render=true"),
        (Box(-np.inf, np.inf, (50, 70, 3), F32), {}, "no bounds .*declare them"),
        (Box(-1, 1, (4,)), {}, "pictures are needed.*--set world.render=true"),
        (Discrete(7), {}, "holds no picture: --set world.render=true"),
    ],
)
def test_what_is_not_clear_is_refused_with_the_remedy(space, options, message, register: Register) -> None:
    id = register(space, None)
    with pytest.raises(ValueError, match=f"'{id}': .*{message}"):
        get_spec(id, world=WorldConfig(**options))


@pytest.mark.parametrize(
    ("space", "shown", "message"),
    [
        (Box(0, 1, (3, 50, 70), F32), COLOUR.transpose(2, 0, 1), "reaches from 0 to 255, but 0 to 1 are declared"),
        (Box(0, 1, (50, 70, 3), F32), np.full((50, 70, 3), np.nan), "reaches from nan"),
        (Box(0, 255, (50, 70, 3), F32), (COLOUR / 255).astype(F32), "of 255 declared"),
        (Box(0, 255, (4, 50, 70), U8), STACK[:2], r"shape \(2, 50, 70\), not the declared \(4, 50, 70\)"),
        (Box(0, 255, (3, 50, 70), U8), COLOUR, r"shape \(50, 70, 3\), not the declared"),
        (Box(0, 255, (3, 50, 70), U8), GREY, "not the declared"),
    ],
)
def test_what_is_shown_is_what_was_declared(space, shown, message, register: Register) -> None:
    id = register(space, shown)
    with pytest.raises(ValueError, match=f"'{id}': .*{message}"):
        seen(get_spec(id))


ACTIONS: dict[str, tuple[Any, float | None, list[tuple[list[float], Any]]]] = {
    "MultiDiscrete": (MultiDiscrete([2, 3]), None, [([0, 0, 0, 0, 1, 0], [1, 1]), ([0, 0, 1, 0, 0, 0], [0, 2])]),
    "with a start": (MultiDiscrete([2, 2], start=[5, -1]), None, [([0, 1, 0, 0], [5, 0]), ([0, 0, 1, 0], [6, -1])]),
    "many": (
        MultiDiscrete([11, 11, 2]),
        None,
        [([0, 0.5, 1], [0, 5, 1]), ([1, 0.999, 0.49], [10, 10, 0]), ([7, -7, 0.5], [10, 0, 1])],
    ),
    "MultiBinary": (MultiBinary(2), None, [([0, 1, 0, 0], [0, 1]), ([0, 0, 1, 0], [1, 0])]),
    "many buttons": (MultiBinary(8), None, [([1, 0, 0, 0.6, 0.4, 0, 0, 1], [1, 0, 0, 1, 0, 0, 0, 1])]),
    "in a square": (MultiBinary([2, 2]), None, [([0] * 6 + [1] + [0] * 9, [[0, 1], [1, 0]])]),
    "whole numbers": (Box(1, 3, (2,), np.int64), None, [([0, 0, 0, 1, 0, 0, 0, 0, 0], [2, 1])]),
    "unbounded": (Box(-np.inf, np.inf, (2,)), 3.0, [([9, -9], [3, -3]), ([0.5, 0], [0.5, 0])]),
    "half bounded": (
        Box(np.float32([0, -np.inf]), np.float32([np.inf, 1])),
        4.0,
        [([9, -9], [4, -4]), ([-1, 2], [0, 1])],
    ),
    "a matrix": (Box(-1, 1, (2, 2), np.float64), None, [([0.5, 1, -0.25, 9], [[0.5, 1], [-0.25, 1]])]),
    "one number": (Box(-1, 1, (), F32), None, [([0.5], 0.5)]),
}


@pytest.mark.parametrize("kind", ACTIONS)
def test_the_right_action_arrives(kind: str, register: Register) -> None:
    """Of vectors as controllers make them, through the slots of a run; the environment checks the type."""
    space, bound, pairs = ACTIONS[kind]
    spec = get_spec(register(Box(0, 255, (50, 70, 3), U8), COLOUR, space), world=WorldConfig(bound=bound))
    slots = make_slots(pickle.loads(pickle.dumps(spec)), 1)
    slots.start(0, seed=1)
    for vector, _ in pairs:
        slots.step(np.array([0]), np.array([vector], F32))
    taken = slots._envs[0].inner.unwrapped.taken
    for got, (_, wanted) in zip(taken, pairs, strict=True):
        np.testing.assert_allclose(got, wanted)


@pytest.mark.parametrize("kind", [kind for kind in ACTIONS if "bounded" not in kind])
def test_every_action_is_within_reach(kind: str, register: Register) -> None:
    """Random vectors play all the choices that there are, and each of them equally often."""
    space, bound, _ = ACTIONS[kind]
    spec = get_spec(register(Box(0, 255, (50, 70, 3), U8), COLOUR, space), world=WorldConfig(bound=bound))
    env = spec.make()
    env.reset(seed=0)
    for vector in spec.action.sample(np.random.default_rng(0), 2000):
        env.step(spec.action.to_env(vector))
    taken = np.array(env.inner.unwrapped.taken, float).reshape(2000, -1)
    wanted = np.array([np.asarray(space.sample(), float).ravel() for _ in range(2000)])
    np.testing.assert_allclose(taken.mean(0), wanted.mean(0), atol=0.12 * np.ptp(wanted, 0).max())
    if spec.action.kind == "discrete":
        assert len({tuple(row) for row in taken}) == spec.action.n <= MOST


@pytest.mark.parametrize(
    ("space", "bound", "message"),
    [
        (Box(-np.inf, np.inf, (2,)), None, "without an end: .*--set world.bound=1"),
        (Box(-1, 1, (2,)), 2.0, "which has ends: leave world.bound away"),
        (Discrete(3), 2.0, "which has ends: leave world.bound away"),
        (Box(5, np.inf, (1,)), 2.0, "must lie beyond"),
        (Tuple((Discrete(2), Discrete(2))), None, "write a gymnasium.ActionWrapper"),
        (Box(0, 2**40, (2,), np.int64), None, "not supported"),
    ],
)
def test_actions_that_are_not_clear_are_refused_with_the_remedy(space, bound, message, register: Register) -> None:
    id = register(Box(0, 255, (50, 70, 3), U8), COLOUR, space)
    with pytest.raises(ValueError, match=f"'{id}': .*{message}"):
        get_spec(id, world=WorldConfig(bound=bound))


def test_worlds_of_their_own_offer_none_of_it() -> None:
    for id in ("CarRacing-v3", "VizdoomTakeCover-v1", "SuperMarioBros-1-1-v0"):
        for option in ({"key": "image"}, {"axes": "CHW"}, {"render": True}, {"bound": 1.0}):
            with pytest.raises(ValueError, match=f"{id} does not offer the option {next(iter(option))}"):
                get_spec(id, world=WorldConfig(**option))
    with pytest.raises(ValueError, match="render looks at no observation"):
        WorldConfig(render=True, key="image")
    with pytest.raises(ValueError, match="bound must be a number above 0"):
        WorldConfig(bound=-1.0)


def test_the_time_limit_and_the_repeat_hold_behind_adapters(register: Register) -> None:
    id = register(Box(0, 1, (3, 50, 70), F32), KINDS["-1 to 1"][1] / 2 + np.float32(0.5), max_episode_steps=9)
    spec = get_spec(id, world=WorldConfig(repeat=2))
    slots = make_slots(spec, 1)
    slots.start(0, 1)
    steps = [slots.step(np.array([0]), np.eye(2, dtype=F32)[:1]) for _ in range(spec.max_steps)]
    assert [bool(step.truncated[0]) for step in steps] == [False] * 4 + [True]
    assert [float(step.rewards[0]) for step in steps] == [2.0] * 5  # the limit of the last one is its own, 10 steps


def test_one_that_knows_no_render_mode_is_made_and_played_without(register: Register) -> None:
    from frmdn.envs.vector import GymnasiumSlots

    id = register(Box(0, 255, (50, 70, 3), U8), COLOUR, entry_point=Silent)
    spec = get_spec(id)
    np.testing.assert_array_equal(seen(spec), IN_COLOUR)
    slots = GymnasiumSlots(spec, 1, render_mode="rgb_array")
    slots.start(0, 1)
    assert slots.picture(0) is None
    with pytest.raises(ValueError, match=f"'{id}': its class takes no render_mode"):
        get_spec(id, world=WorldConfig(render=True))


def test_what_is_rendered_must_be_pictures(register: Register) -> None:
    class Texts(Given):
        def render(self):
            return "a picture"

    id = register(Box(0, 1, (4,)), np.zeros(4), entry_point=Texts)
    with pytest.raises(ValueError, match=rf"'{id}': render\(\) gives a str"):
        get_spec(id, world=WorldConfig(render=True)).make().reset(seed=1)


def test_an_official_world_of_numbers_is_seen_as_it_renders(monkeypatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    spec = get_spec("CartPole-v1", world=WorldConfig(render=True))
    assert (spec.frame_shape, spec.action.n, spec.max_steps) == ((64, 64, 3), 2, 500)
    slots = make_slots(spec, 2)
    first, again = slots.start(0, 3), slots.start(1, 3)
    np.testing.assert_array_equal(first, again)
    for _ in range(8):
        step = slots.step(np.array([0, 1]), np.eye(2, dtype=F32))
    assert (step.frames[0] != step.frames[1]).any() and (step.frames[0] != first).any()
    slots.close()


def test_one_that_cannot_be_made_says_why(register: Register) -> None:
    def broken(**_):
        raise TypeError("no such engine")

    id = register(Box(0, 255, (50, 70, 3), U8), COLOUR, entry_point=broken)
    with pytest.raises(ValueError, match=f"'{id}': it cannot be made: no such engine"):
        get_spec(id)


class Old(Given):
    def reset(self):
        return self.shown


class OldStep(Given):
    def step(self, action):
        return self.shown, 1.0, False, {}


def test_environments_of_the_old_kind_are_refused_by_name(register: Register) -> None:
    box = Box(0, 255, (50, 70, 3), U8)
    id = register(box, COLOUR, entry_point=Old)
    with pytest.raises(ValueError, match=f"'{id}': reset must take seed and options by name; .*shimmy"):
        get_spec(id)
    id = register(box, COLOUR, entry_point=OldStep, max_episode_steps=20)
    with pytest.raises(ValueError, match=f"'{id}': step must return .* not a tuple of 4"):
        seen(get_spec(id))
