"""Stores end to end are one store."""

from __future__ import annotations

import numpy as np
import pytest

from frmdn.rollouts.episodes.episode import Episode, encode_episode
from frmdn.rollouts.episodes.joined import JoinedEpisodes, JoinedLatents
from frmdn.rollouts.episodes.store import EpisodeStore
from frmdn.rollouts.latents import Latents, LatentStore


def latents(steps: int, value: float) -> Latents:
    array = np.full((steps + 1, 3), value, np.float32)
    zeros = np.zeros(steps, np.float32)
    return Latents(array, array, np.full((steps, 2), value, np.float32), zeros, zeros)


def test_latents_of_all_parts_are_numbered_through(tmp_path) -> None:
    parts = [LatentStore(tmp_path / name) for name in "ab"]
    for part, (store, count) in enumerate(zip(parts, (2, 3), strict=True)):
        for index in range(count):
            store.write(index, latents(4 + index, 10 * part + index))
    joined = JoinedLatents(parts, [2, 3])
    assert joined.indices() == [0, 1, 2, 3, 4]
    assert [joined.read(i).mean[0, 0] for i in joined.indices()] == [0, 1, 10, 11, 12]
    assert [joined.shape(i)[0] for i in joined.indices()] == [4, 5, 4, 5, 6]
    assert joined.read_slice(4, 2, 2).actions.shape == (0, 2) and joined.read_slice(4, 2, 4).mean.shape == (3, 3)
    for wrong in (-1, 5):
        with pytest.raises(ValueError, match=r"0\.\.4"):
            joined.read(wrong)


def test_episodes_of_all_parts_are_numbered_through(tmp_path) -> None:
    parts = [EpisodeStore(tmp_path / name) for name in "ab"]
    for seed, store in enumerate(parts):
        frames = np.full((3, 8, 8, 3), seed, np.uint8)
        actions, rewards = np.zeros((2, 1), np.float32), np.zeros(2, np.float32)
        store.put(0, encode_episode(Episode(frames, actions, rewards, True, False, seed)))
    joined = JoinedEpisodes(parts, [1, 1])
    assert [joined.summary(i).seed for i in joined.indices()] == [0, 1]
    assert joined.read(1).frames[0, 0, 0, 0] == joined.read_frames(1, np.array([2]))[0, 0, 0, 0] == 1


def test_parts_need_sizes(tmp_path) -> None:
    with pytest.raises(ValueError, match="parts and sizes"):
        JoinedLatents([LatentStore(tmp_path)], [1, 2])
