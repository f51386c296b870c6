"""Vectors through the whole pipe, Ornstein-Uhlenbeck torques, and batches that are functions of the step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from frmdn.agent.state_space import Trajectories
from frmdn.envs.spec import ActionCodec
from frmdn.envs.vector import make_slots
from frmdn.envs.worlds.pendulum import pendulum_spec, picture
from frmdn.rollouts.collect import CollectConfig, collect
from frmdn.rollouts.episodes.episode import Episode, decode_episode, encode_episode
from frmdn.rollouts.episodes.store import EpisodeStore
from frmdn.rollouts.job import Job
from frmdn.rollouts.policy import OrnsteinUhlenbeckPolicy
from frmdn.rollouts.trajectories import TrajectoryBatches, read_trajectories

BOX = ActionCodec("box", low=(-2.0,), high=(2.0,), rest=(0.0,))


def filled(folder: Path, count: int = 5, slots: int = 4, steps: int = 7) -> EpisodeStore:
    store = EpisodeStore(folder)
    collect(pendulum_spec("state", steps), CollectConfig(count, policy="ou", slots=slots), store, seed=1, workers=0)
    return store


def test_trajectories_are_those_of_the_world(tmp_path: Path) -> None:
    """Played again in the environment, the stored torques give the stored states and rewards."""
    store = filled(tmp_path)
    data = read_trajectories(store, range(5))
    assert data.observations.shape == (5, 8, 3) and data.controls.shape == (5, 7, 1) and data.rewards.shape == (5, 7)
    world = make_slots(pendulum_spec("state"), 1)
    found = [world.start(0, store.summary(2).seed)]
    for t in range(7):
        step = world.step(np.array([0]), data.controls[2, t].numpy()[None])
        found.append(step.frames[0])
        assert step.rewards[0] == data.rewards[2, t]
    np.testing.assert_array_equal(np.stack(found), data.observations[2].numpy())


def test_a_trajectory_does_not_depend_on_slots_or_interruptions(tmp_path: Path) -> None:
    one = read_trajectories(filled(tmp_path / "a", count=5, slots=5), range(5))
    filled(tmp_path / "b", count=2, slots=1)
    two = read_trajectories(filled(tmp_path / "b", count=5, slots=2), range(5))
    assert all(torch.equal(a, b) for a, b in zip(one[:3], two[:3], strict=True))


def test_pictures_are_drawn_from_the_stored_states(tmp_path: Path) -> None:
    store = filled(tmp_path, count=2)
    data = read_trajectories(store, [1], view=picture)
    expected = picture(store.read(1).frames).reshape(8, -1) / 255.0
    np.testing.assert_allclose(data.observations[0].numpy(), expected, atol=1e-6)


def test_lengths_must_agree(tmp_path: Path) -> None:
    store = filled(tmp_path, count=1)
    short = store.read(0)
    store.put(1, encode_episode(Episode(short.frames[:4], short.actions[:3], short.rewards[:3], False, True, 9)))
    with pytest.raises(ValueError, match=r"\[3, 7\]"):
        read_trajectories(store, range(2))


def test_episodes_of_vectors_survive_their_file_and_must_be_finite() -> None:
    frames = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    rest = (np.zeros((3, 1), np.float32), np.zeros(3, np.float32), False, True, 1)
    np.testing.assert_array_equal(decode_episode(encode_episode(Episode(frames, *rest))).frames, frames)
    frames[3, 1] = np.nan
    with pytest.raises(ValueError, match="frames is not finite at step 3"):
        Episode(frames, *rest)


def path(policy: OrnsteinUhlenbeckPolicy, seed: int, steps: int) -> np.ndarray:
    policy.start(0, Job(0, seed))
    return np.stack([policy.act(np.array([0]), np.empty(0))[0, 0] for _ in range(steps)])


def test_ou_torques_are_clipped_correlated_and_seeded() -> None:
    policy = OrnsteinUhlenbeckPolicy(BOX)
    torque = path(policy, 1, 20_000)
    assert np.abs(torque).max() == 2.0 and 0.25 < (np.abs(torque) == 2.0).mean() < 0.34
    assert abs(torque.mean()) < 0.1
    narrow = path(OrnsteinUhlenbeckPolicy(BOX, push=0.05), 2, 20_000)  # hardly ever clipped: the process itself
    assert narrow.std() == pytest.approx(2 * 0.05 / np.sqrt(0.15 * 1.85), rel=0.06)
    assert np.corrcoef(narrow[:-1], narrow[1:])[0, 1] == pytest.approx(0.85, abs=0.01)
    np.testing.assert_array_equal(torque, path(policy, 1, 20_000))
    assert (torque[:50] != path(policy, 3, 50)).any()


def test_ou_starts_in_its_stationary_distribution() -> None:
    policy = OrnsteinUhlenbeckPolicy(BOX, push=0.05)
    firsts = np.array([path(policy, seed, 1)[0] for seed in range(2000)])
    assert firsts.std() == pytest.approx(2 * 0.05 / np.sqrt(0.15 * 1.85), rel=0.08)


def test_ou_refuses_what_it_cannot_play() -> None:
    with pytest.raises(ValueError, match="Box"):
        OrnsteinUhlenbeckPolicy(ActionCodec("discrete", n=3))
    with pytest.raises(ValueError, match="pull"):
        OrnsteinUhlenbeckPolicy(BOX, pull=0.0)


def numbered(rows: int) -> Trajectories:
    x = torch.arange(rows, dtype=torch.float32).view(rows, 1, 1).expand(rows, 3, 1)
    return Trajectories(x, x[:, :2], x[:, :2, 0])


def test_an_epoch_shows_every_trajectory_once_and_batches_depend_on_the_step_alone() -> None:
    batches = TrajectoryBatches(numbered(12), 4, seed=5)
    epoch = torch.cat([batches(s).observations[:, 0, 0] for s in range(3)])
    assert sorted(epoch.tolist()) == list(range(12))
    other = torch.cat([batches(s).observations[:, 0, 0] for s in range(3, 6)])
    assert sorted(other.tolist()) == list(range(12)) and not torch.equal(epoch, other)
    again = TrajectoryBatches(numbered(12), 4, seed=5)(4)
    assert all(torch.equal(a, b) for a, b in zip(again[:3], batches(4)[:3], strict=True))
    assert torch.equal(again.observations[:, 0, 0], again.controls[:, 0, 0])  # rows stay together


def test_the_weight_of_the_kl_goes_to_one() -> None:
    batches = TrajectoryBatches(numbered(4), 2, seed=0, annealing=10)
    assert [round(batches(s).kl_weight, 3) for s in (0, 5, 10, 99)] == [0.01, 0.505, 1.0, 1.0]
    tempered = TrajectoryBatches(numbered(4), 2, seed=0, annealing=10, tempered=True)
    assert [round(tempered(s).kl_weight, 3) for s in (0, 5, 10, 99)] == [100.0, 1.98, 1.0, 1.0]
    assert TrajectoryBatches(numbered(4), 2, seed=0)(0).kl_weight == 1.0
    with pytest.raises(ValueError, match="size"):
        TrajectoryBatches(numbered(4), 5, seed=0)
