"""FramePipe and FrameEnv: pixels averaged by area, actions repeated, rewards added up."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

from envs import CountingEnv, FrameEnv, FramePipe, read_frame


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
