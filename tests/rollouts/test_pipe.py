"""The spy walks the whole pipe: collect -> store -> encode -> batches drops, reorders and mixes nothing.

Each frame names its (seed, step), each reward its step and action. The Vision here reads these names as the latent, so
a batch for Memory must say the same thing in its latents, its actions and its rewards, at every position.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from frmdn.agent.batch import SequenceBatch
from frmdn.agent.seeds import episode_seeds
from frmdn.envs.worlds.counting import counting_spec, read_frame
from frmdn.rollouts.batches import FrameBatches, LatentBatches, split
from frmdn.rollouts.collect import CollectConfig, collect
from frmdn.rollouts.episodes.store import EpisodeStore
from frmdn.rollouts.latents import LatentStore, encode_store

EPISODES, LENGTH, SEED = 9, 23, 11


class Reader:
    """A Vision whose latent is the frame's (seed's upper and lower half, step), certain to the last digit."""

    def moments(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        read = [read_frame(frame) for frame in frames.numpy()]
        mean = torch.tensor([(seed >> 16, seed & 0xFFFF, step) for seed, step in read], dtype=torch.float32)
        return mean, torch.full_like(mean, -60.0)


class Pipe(NamedTuple):
    episodes: EpisodeStore
    latents: LatentStore
    seeds: list[int]


@pytest.fixture(scope="module", params=[(0, True), (3, False)], ids=["box-terminates", "discrete-truncates"])
def pipe(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pipe:
    discrete, terminates = request.param
    folder = tmp_path_factory.mktemp("pipe")
    episodes, latents = EpisodeStore(folder / "episodes"), LatentStore(folder / "latents")
    spec = counting_spec(length=LENGTH, discrete=discrete, terminates=terminates, frame_size=16)
    collect(spec, CollectConfig(EPISODES, "random", slots=4), episodes, seed=SEED, workers=0)
    encode_store(Reader(), episodes, latents, batch=8)
    return Pipe(episodes, latents, episode_seeds(SEED, "collect", EPISODES))


def rewards_of(actions: np.ndarray, step: np.ndarray) -> np.ndarray:
    """What the spy pays: step + 0.5 * (first number of a box action, or the number of the discrete action)."""
    discrete = actions.shape[-1] == 3
    return step + 0.5 * (actions.argmax(-1) if discrete else actions[..., 0])


def test_the_store_holds_what_was_played(pipe: Pipe) -> None:
    for index, seed in enumerate(pipe.seeds):
        episode = pipe.episodes.read(index)
        assert [read_frame(frame) for frame in episode.frames] == [(seed, t) for t in range(LENGTH + 1)]
        np.testing.assert_allclose(episode.rewards, rewards_of(episode.actions, np.arange(LENGTH)), rtol=1e-6)


def test_frame_batches_hold_real_frames(pipe: Pipe) -> None:
    train, _ = split(pipe.episodes.indices(), 0.3, SEED)
    batches = FrameBatches(pipe.episodes, train, 12, SEED)
    seen = {read_frame(frame) for step in range(80) for frame in batches(step).numpy()}
    assert seen == {(pipe.seeds[index], t) for index in train for t in range(LENGTH + 1)}


@pytest.mark.parametrize("length", [5, LENGTH, 40])
def test_sequence_batches_are_runs_of_one_episode(pipe: Pipe, length: int) -> None:
    train, validation = split(pipe.latents.indices(), 0.3, SEED)
    batches, seen = LatentBatches(pipe.latents, train, 16, length, SEED), set()
    for step in range(12):
        batch = batches(step)
        for row in range(16):
            seen.add(check_row(batch, row, pipe, min(length, LENGTH)))
    assert seen == {pipe.seeds[index] for index in train}
    assert not seen & {pipe.seeds[index] for index in validation}


def check_row(batch: SequenceBatch, row: int, pipe: Pipe, count: int) -> int:
    """The seed of the one episode of which the row is a run of `count` transitions, after checking that it is."""
    assert batch.mask[row].tolist() == [True] * count + [False] * (batch.mask.shape[1] - count)
    upper, lower, time = batch.latents[row, : count + 1].numpy().astype(int).T
    seeds = set((upper * 65536 + lower).tolist())
    assert len(seeds) == 1
    np.testing.assert_array_equal(time, time[0] + np.arange(count + 1))
    actions, rewards = batch.actions[row, :count].numpy(), batch.rewards[row, :count].numpy()
    np.testing.assert_allclose(rewards, rewards_of(actions, time[:-1]), rtol=1e-6)
    seed = seeds.pop()
    episode = pipe.episodes.read(pipe.seeds.index(seed))
    np.testing.assert_array_equal(actions, episode.actions[time[0] : time[0] + count])
    ends = (time[1:] == LENGTH) & episode.terminated
    np.testing.assert_array_equal(batch.ends[row, :count].numpy(), ends)
    return seed
