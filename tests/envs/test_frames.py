"""FramePipe and FrameEnv: pixels averaged by area, actions repeated, rewards added up."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

from frmdn.envs import CountingEnv, FrameEnv, FramePipe, WorldConfig, counting_spec, get_spec, read_frame
from frmdn.envs.catalogue import check_world


def area(picture: np.ndarray, size: int) -> np.ndarray:
    """Area averaging by the definition: each output pixel is the mean of the input it covers."""

    def weights(n: int) -> np.ndarray:
        edges = np.arange(size + 1) * n / size
        cells = np.arange(n)
        overlap = np.minimum(edges[1:, None], cells + 1) - np.maximum(edges[:-1, None], cells)
        return np.clip(overlap, 0, None) * size / n

    return np.einsum("ih,hwc,jw->ijc", weights(picture.shape[0]), picture, weights(picture.shape[1]), optimize=True)


@pytest.mark.parametrize("shape", [(96, 96, 3), (96, 96, 1), (96, 96), (64, 64, 3), (64, 64), (240, 256, 3)])
@pytest.mark.parametrize("rows", [None, (0, 64)])
def test_frames_are_cropped_and_averaged(shape, rows):
    picture = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    channels = shape[2] if len(shape) == 3 else 1
    frame = FramePipe(64, channels, rows)(picture)
    assert frame.shape == (64, 64, channels) and frame.dtype == np.uint8
    kept = picture.reshape(*shape[:2], channels)[slice(*rows) if rows else slice(None)]
    np.testing.assert_allclose(frame, area(kept.astype(float), 64), atol=0.51)


@pytest.mark.parametrize(("height", "kept"), [(96, 84), (192, 168), (48, 42), (400, 350)])
def test_a_picture_of_another_height_is_cut_at_the_same_parts(height, kept):
    picture = np.zeros((height, 100, 3), np.uint8)
    picture[kept:] = 255  # what the world's own picture has below row 84 of 96
    assert not FramePipe(64, 3, (0, 84), height=96)(picture).any()
    picture[kept - 2 :] = 255
    assert FramePipe(64, 3, (0, 84), height=96)(picture).any()


@pytest.mark.parametrize("id", ["CarRacing-v3", "VizdoomTakeCover-v1"])
def test_worlds_that_cut_their_picture_say_how_high_it_is(id):
    """What is cut at other heights is cut at the part that the world's own picture is cut at."""
    spec = get_spec(id)
    try:
        inner = spec.build(max_episode_steps=1)
    except ImportError as missing:
        pytest.skip(str(missing))
    height = inner.observation_space.shape[0]
    inner.close()
    assert spec.height == height and spec.rows[1] <= height


@pytest.mark.parametrize(
    ("rows", "height"), [((5, 5), None), ((-1, 4), None), ((9, 3), 96), ((0, 97), 96), ((0, 1, 2), 96), ((3,), None)]
)
def test_rows_that_are_no_range_of_the_picture_are_refused(rows, height):
    with pytest.raises(ValueError, match="rows must be a first row and the row after the last one"):
        FramePipe(64, 3, rows, height)


def test_a_picture_too_low_to_be_cut_is_refused():
    with pytest.raises(ValueError, match=r"a picture of 1 rows is too low to keep rows 0 to 0: give a larger one"):
        FramePipe(64, 3, (0, 10), height=96)(np.zeros((1, 9, 3), np.uint8))


def test_a_batch_equals_its_frames_and_nothing_is_a_view():
    pictures = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    pipe = FramePipe()
    batch, single = pipe.batch(pictures), [pipe(p) for p in pictures]
    np.testing.assert_array_equal(batch, single)
    pictures[:] = 0
    assert batch.any() and single[0].any()


def test_a_picture_turned_around_in_memory_is_taken():
    picture = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    np.testing.assert_array_equal(FramePipe()(picture[..., ::-1]), FramePipe()(picture[..., ::-1].copy()))


