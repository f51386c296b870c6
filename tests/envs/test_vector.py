"""Slots: a seed names an episode, whatever the slot, its history, its neighbours or who paints it."""

from __future__ import annotations

import dataclasses

import gymnasium
import numpy as np
import pytest

from frmdn.envs import CountingEnv, counting_spec, get_spec, make_slots, read_frame

CAR = get_spec("CarRacing-v3")
PAINTERS = pytest.mark.parametrize("official", [False, True])


def actions(seed: int, steps: int) -> np.ndarray:
    """A gentle drive f32[steps,3] that stays on the field."""
    drawn = CAR.action.sample(np.random.default_rng(seed), steps)
    return drawn * np.array([0.4, 0.5, 0.1], np.float32)


def play(world, slot: int, seed: int, steps: int = 12):
    """(frames, rewards) of one slot driven alone."""
    frames, rewards = [world.start(slot, seed)], []
    for action in actions(seed, steps):
        step = world.step(np.array([slot]), action[None])
        frames.append(step.frames[0])
        rewards.append(step.rewards[0])
    return np.stack(frames), np.array(rewards)


@PAINTERS
def test_a_seed_names_an_episode(official):
    world = make_slots(CAR, 3, official=official)
    frames, rewards = play(world, 0, 5)
    play(world, 1, 77, steps=5)  # history, and left unfinished
    world.start(2, 3)  # a neighbour that never moves
    for slot in (0, 1):
        again = play(world, slot, 5)
        np.testing.assert_array_equal(again[0], frames)
        np.testing.assert_array_equal(again[1], rewards)
    assert (world.start(0, 6) != frames[0]).any()  # another seed is another track
    assert frames.shape == (13, 64, 64, 3) and frames.dtype == np.uint8
    world.close()


@PAINTERS
def test_slots_together_equal_slots_alone(official):
    world = make_slots(CAR, 3, official=official)
    alone = [play(world, 0, seed, steps=8) for seed in (1, 2, 3)]
    drive = np.stack([actions(seed, 8) for seed in (1, 2, 3)], 1)
    first = [world.start(slot, seed) for slot, seed in enumerate((1, 2, 3))]
    order = np.array([2, 0, 1])
    for t in range(8):
        step = world.step(order, drive[t][order])
        for row, slot in enumerate(order):
            np.testing.assert_array_equal(step.frames[row], alone[slot][0][t + 1])
            assert step.rewards[row] == alone[slot][1][t]
    np.testing.assert_array_equal(first, [frames[0] for frames, _ in alone])


@PAINTERS
@pytest.mark.parametrize("repeat", [1, 4])
def test_the_time_limit_truncates_and_then_start_is_needed(official, repeat):
    world = make_slots(dataclasses.replace(CAR, max_steps=3, repeat=repeat), 2, official=official)
    world.start(1, 0)
    ends, total = [], 0.0
    for _ in range(3):
        step = world.step(np.array([1]), np.zeros((1, 3), np.float32))
        ends.append((step.terminated[0], step.truncated[0]))
        total += step.rewards[0]
    assert ends == [(False, False), (False, False), (False, True)]
    tiles = 2000 / (total + 0.1 * 3 * repeat)  # the car stands on two tiles of 1000 / N each, and time costs 0.1
    assert 150 < tiles < 450 and tiles == pytest.approx(round(tiles), abs=0.01)
    with pytest.raises(ValueError, match=r"slots \[1\] have no episode under way: call start"):
        world.step(np.array([1]), np.zeros((1, 3), np.float32))
    world.start(1, 0)
    assert not world.step(np.array([1]), np.zeros((1, 3), np.float32)).truncated[0]


@PAINTERS
def test_repeat_equals_the_steps_done_by_hand(official):
    by_hand, frames = make_slots(CAR, 1, official=official), []
    frames.append(by_hand.start(0, 4))
    rewards = np.zeros(3, np.float32)
    slot, drive = np.array([0]), actions(4, 3)
    for t in range(3):
        for _ in range(4):
            step = by_hand.step(slot, drive[t : t + 1])
            rewards[t] += step.rewards[0]
        frames.append(step.frames[0])
    world = make_slots(get_spec("CarRacing-v3", repeat=4), 1, official=official)
    np.testing.assert_array_equal(world.start(0, 4), frames[0])
    for t in range(3):
        step = world.step(slot, drive[t : t + 1])
        np.testing.assert_array_equal(step.frames[0], frames[t + 1])
        assert step.rewards[0] == pytest.approx(rewards[t], abs=1e-4)


