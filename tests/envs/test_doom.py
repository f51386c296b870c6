"""Doom TakeCover behind our interface: the real game, where the package is installed."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from frmdn.envs.catalogue import get_spec
from frmdn.envs.errors import MissingExtra
from frmdn.envs.vector import make_slots
from frmdn.envs.worlds.doom import TakeCover, take_cover_spec

needs_game = pytest.mark.skipif(find_spec("vizdoom") is None, reason="ViZDoom is not installed (extra doom)")
SPEC = get_spec("VizdoomTakeCover-v1")


def dodge(step: int) -> np.ndarray:
    return np.array([np.sin(step / 9)], np.float32)


def play(env: gymnasium.Env, seed: int, steps: int = 60) -> np.ndarray:
    frames = [env.reset(seed=seed)[0]]
    for step in range(steps):
        frame, _, terminated, truncated, _ = env.step(dodge(step))
        frames.append(frame)
        if terminated or truncated:
            break
    return np.stack(frames)


@pytest.fixture
def env() -> Iterator[gymnasium.Env]:
    env = SPEC.make()
    yield env
    env.close()


@needs_game
def test_gymnasium_has_nothing_to_say_about_it():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(SPEC.make(render_mode="rgb_array"), skip_render_check=False)


@needs_game
def test_an_episode_depends_on_its_seed_and_actions_alone(env):
    first = play(env, 5)
    assert not np.array_equal(first[: len(play(env, 6))], play(env, 6)[: len(first)])
    assert np.array_equal(first, play(env, 5))  # after other episodes
    other = SPEC.make()
    assert np.array_equal(first, play(other, 5))  # in another game
    other.close()


@needs_game
def test_steering_goes_the_way_it_says(env):
    """Held left and held right slide the picture in opposite directions; the middle third leaves it where it is."""

    def wall(steer: float) -> np.ndarray:
        env.reset(seed=1)
        for _ in range(12):
            frame = env.step(np.array([steer], np.float32))[0]
        return frame[5:25].astype(float).mean((0, 2))  # brightness along the back wall, f[64]

    def slide(moved: np.ndarray, still: np.ndarray) -> int:
        shifts = range(-8, 9)
        errors = [np.abs(np.roll(still, shift)[8:-8] - moved[8:-8]).mean() for shift in shifts]
        return shifts[int(np.argmin(errors))]

    still = wall(0.0)
    assert np.array_equal(still, wall(0.3))
    left, right = slide(wall(-1.0), still), slide(wall(1.0), still)
    assert left > 0 > right  # who goes left sees the wall go right


@needs_game
def test_every_tic_alive_is_worth_one_and_the_last_picture_is_no_black_one(env):
    env.reset(seed=2)
    rewards, frame, terminated = [], None, False
    while not terminated:
        frame, reward, terminated, truncated, _ = env.step(np.zeros(1, np.float32))
        rewards.append(reward)
        assert not truncated
    assert set(rewards) == {1.0} and 20 < len(rewards) < 2100  # who stands still is hit soon
    assert frame.mean() > 30


@needs_game
def test_the_published_limit_truncates():
    env = take_cover_spec(repeat=4).build(max_episode_steps=10)
    env.reset(seed=0)
    ends = [env.step(np.zeros(1, np.float32))[2:4] for _ in range(10)]
    env.close()
    assert ends == [(False, False)] * 9 + [(False, True)]


@needs_game
def test_slots_play_it_like_any_other_world():
    world = make_slots(SPEC, 2)
    first = world.start(0, 5)
    world.start(1, 6)
    step = world.step(np.array([0, 1]), np.stack([dodge(0), dodge(0)]))
    assert first.shape == (64, 64, 3) and step.rewards.tolist() == [1.0, 1.0]
    world.close()


@needs_game
def test_it_leaves_nothing_behind(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    env = TakeCover()
    env.reset(seed=0)
    env.close()
    env.close()  # twice is no mistake
    assert list(tmp_path.iterdir()) == []


@needs_game
def test_a_running_game_refuses_to_be_pickled_but_its_description_travels(env):
    with pytest.raises(TypeError, match="send the EnvSpec"):
        pickle.dumps(env.inner.unwrapped)
    assert pickle.loads(pickle.dumps(SPEC)) == SPEC


@needs_game
def test_an_action_that_is_no_number_is_named(env):
    env.reset(seed=0)
    with pytest.raises(ValueError, match="NaN"):
        env.step(np.array([np.nan], np.float32))


def test_a_missing_package_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "vizdoom", None)
    monkeypatch.setitem(__import__("sys").modules, "vizdoom.gymnasium_wrapper", None)
    with pytest.raises(MissingExtra, match=r"frmdn\[doom\]"):
        TakeCover()


def test_the_rows_that_the_agent_sees_are_those_between_ceiling_and_floor():
    """Of 240 rows, 88 to 183; the game is not needed to say so."""
    picture = np.zeros((240, 320, 3), np.uint8)
    picture[:88], picture[184:] = 255, 255  # what must not be seen
    frame = SPEC.pipe(picture)
    assert frame.shape == (64, 64, 3) and not frame.any()
    picture[88:90], picture[182:184] = 90, 60
    edges = SPEC.pipe(picture)
    assert edges[0].all() and edges[-1].all() and not edges[2:-2].any()