def test_repeat_adds_rewards_and_stops_at_the_end():
    env = FrameEnv(CountingEnv(length=5), FramePipe(), repeat=3, seed=9)
    frame, _ = env.reset()
    assert read_frame(frame) == (9, 0)
    action = np.array([0.5, 0.0], np.float32)
    frame, reward, *ends, _ = env.step(action)
    assert (read_frame(frame), reward, ends) == ((9, 3), 0 + 1 + 2 + 3 * 0.25, [False, False])
    frame, reward, *ends, _ = env.step(action)
    assert (read_frame(frame), reward, ends) == ((9, 5), 3 + 4 + 2 * 0.25, [True, False])


def test_frames_are_what_the_environment_observes():
    env = FrameEnv(CountingEnv(), FramePipe(32), seed=0)
    assert env.unwrapped is env and isinstance(env, gymnasium.Env)
    assert env.reset()[0] in env.observation_space and env.observation_space.shape == (32, 32, 3)


def taken(sticky: float, seed: int, steps: int = 200) -> list[float]:
    """The actions 0, 1, 2, ... that the world really got, read from the spy's rewards."""
    env = FrameEnv(CountingEnv(length=steps, discrete=steps), FramePipe(), sticky=sticky)
    env.reset(seed=seed)
    return [2 * (env.step(t)[1] - t) for t in range(steps)]


def test_a_sticky_action_is_the_one_before_as_often_as_asked_for():
    assert taken(0.0, 1) == list(range(200))
    got = taken(0.25, 1)
    assert got[0] == 0.0  # nothing was before the first
    stuck = [t for t in range(1, 200) if got[t] != t]
    assert all(got[t] == got[t - 1] for t in stuck) and 30 < len(stuck) < 70
    assert got == taken(0.25, 1) != taken(0.25, 2)


def test_a_pooled_frame_is_the_brighter_of_the_last_two_pictures():
    """Frame t of the spy has the low byte of t in its last band; with repeat 2 that of t - 1 or t is shown."""
    env = FrameEnv(CountingEnv(length=300), FramePipe(), repeat=2, pool=True)
    env.reset(seed=3)
    lows = [int(env.step(np.zeros(2, np.float32))[0][-1, 0, 0]) for _ in range(129)]
    assert lows[:3] == [2, 4, 6]
    assert lows[126:] == [254, 255, 2]  # of 253 and 254, 255 and 256, 257 and 258


def test_options_reach_the_environment_and_leave_its_own_painter():
    world = WorldConfig(repeat=4, sticky=0.25, pool=True, max_steps=30)
    spec = get_spec("CarRacing-v3", world=world)
    assert (spec.repeat, spec.max_steps, spec.painted, spec.world) == (4, 30, False, world)
    env = spec.make()
    assert (env.repeat, env.sticky, env.pool) == (4, 0.25, True)
    env.close()
    assert get_spec("CarRacing-v3").painted and counting_spec().world == WorldConfig()


def test_an_option_that_a_world_does_not_offer_is_named():
    with pytest.raises(ValueError, match="CarRacing-v3 does not offer the option actions"):
        check_world("CarRacing-v3", WorldConfig(actions="simple"))
    with pytest.raises(ValueError, match="sticky must be a chance"):
        WorldConfig(sticky=1.0)


def test_an_episode_does_not_begin_with_the_last_action_or_picture_of_the_one_before():
    """With nearly certain stickiness the first action of every episode is still its own."""
    env = FrameEnv(CountingEnv(length=3, discrete=9), FramePipe(), sticky=0.999, pool=True)
    for seed in range(8):
        frame, _ = env.reset(seed=seed)
        assert read_frame(frame) == (seed, 0)
        shown, reward, *_ = env.step(seed + 1 if seed < 8 else 0)
        assert reward == 0 + 0.5 * (seed + 1)  # the action that was asked for
        assert read_frame(shown) == (seed, 1)  # the brighter of frames 0 and 1 of this episode, of no other
        for _ in range(2):
            assert env.step(0)[1] % 1 == 0.5 * (seed + 1) % 1  # and from then on it sticks


def test_the_sticky_numbers_of_an_episode_come_from_its_own_seed():
    """Not from where the episode before left them: one environment that is reused equals a new one."""
    env = FrameEnv(CountingEnv(length=40, discrete=40), FramePipe(), sticky=0.25)

    def episode(seed: int) -> list[float]:
        env.reset(seed=seed)
        return [env.step(t)[1] for t in range(40)]

    first, other = episode(1), episode(2)
    assert episode(1) == first != other
