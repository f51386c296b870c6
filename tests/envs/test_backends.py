"""EnvPool's CarRacing against Gymnasium's: tracks differ for a seed, all else that an agent meets must not.

The figures behind the tolerances are in docs/decisions/0003-envpool.md.
"""

from __future__ import annotations

import dataclasses
from importlib.util import find_spec

import numpy as np
import pytest

from frmdn.envs import Step, get_spec, make_slots

pytestmark = pytest.mark.skipif(find_spec("envpool") is None, reason="EnvPool is not installed")
CAR = get_spec("CarRacing-v3")
BACKENDS = ["envpool", pytest.param("gymnasium", marks=pytest.mark.slow)]
SLOT = np.array([0])


def pair():
    return make_slots(CAR, 1, "envpool"), make_slots(CAR, 1, "gymnasium")


def constant(world, seed: int, action: tuple[float, float, float], steps: int) -> list[Step]:
    """Hold one action until the end, or for some steps."""
    world.start(0, seed)
    seen: list[Step] = []
    while len(seen) < steps and not (seen and (seen[-1].terminated[0] or seen[-1].truncated[0])):
        seen.append(world.step(SLOT, np.array([action], np.float32)))
    return seen


def steer_to_road(frame: np.ndarray, row: int, gas: float) -> np.ndarray:
    """A slow driver f32[3]: steer to the middle of the grey pixels some way ahead, and coast in bends."""
    red, green, blue = np.moveaxis(frame[row : row + 6].astype(int), -1, 0)
    road = ((green - red < 40) & (abs(red - blue) < 30)).sum(0)
    middle = (road * np.arange(64)).sum() / max(road.sum(), 1) if road.any() else 31.5
    steer = float(np.clip((middle - 31.5) / 12, -1, 1))
    return np.array([steer, gas if abs(steer) < 0.5 else 0.0, 0.05 if abs(steer) > 0.7 else 0.0], np.float32)


def test_pictures_look_the_same():
    first = [np.stack([world.start(0, seed) for seed in range(8)]).astype(float) for world in pair()]
    np.testing.assert_allclose(first[0].mean((0, 1, 2)), first[1].mean((0, 1, 2)), rtol=0.05)
    assert np.abs(first[0].mean(0) - first[1].mean(0)).mean() < 6  # of 255; the tracks differ
    assert all(frames.mean() < 60 for frames in first)  # both begin zoomed out, with the dark around the field


def test_colours_are_red_green_blue_and_the_bar_is_gone():
    for world in pair():
        frame = constant(world, 3, (0.0, 0.0, 0.0), 60)[-1].frames[0].astype(int)  # after the zoom of the first second
        red, green, blue = np.moveaxis(frame, -1, 0)
        car = (red > 120) & (green < 80) & (blue < 80)
        assert 5 <= car.sum() <= 60 and not ((blue > 120) & (red < 80)).any()
        ys, xs = np.nonzero(car)
        assert 45 < ys.mean() < 60 and 29 < xs.mean() < 34
        assert frame[-3:].mean() > 60  # the bar below row 84 is black


def test_full_gas_on_the_straight_visits_tiles_at_the_same_steps():
    visits = []
    for world in pair():
        rewards = np.concatenate([step.rewards for step in constant(world, 3, (0.0, 1.0, 0.0), 70)])
        visits.append(np.flatnonzero(rewards > 0).tolist())
        assert rewards[rewards <= 0] == pytest.approx(-0.1, abs=1e-4)
        tiles = 1000 / (rewards[rewards > 0] + 0.1)
        assert tiles[1:] == pytest.approx(round(float(tiles[1])), abs=0.1)  # each is worth 1000 / N
        assert 2 * tiles[0] == pytest.approx(tiles[1], abs=0.1)  # at the start the car stands on two of them
    assert visits[0] == visits[1] and len(visits[0]) >= 12


@pytest.mark.parametrize("backend", BACKENDS)
def test_leaving_the_field_costs_a_hundred_and_terminates(backend):
    seen = constant(make_slots(CAR, 1, backend), 1, (0.0, 0.1, 0.0), 1000)
    assert (seen[-1].rewards[0], seen[-1].terminated[0], seen[-1].truncated[0]) == (-100.0, True, False)
    assert 440 < len(seen) < 455


def test_an_end_within_a_repeat_keeps_its_last_frame():
    by_hand = constant(make_slots(CAR, 1, "envpool"), 1, (0.0, 0.1, 0.0), 1000)
    whole, rest = divmod(len(by_hand), 4)
    assert rest  # the end lies inside a repeat, or this test says nothing
    seen = constant(make_slots(dataclasses.replace(CAR, repeat=4), 1, "envpool"), 1, (0.0, 0.1, 0.0), 1000)
    assert len(seen) == whole + 1 and seen[-1].terminated[0]
    assert seen[-1].rewards[0] == pytest.approx(-100 - 0.1 * (rest - 1), abs=1e-3)
    np.testing.assert_array_equal(seen[-1].frames, by_hand[-1].frames)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_idle_episode_is_truncated_after_a_thousand_steps(backend):
    seen = constant(make_slots(CAR, 1, backend), 0, (0.0, 0.0, 0.0), 2000)
    assert len(seen) == 1000 and seen[-1].truncated[0] and not seen[-1].terminated[0]
    rewards = np.concatenate([step.rewards for step in seen])
    assert rewards[1:] == pytest.approx(CAR.idle_reward, abs=1e-4)


@pytest.mark.parametrize(("backend", "row", "gas"), [("envpool", 30, 0.08), ("gymnasium", 40, 0.1)])
@pytest.mark.slow
def test_a_lap_terminates(backend, row, gas):
    world = make_slots(dataclasses.replace(CAR, max_steps=3000), 1, backend)
    frame, total, steps = world.start(0, 0), 0.0, 0
    while True:
        step = world.step(SLOT, steer_to_road(frame, row, gas)[None])
        frame, total, steps = step.frames[0], total + float(step.rewards[0]), steps + 1
        if step.terminated[0] or step.truncated[0]:
            break
    assert step.terminated[0] and not step.truncated[0]
    assert 950 < total + 0.1 * steps < 1000.1  # at least 95 % of the tiles, 1000 in all
