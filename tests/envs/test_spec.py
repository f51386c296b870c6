"""EnvSpec and ActionCodec: what a world promises, and what is refused."""

from __future__ import annotations

import dataclasses
import pickle
import warnings

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

from frmdn.envs import ActionCodec, counting_spec, get_spec

CAR = get_spec("CarRacing-v3")
BOX = ActionCodec("box", low=(-2.0, 0.0), high=(2.0, 1.0), rest=(0.0, 0.25))
DISCRETE = ActionCodec("discrete", n=3, start=5)


class Stub(gymnasium.Env):
    """An environment that has spaces and nothing else."""

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self, observation_space, action_space, render_mode=None):
        self.observation_space, self.action_space, self.render_mode = observation_space, action_space, render_mode


@pytest.fixture
def register():
    """Register stubs under throw-away ids."""
    ids = []

    def add(observation_space, action_space, **limits):
        ids.append(f"FrmdnStub{len(ids)}-v0")
        spaces = {"observation_space": observation_space, "action_space": action_space}
        gymnasium.register(ids[-1], entry_point=Stub, kwargs=spaces, **limits)
        return ids[-1]

    yield add
    for id in ids:
        del gymnasium.registry[id]


def picture(*shape: int, dtype=np.uint8) -> gymnasium.spaces.Box:
    return gymnasium.spaces.Box(0, 255, shape, dtype)


def test_car_racing_is_the_one_of_world_models():
    assert (CAR.frame_shape, CAR.rows, CAR.max_steps, CAR.repeat) == ((64, 64, 3), (0, 84), 1000, 1)
    assert CAR.idle_reward == -0.1 and CAR.action.size == 3
    assert CAR.action == ActionCodec("box", (-1.0, 0.0, 0.0), (1.0, 1.0, 1.0), (0.0, 0.5, 0.0))
    four = get_spec("CarRacing-v3", repeat=4)
    assert (four.max_steps, four.idle_reward) == (250, -0.4)


def test_squash_rests_at_zero_and_reaches_both_ends():
    raw = torch.tensor([[0.0, 0.0], [50.0, 50.0], [-50.0, -50.0], [0.5, 0.5]], dtype=torch.float64)
    half = float(np.tanh(0.5))
    want = torch.tensor([[0.0, 0.25], [2.0, 1.0], [-2.0, 0.0], [2 * half, 0.25 + 0.75 * half]], dtype=torch.float64)
    torch.testing.assert_close(BOX.squash(raw), want)


def test_squash_works_inside_and_outside_of_inference_mode():
    codec = ActionCodec("box", low=(-3.0,), high=(3.0,), rest=(1.0,))
    with torch.inference_mode():
        codec.squash(torch.zeros(1, 1))
    raw = torch.zeros(1, 1, requires_grad=True)
    codec.squash(raw).sum().backward()
    assert raw.grad is not None and float(raw.grad) == pytest.approx(4.0)  # reach: from rest 1 to low -3


def test_discrete_codec_is_one_hot():
    raw = torch.tensor([[0.1, 0.3, 0.2]])
    assert DISCRETE.squash(raw).tolist() == [[0.0, 1.0, 0.0]]
    assert DISCRETE.to_env(np.array([0, 1, 0], np.float32)) == 6
    assert DISCRETE.from_env(7).tolist() == [0.0, 0.0, 1.0]


def test_an_action_of_the_world_is_clipped_or_refused():
    """What is stored of a policy's action is what the world plays of it."""
    assert BOX.from_env([9.0, -9.0]).tolist() == [2.0, 0.0]
    assert DISCRETE.from_env(np.array([6])).tolist() == DISCRETE.from_env(6.0).tolist() == [0.0, 1.0, 0.0]
    for action in (4, 8, -1, 5.9, "left", [5, 6], None):
        with pytest.raises(ValueError, match="none of this world's: 5 to 7"):
            DISCRETE.from_env(action)
    with pytest.raises(ValueError, match="NaN"):
        BOX.from_env([0.0, np.nan])
    with pytest.raises(ValueError, match="has 3 numbers"):
        BOX.from_env([0.0, 0.0, 0.0])


@pytest.mark.parametrize("codec", [BOX, DISCRETE, CAR.action], ids=["box", "discrete", "car"])
def test_samples_are_uniform_and_survive_the_round_trip(codec):
    drawn = codec.sample(np.random.default_rng(0), 4000)
    assert drawn.shape == (4000, codec.size) and drawn.dtype == np.float32
    native = codec.to_env_batch(drawn)
    np.testing.assert_array_equal([codec.from_env(a) for a in native], drawn)
    low, high = (np.array(codec.low), np.array(codec.high)) if codec.kind == "box" else (0.0, 2 / 3)
    np.testing.assert_allclose(drawn.mean(0), (low + high) / 2, atol=0.05 * np.max(high - low))
    if codec.kind == "box":
        np.testing.assert_allclose(drawn.min(0), low, atol=0.01)
        np.testing.assert_allclose(drawn.max(0), high, atol=0.01)
        np.testing.assert_allclose(drawn.var(0), (high - low) ** 2 / 12, rtol=0.1)