@PAINTERS
def test_steps_own_their_frames(official):
    world = make_slots(CAR, 1, official=official)
    first = world.start(0, 1)
    kept, copy = [first], [first.copy()]
    for action in actions(0, 4):
        kept.append(world.step(np.array([0]), action[None]).frames)
        copy.append(kept[-1].copy())
    assert all(np.array_equal(a, b) for a, b in zip(kept, copy, strict=True))


@PAINTERS
@pytest.mark.parametrize(
    ("slots", "drive", "message"),
    [
        ([0, 1], [[0, 0, 0], [0, np.nan, 0]], r"slots \[1\] are NaN or infinite"),
        ([1], [[np.inf, 0, 0]], r"slots \[1\] are NaN or infinite"),
        ([0, 0], [[0, 0, 0], [0, 0, 0]], "distinct"),
        ([0], [[0, 0, 0], [0, 0, 0]], "one each"),
        ([2], [[0, 0, 0]], r"must lie in 0\.\.1"),
        ([-1], [[0, 0, 0]], r"must lie in 0\.\.1"),
        ([0], [[0, 0]], "vectors of 3"),
    ],
)
def test_bad_steps_are_refused_before_anything_moves(official, slots, drive, message):
    world = make_slots(CAR, 2, official=official)
    world.start(0, 1), world.start(1, 2)
    with pytest.raises(ValueError, match=message):
        world.step(np.array(slots), np.array(drive, np.float32))
    step = world.step(np.array([0]), actions(1, 1))  # the world has not moved, and still answers
    np.testing.assert_array_equal(step.frames[0], play(world, 0, 1, steps=1)[0][1])


@PAINTERS
def test_bad_starts_are_refused(official):
    world = make_slots(CAR, 1, official=official)
    for slot, seed, message in ((1, 0, "slot must"), (0, -1, "seed must"), (0, 2**31, "seed must")):
        with pytest.raises(ValueError, match=message):
            world.start(slot, seed)


def test_a_pipe_of_slots_mixes_nothing():
    world = make_slots(counting_spec(6, discrete=5), 4)
    rng = np.random.default_rng(0)
    seeds = [10, 20, 30, 40]
    step_of = dict.fromkeys(range(4), 0)
    for slot, seed in enumerate(seeds):
        assert read_frame(world.start(slot, seed)) == (seed, 0)
    for _ in range(60):
        slots = rng.permutation(4)[: rng.integers(1, 5)]
        vectors = world.spec.action.sample(rng, len(slots))
        step = world.step(slots, vectors)
        for row, slot in enumerate(slots):
            assert step.rewards[row] == step_of[slot] + 0.5 * vectors[row].argmax()
            step_of[slot] += 1
            assert read_frame(step.frames[row]) == (seeds[slot], step_of[slot])
            assert step.terminated[row] == (step_of[slot] == 6) and not step.truncated[row]
            if step.terminated[row]:
                step_of[slot], seeds[slot] = 0, seeds[slot] + 1
                world.start(slot, seeds[slot])


def test_a_world_with_a_painter_is_painted_unless_it_must_be_official():
    assert make_slots(CAR, 1).painter == "ours" and make_slots(CAR, 1, official=True).painter == "official"
    assert make_slots(counting_spec(), 1).painter == "official"
    assert make_slots(dataclasses.replace(CAR, painted=False), 1).painter == "official"


def test_no_slots_are_refused():
    with pytest.raises(ValueError, match="slots must be at least 1"):
        make_slots(CAR, 0)


def test_an_end_at_the_limit_is_a_termination():
    def build(max_episode_steps: int, render_mode: str | None = None) -> gymnasium.Env:
        return gymnasium.wrappers.TimeLimit(CountingEnv(max_episode_steps), max_episode_steps)  # says both at the end

    world = make_slots(dataclasses.replace(counting_spec(2), build=build), 1)
    world.start(0, 0)
    ends = [world.step(np.array([0]), np.zeros((1, 2), np.float32)) for _ in range(2)]
    assert [(bool(s.terminated[0]), bool(s.truncated[0])) for s in ends] == [(False, False), (True, False)]
