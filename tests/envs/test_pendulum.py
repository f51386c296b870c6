"""The pendulum as vectors and as pictures."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from frmdn.envs.vector import make_slots
from frmdn.envs.worlds.pendulum import SIZE, angle, pendulum_spec, picture, scaled


def state(theta: np.ndarray | float, velocity: float = 0.0) -> np.ndarray:
    theta = np.asarray(theta)
    return np.stack([np.cos(theta), np.sin(theta), np.full_like(theta, velocity / 8)], -1).astype(np.float32)


@pytest.mark.parametrize("observation", ["state", "pixels"])
def test_gymnasium_accepts_it(observation: str) -> None:
    env = pendulum_spec(observation).make()  # type: ignore[arg-type]
    check_env(env.unwrapped if observation == "state" else env, skip_render_check=True)
    first, _ = env.reset(seed=3)
    assert env.observation_space.contains(first)


def test_the_world_is_the_official_one_in_our_units() -> None:
    """Same seed, same torques: same states, with the velocity in eighths, and the same rewards."""
    official, slots = gymnasium.make("Pendulum-v1"), make_slots(pendulum_spec("state"), 2)
    wanted, _ = official.reset(seed=11)
    found = slots.start(1, 11)
    rng = np.random.default_rng(0)
    for _ in range(20):
        np.testing.assert_allclose(found, scaled(wanted), atol=1e-7)
        torque = rng.uniform(-2, 2, (1, 1)).astype(np.float32)
        wanted, reward, *_ = official.step(torque[0])
        step = slots.step(np.array([1]), torque)
        found = step.frames[0]
        assert step.rewards[0] == pytest.approx(reward) and found.dtype == np.float32


def test_pixels_are_the_picture_of_the_state() -> None:
    vectors, pictures = (make_slots(pendulum_spec(o), 1) for o in ("state", "pixels"))  # type: ignore[arg-type]
    seen, shown = vectors.start(0, 5), pictures.start(0, 5)
    for _ in range(5):
        np.testing.assert_array_equal(shown, picture(seen))
        torque = np.full((1, 1), 1.5, np.float32)
        seen, shown = (slots.step(np.array([0]), torque).frames[0] for slots in (vectors, pictures))


@pytest.mark.parametrize(
    ("theta", "row", "column"),
    [(0.0, 1.1, 7.5), (np.pi, 13.9, 7.5), (np.pi / 2, 7.5, 1.1), (-np.pi / 2, 7.5, 13.9)],  # up, down, left, right
)
def test_the_rod_points_where_gymnasium_draws_it(theta: float, row: float, column: float) -> None:
    frame = picture(state(theta))[..., 0].astype(float)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    middle = ((SIZE - 1) / 2 + np.array([row, column])) / 2  # of the rod, between its pivot and its tip (row, column)
    weight = frame / frame.sum()
    np.testing.assert_allclose([(rows * weight).sum(), (columns * weight).sum()], middle, atol=0.6)


def test_pictures_change_smoothly_and_tell_angles_apart() -> None:
    angles = np.linspace(-np.pi, np.pi, 361)
    frames = picture(state(angles)).reshape(361, -1).astype(float)
    assert frames.max() == 255 and (frames == 0).mean() > 0.5
    near = np.abs(np.diff(frames, axis=0)).max()
    assert 0 < near < 40  # one degree moves no pixel by more than a sixth of its range
    np.testing.assert_array_equal(frames[0], frames[-1])
    apart = np.abs(frames[:-1, None] - frames[None, :-1]).mean(-1)
    assert apart[np.abs(np.subtract.outer(np.arange(360), np.arange(360))) == 180].min() > 5
    brightness = frames.sum(1)  # antialiased: the rod keeps its size however it lies
    assert brightness.std() / brightness.mean() < 0.02


def test_velocity_is_not_in_the_picture() -> None:
    np.testing.assert_array_equal(picture(state(1.0, 0.0)), picture(state(1.0, 7.0)))


def test_angle_is_the_arctangent() -> None:
    theta = np.linspace(-3.0, 3.0, 13)
    np.testing.assert_allclose(angle(state(theta)), theta, atol=1e-6)


def test_another_observation_is_refused() -> None:
    with pytest.raises(ValueError, match="observation"):
        pendulum_spec("sound")  # type: ignore[arg-type]
