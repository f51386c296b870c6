"""Batches are pure functions of the step, cover the data evenly, and keep little of it in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from frmdn.agent.batch import SequenceBatch
from frmdn.rollouts.batches import FrameBatches, LatentBatches, split
from frmdn.rollouts.episodes.episode import Episode, StoreError, encode_episode
from frmdn.rollouts.episodes.store import EpisodeStore
from frmdn.rollouts.latents import Latents, LatentStore

LENGTHS = (3, 50, 9, 200, 31)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> EpisodeStore:
    """Frames that say which episode (channel 0) and which frame (channel 1) they are."""
    store = EpisodeStore(tmp_path_factory.mktemp("episodes"))
    for index, steps in enumerate(LENGTHS):
        frames = np.zeros((steps + 1, 4, 4, 3), np.uint8)
        frames[..., 0], frames[..., 1] = index, np.arange(steps + 1)[:, None, None]
        zeros = np.zeros(steps, np.float32)
        store.put(index, encode_episode(Episode(frames, zeros[:, None], zeros, True, False, index)))
    return store


@pytest.fixture(scope="module")
def latents(tmp_path_factory: pytest.TempPathFactory) -> LatentStore:
    """Means, actions and rewards that say which episode and step they are; deviation 0.001, or 2 in episode 3."""
    store = LatentStore(tmp_path_factory.mktemp("latents"))
    for index, steps in enumerate(LENGTHS):
        time = np.arange(steps + 1, dtype=np.float32)
        mean = np.stack([np.full_like(time, index), time], axis=1)
        logvar = np.full_like(mean, 2 * np.log(2.0 if index == 3 else 0.001))
        actions = np.stack([mean[:-1, 0], time[:-1], -time[:-1]], axis=1)
        end = (time[:-1] == steps - 1).astype(np.float32)
        store.write(index, Latents(mean, logvar, actions, 100 * index + time[:-1], end))
    return store


def frame_batches(store: EpisodeStore, memory: int = 20_000, seed: int = 1) -> FrameBatches:
    return FrameBatches(store, range(len(LENGTHS)), 16, seed, memory=memory)


def equal(a: SequenceBatch, b: SequenceBatch) -> bool:
    names = ("latents", "actions", "rewards", "ends", "mask")
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in names)


class TestSplit:
    def test_is_a_partition_that_the_seed_decides(self) -> None:
        train, validation = split(range(100), 0.05, 3)
        assert len(validation) == 5
        assert sorted(train + validation) == list(range(100))
        assert split(list(reversed(range(100))), 0.05, 3) == (train, validation)
        assert split(range(100), 0.05, 4)[1] != validation

    @pytest.mark.parametrize(("count", "share", "expected"), [(2, 0.05, 1), (2, 0.99, 1), (3, 0.0, 1), (10, 0.5, 5)])
    def test_both_sides_get_one(self, count: int, share: float, expected: int) -> None:
        train, validation = split(range(count), share, 0)
        assert (len(validation), len(train)) == (expected, count - expected)

    def test_a_single_episode_serves_for_both(self) -> None:
        assert split([7]) == ([7], [7])
        assert split([]) == ([], [])

    @pytest.mark.parametrize("share", [-0.1, 1.0])
    def test_a_share_beyond_is_refused(self, share: float) -> None:
        with pytest.raises(ValueError, match="0 <= validation < 1"):
            split(range(5), share, 0)


class TestFrameBatches:
    def test_shape_and_type(self, store: EpisodeStore) -> None:
        batch = frame_batches(store)(0)
        assert batch.shape == (16, 4, 4, 3)
        assert batch.dtype == torch.uint8

    def test_is_a_pure_function_of_the_step(self, store: EpisodeStore) -> None:
        first = frame_batches(store)
        forward = [first(step).clone() for step in range(30)]
        assert first.per_block <= 30 // 2, "the test must cross blocks"
        for step in (5, 29, 0, 5):
            assert torch.equal(first(step), forward[step])
            assert torch.equal(frame_batches(store)(step), forward[step])
        assert not torch.equal(frame_batches(store, seed=2)(0), forward[0])
        first.close()
        assert torch.equal(first(7), forward[7])

    @pytest.mark.parametrize("memory", [20_000, 200_000_000])
    def test_an_epoch_shows_every_frame_once(self, store: EpisodeStore, memory: int) -> None:
        total = sum(steps + 1 for steps in LENGTHS)
        batches = frame_batches(store, memory)
        stream = np.concatenate(list(batches._stream(0, 3 * total)))[:, 0, 0, :2]
        if memory == 20_000:  # blocks smaller than the data: each epoch takes a part of every episode
            total = int(batches._quota.sum())
            stream = stream[:total]
            assert len(np.unique(stream, axis=0)) == total
            assert set(stream[:, 0].tolist()) == set(range(len(LENGTHS)))
        else:
            _, counts = np.unique(stream, axis=0, return_counts=True)
            assert counts.tolist() == [3] * total

    def test_frames_are_evenly_likely(self, store: EpisodeStore) -> None:
        batches = frame_batches(store, 12_000)
        assert batches._quota[3] < 100, "each epoch must leave frames out"
        seen = np.concatenate([batches(step)[:, 0, 0, :2].numpy() for step in range(500)])
        total = sum(steps + 1 for steps in LENGTHS)
        _, counts = np.unique(seen, axis=0, return_counts=True)
        assert len(counts) == total
        for index, steps in enumerate(LENGTHS):
            assert (seen[:, 0] == index).mean() == pytest.approx((steps + 1) / total, rel=0.35)  # at least one of four
        long = np.unique(seen[seen[:, 0] == 3], axis=0, return_counts=True)[1]
        assert long.std() / long.mean() < 0.2

    def test_a_batch_mixes_episodes(self, store: EpisodeStore) -> None:
        batches = FrameBatches(store, [1, 3], 64, 0)
        assert all(len(batches(step)[:, 0, 0, 0].unique()) == 2 for step in range(5))

    def test_a_damaged_file_is_named_and_can_be_mended(self, store: EpisodeStore, tmp_path: Path) -> None:
        copy = EpisodeStore(tmp_path / "copy")
        for index in range(2):
            copy.put(index, store.path(index).read_bytes())
        batches = FrameBatches(copy, [0, 1], 16, 1)
        whole = copy.path(1).read_bytes()
        copy.path(1).write_bytes(whole[:-9])
        with pytest.raises(StoreError, match=r"000001\.h5"):
            batches(0)
        copy.path(1).write_bytes(whole)
        assert torch.equal(batches(0), FrameBatches(store, [0, 1], 16, 1)(0))

    def test_wrong_arguments(self, store: EpisodeStore) -> None:
        with pytest.raises(ValueError, match="indices is empty"):
            FrameBatches(store, [], 4, 0)
        with pytest.raises(ValueError, match="batch_size"):
            FrameBatches(store, [0], 0, 0)
        with pytest.raises(ValueError, match="steps count from 0"):
            frame_batches(store)(-1)

    def test_memory_does_not_grow_with_the_episodes(self, tmp_path: Path) -> None:
        store = EpisodeStore(tmp_path)
        frames = np.zeros((401, 64, 64, 3), np.uint8)  # 5 MB an episode
        zeros = np.zeros(400, np.float32)
        data = encode_episode(Episode(frames, zeros[:, None], zeros, True, False, 0))
        for index in range(40):  # 200 MB in all
            store.put(index, data)
        batches = FrameBatches(store, range(40), 50, 0, memory=20_000_000)
        batches(0)
        before = psutil.Process().memory_info().rss
        for step in range(0, 10 * batches.per_block, 8):
            batches(step)
        assert psutil.Process().memory_info().rss - before < 60e6


class TestLatentBatches:
    def batches(self, latents: LatentStore, length: int = 20, size: int = 32, **more: int) -> LatentBatches:
        return LatentBatches(latents, range(len(LENGTHS)), size, length, more.pop("seed", 1), **more)

    def test_shapes(self, latents: LatentStore) -> None:
        batch = self.batches(latents)(0)
        assert batch.latents.shape == (32, 21, 2)
        assert batch.actions.shape == (32, 20, 3)
        assert batch.rewards.shape == batch.ends.shape == batch.mask.shape == (32, 20)
        assert batch.latents.dtype == batch.actions.dtype == batch.rewards.dtype == batch.ends.dtype == torch.float32

    def test_every_row_is_a_run_of_one_episode(self, latents: LatentStore) -> None:
        batches = self.batches(latents)
        for step in range(4):
            batch = batches(step)
            for row, (which, start, stop) in enumerate(batches.segments(step)):
                count, times = stop - start, torch.arange(start, stop + 1.0)
                assert count == min(20, LENGTHS[which])
                assert batch.mask[row].tolist() == [True] * count + [False] * (20 - count)
                assert batch.actions[row, :count, 0].tolist() == [which] * count
                torch.testing.assert_close(batch.actions[row, :count, 1], times[:-1])
                torch.testing.assert_close(batch.rewards[row, :count], 100 * which + times[:-1])
                assert batch.ends[row, :count].tolist() == [t == LENGTHS[which] - 1 for t in range(start, stop)]
                if which != 3:
                    torch.testing.assert_close(batch.latents[row, : count + 1, 1], times, atol=0.01, rtol=0)
                    torch.testing.assert_close(
                        batch.latents[row, : count + 1, 0], torch.full((count + 1,), float(which)), atol=0.01, rtol=0
                    )

    def test_padding_is_zero(self, latents: LatentStore) -> None:
        batch = self.batches(latents, length=60)(0)
        assert not batch.mask.all()
        for tensor in (batch.actions, batch.rewards, batch.ends, batch.latents[:, 1:]):
            assert tensor[~batch.mask].abs().sum() == 0

    def test_is_a_pure_function_of_the_step(self, latents: LatentStore) -> None:
        first = self.batches(latents)
        forward = [first(step) for step in range(12)]
        for step in (5, 11, 0, 5):
            assert equal(first(step), forward[step])
            assert equal(self.batches(latents)(step), forward[step])
        assert not equal(forward[0], forward[1])
        assert not equal(self.batches(latents, seed=2)(0), forward[0])
        first.close()
        assert equal(first(3), forward[3])

    @pytest.mark.parametrize("memory", [0, 2000])
    def test_reading_from_disk_changes_nothing(self, latents: LatentStore, memory: int) -> None:
        rich, poor = self.batches(latents), self.batches(latents, memory=memory)
        assert all(equal(rich(step), poor(step)) for step in range(10))
        poor.close()
        rich(0)
        assert len(rich._kept) == len(LENGTHS)
        for step in range(10):
            poor(step)
        sizes = {index: latents.read(index).nbytes for index in range(len(LENGTHS))}
        assert sizes[0] < 2000 < sum(sizes.values())  # some fit and some do not
        assert sum(kept.nbytes for kept in poor._kept.values()) <= memory
        assert set(poor._kept) < set(sizes) and bool(poor._kept) == (memory > 0)
        assert not any(
            sizes[index] <= memory - sum(sizes[i] for i in poor._kept) for index in set(sizes) - set(poor._kept)
        )

    def test_noise_is_fresh_and_has_the_stored_moments(self, latents: LatentStore) -> None:
        batches = LatentBatches(latents, [3], 64, 200, 1)
        drawn = torch.cat([batches(step).latents for step in range(20)])  # [1280,201,2], whole episodes
        noise = (drawn - torch.tensor(latents.read(3).mean)) / 2
        assert noise.mean().abs() < 0.01
        assert noise.std() == pytest.approx(1, abs=0.01)
        flat = noise.flatten(1)
        assert (flat[:640] * flat[640:]).mean().abs() < 0.01  # fresh in every step

    def test_noise_is_scaled_and_without_it_the_means_are_left(self, latents: LatentStore) -> None:
        mean = torch.tensor(latents.read(3).mean)
        assert torch.equal(LatentBatches(latents, [3], 2, 200, 1, noise=0.0)(0).latents, mean.expand(2, -1, -1))
        half, whole = (LatentBatches(latents, [3], 2, 200, 1, noise=n)(0).latents - mean for n in (0.5, 1.0))
        torch.testing.assert_close(2 * half, whole, atol=1e-3, rtol=0)
        with pytest.raises(ValueError, match="noise"):
            LatentBatches(latents, [3], 2, 200, 1, noise=-1.0)

    def test_every_transition_is_at_least_as_likely_as_one_in_the_middle(self, latents: LatentStore) -> None:
        length = 20
        batches = self.batches(latents, length=length, size=256)
        counts = [np.zeros(steps) for steps in LENGTHS]
        for step in range(200):
            for which, start, stop in batches.segments(step):
                counts[which][start:stop] += 1
        middle = counts[3][40:160].mean()
        for count in counts:
            assert (count > 0.85 * middle).all()
            assert (count < 3 * middle).all()

    def test_wrong_arguments(self, latents: LatentStore) -> None:
        with pytest.raises(ValueError, match="indices is empty"):
            LatentBatches(latents, [], 4, 4, 0)
        with pytest.raises(ValueError, match="length"):
            LatentBatches(latents, [0], 4, 0, 0)

    def test_mixed_sizes_are_refused(self, tmp_path: Path) -> None:
        store = LatentStore(tmp_path)
        for index in range(2):
            z = np.zeros((3, 2 + index), np.float32)
            store.write(index, Latents(z, z, np.zeros((2, 1), np.float32), *(np.zeros(2, np.float32),) * 2))
        with pytest.raises(ValueError, match="mixes latent or action sizes"):
            LatentBatches(store, [0, 1], 4, 4, 0)


def test_the_thread_that_reads_ahead_leaves_the_cores_to_training(latents: LatentStore) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        batches = LatentBatches(latents, latents.indices(), 2, 3, 0)
        batches(0)
        assert torch.get_num_threads() == 2
        assert batches._batches._thread is not None
        assert batches._batches._thread.submit(torch.get_num_threads).result() == 1
        batches.close()
    finally:
        torch.set_num_threads(threads)