def test_to_env_clips_and_names_rows_with_nan():
    assert BOX.to_env(np.array([9.0, -9.0], np.float32)).tolist() == [2.0, 0.0]
    with pytest.raises(ValueError, match=r"NaN in rows \[1\]"):
        BOX.to_env_batch(np.array([[0, 0], [0, np.nan]], np.float32))
    with pytest.raises(ValueError, match="NaN"):
        BOX.squash(torch.tensor([[0.0, float("nan")]]))
    with pytest.raises(ValueError, match="vectors of 2"):
        BOX.to_env_batch(np.zeros((1, 3), np.float32))


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "box", "low": (0.0,), "high": (1.0,), "rest": (2.0,)},
        {"kind": "box", "low": (0.0,), "high": (float("inf"),), "rest": (0.0,)},
        {"kind": "box", "low": (0.0,), "high": (1.0,)},
        {"kind": "discrete", "n": 0},
        {"kind": "dial", "n": 2},
    ],
)
def test_impossible_codecs_are_refused(fields):
    with pytest.raises(ValueError, match="codec needs"):
        ActionCodec(**fields)


def test_a_box_of_no_numbers_is_a_world_in_which_nobody_acts():
    nobody = ActionCodec("box")
    assert nobody.size == 0 and nobody.squash(torch.zeros(3, 0)).shape == (3, 0)
    assert nobody.to_env_batch(np.zeros((3, 0), np.float32)).shape == (3, 0)
    assert nobody.sample(np.random.default_rng(0), 5).shape == (5, 0)


@pytest.mark.parametrize(
    ("id", "near"),
    [("CarRacing-v2", "CarRacing-v3"), ("CarRacing", "CarRacing-v3"), ("carracing-v3", "CarRacing-v3")],
)
def test_unknown_ids_come_with_near_names(id, near):
    with pytest.raises(ValueError, match=f"{id}' is unknown.*{near}"):
        get_spec(id)


@pytest.mark.parametrize("id", ["SuperLuigi-1-1-v0", ""])
def test_worlds_of_other_packages_are_unknown(id):
    with pytest.raises(ValueError, match="unknown"):
        get_spec(id)


@pytest.mark.parametrize(("shape", "channels"), [((40, 50, 3), 3), ((40, 50, 1), 1), ((40, 50), 1)])
def test_any_picture_world_gets_a_spec(register, shape, channels):
    box = gymnasium.spaces.Box(-1.0, 3.0, (2,), np.float32)
    spec = get_spec(register(picture(*shape), box, max_episode_steps=70), repeat=4)
    assert (spec.channels, spec.max_steps, spec.repeat, spec.painted) == (channels, 18, 4, False)
    assert spec.action == ActionCodec("box", (-1.0, -1.0), (3.0, 3.0), (1.0, 1.0))


def test_a_world_without_limit_gets_one(register):
    spec = get_spec(register(picture(9, 9, 3), gymnasium.spaces.Discrete(2)))
    assert spec.max_steps == 1000 and spec.action.kind == "discrete"


@pytest.mark.parametrize(
    ("observation", "action", "message"),
    [
        (picture(4), gymnasium.spaces.Discrete(2), "pictures are needed"),
        (picture(9, 9, 4), gymnasium.spaces.Discrete(2), "axes are not clear: .* world.axes=HWC"),
        (picture(9, 9, 3), gymnasium.spaces.Box(-np.inf, 1, (2,)), "without an end: .* world.bound=1"),
        (picture(9, 9, 3), gymnasium.spaces.Text(4), "not supported: write a gymnasium.ActionWrapper"),
        (picture(9, 9, 3), gymnasium.spaces.Box(0, 0, (2,)), "finite low < high"),
    ],
)
def test_other_spaces_are_refused(register, observation, action, message):
    id = register(observation, action)
    with pytest.raises(ValueError, match=f"'{id}': .*{message}"):
        get_spec(id)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (gymnasium.spaces.MultiDiscrete([2, 2]), "not supported"),
        (gymnasium.spaces.Box(-1, 1, (2, 2)), "1-D"),
        (gymnasium.spaces.Box(0, 3, (2,), np.int64), "of floats"),
        (gymnasium.spaces.Box(-np.inf, 1, (2,)), "infinite bounds"),
    ],
)
def test_a_codec_is_of_two_kinds_of_spaces_only(space, message):
    with pytest.raises(ValueError, match=message):
        ActionCodec.from_space(space)


@pytest.mark.parametrize("spec", [CAR, counting_spec(20), counting_spec(20, discrete=3)], ids=lambda s: s.id)
def test_gymnasium_approves(spec, monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    env = spec.make(seed=3)
    monkeypatch.setattr(env, "metadata", {**env.metadata, "render_modes": ["rgb_array"]})
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # the class of Gymnasium's own warnings
        check_env(env)
    env.close()


@pytest.mark.parametrize("spec", [CAR, counting_spec(4)], ids=["car", "counting"])
def test_specs_travel_to_workers(spec):
    other = pickle.loads(pickle.dumps(spec))
    first, second = spec.make(seed=7).reset()[0], other.make(seed=7).reset()[0]
    np.testing.assert_array_equal(first, second)
    assert first.any()


def test_make_seeds_the_first_reset_only():
    env, other = CAR.make(seed=11), CAR.make(seed=12)
    first, again = env.reset()[0], env.reset()[0]
    np.testing.assert_array_equal(first, CAR.make().reset(seed=11)[0])
    assert (first != again).any() and (first != other.reset()[0]).any()


def test_a_replaced_limit_holds():
    env = dataclasses.replace(CAR, max_steps=3, repeat=2).make()
    env.reset()
    ends = [env.step(np.zeros(3, np.float32))[2:4] for _ in range(3)]
    assert ends == [(False, False), (False, False), (False, True)]


@pytest.mark.parametrize("change", [{"max_steps": 0}, {"repeat": 0}, {"frame_size": 0}, {"channels": 4}])
def test_impossible_specs_are_refused(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        dataclasses.replace(CAR, **change)
