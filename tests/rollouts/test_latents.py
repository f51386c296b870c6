"""Latents: the moments of every frame, in step with the transitions, whole or refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from torch import Tensor, nn

from frmdn.rollouts.episodes.episode import Episode, StoreError, encode_episode
from frmdn.rollouts.episodes.store import EpisodeStore
from frmdn.rollouts.latents import Latents, LatentStore, check_latents, encode, encode_store, identity


class Mean(nn.Module):
    """A Vision of one latent per channel: the mean colour, and its negative as log-variance."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))
        self.calls: list[int] = []

    def moments(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        assert frames.dtype == torch.uint8
        self.calls.append(len(frames))
        mean = frames.float().mean(dim=(1, 2)) * self.scale
        return mean, -mean


def make(seed: int, steps: int, terminated: bool = True) -> Episode:
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 256, (steps + 1, 8, 8, 3), dtype=np.uint8)
    actions, rewards = rng.random((steps, 2), np.float32), rng.random(steps, np.float32)
    return Episode(frames, actions, rewards, terminated, not terminated, seed)


@pytest.fixture
def store(tmp_path: Path) -> EpisodeStore:
    store = EpisodeStore(tmp_path / "episodes")
    for index, steps in enumerate((5, 64, 130)):
        store.put(index, encode_episode(make(index, steps, terminated=index != 1)))
    return store


@pytest.fixture
def latents(tmp_path: Path) -> LatentStore:
    return LatentStore(tmp_path / "latents")


def test_latents_are_in_step_with_the_episode(store: EpisodeStore, latents: LatentStore) -> None:
    assert encode_store(Mean(), store, latents) == [0, 1, 2]
    for index in range(3):
        episode, found = store.read(index), latents.read(index)
        expected = episode.frames.mean(axis=(1, 2))
        np.testing.assert_allclose(found.mean, expected, rtol=1e-5)
        np.testing.assert_array_equal(found.logvar, -found.mean)
        np.testing.assert_array_equal(found.actions, episode.actions)
        np.testing.assert_array_equal(found.rewards, episode.rewards)
        assert found.end[:-1].sum() == 0
        assert found.end[-1] == (index != 1)  # truncation is not an end
        assert latents.shape(index) == (episode.steps, 3, 2)
        assert all(getattr(found, name).dtype == np.float32 for name in ("mean", "logvar", "actions", "rewards", "end"))


def test_every_call_has_the_same_batch(store: EpisodeStore) -> None:
    vision = Mean()
    encode(vision, store.read(2), batch=64)
    assert vision.calls == [64, 64, 64]


def test_only_missing_latents_are_encoded(store: EpisodeStore, latents: LatentStore) -> None:
    vision, seen = Mean(), []
    encode_store(vision, store, latents)
    latents.path(1).unlink()
    (latents.folder / "000002.safetensors.tmp").touch()
    assert encode_store(vision, store, latents, progress=lambda *at: seen.append(at)) == [1]
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert not list(latents.folder.glob("*.tmp"))


def test_stale_and_damaged_latents_are_encoded_again(store: EpisodeStore, latents: LatentStore) -> None:
    encode_store(Mean(), store, latents)
    assert encode_store(Mean(2.0), store, latents) == [0, 1, 2]
    store.put(1, encode_episode(make(99, 64)))
    assert encode_store(Mean(2.0), store, latents) == [1]
    latents.path(2).write_bytes(latents.path(2).read_bytes()[:-1])
    assert encode_store(Mean(2.0), store, latents) == [2]
    np.testing.assert_array_equal(latents.read(2).rewards, store.read(2).rewards)


def test_identity_changes_with_any_weight() -> None:
    a, b = nn.Linear(3, 3), nn.Linear(3, 3)
    b.load_state_dict(a.state_dict())
    assert identity(a) == identity(b)  # type: ignore[arg-type]
    with torch.no_grad():
        b.bias[2] += 1e-6
    assert identity(a) != identity(b)  # type: ignore[arg-type]


def test_a_blind_vision_is_refused(store: EpisodeStore, latents: LatentStore) -> None:
    with pytest.raises(ValueError, match="not finite for the episode of seed 0"):
        encode_store(Mean(float("nan")), store, latents)
    assert latents.indices() == []


@pytest.mark.parametrize(("start", "stop"), [(0, 130), (0, 1), (129, 130), (17, 81)])
def test_slices(store: EpisodeStore, latents: LatentStore, start: int, stop: int) -> None:
    encode_store(Mean(), store, latents)
    whole, part = latents.read(2), latents.read_slice(2, start, stop)
    assert part.steps == stop - start
    np.testing.assert_array_equal(part.mean, whole.mean[start : stop + 1])
    np.testing.assert_array_equal(part.logvar, whole.logvar[start : stop + 1])
    for name in ("actions", "rewards", "end"):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[start:stop])


def test_damaged_files_are_named_with_the_remedy(latents: LatentStore) -> None:
    def ones(*shape: int) -> np.ndarray:
        return np.ones(shape, np.float32)

    latents.write(0, Latents(ones(6, 3), ones(6, 3), ones(5, 2), ones(5), ones(5)))
    data = latents.path(0).read_bytes()
    for size in (0, 4, 8, 100, len(data) // 2, len(data) - 1):
        latents.path(0).write_bytes(data[:size])
        for read in (latents.read, latents.shape, latents.origin, lambda index: latents.read_slice(index, 0, 1)):
            with pytest.raises(StoreError, match=r"000000\.safetensors.*delete it"):
                read(0)
    for place in range(len(data) - 4 * 56, len(data), 7):  # the 56 numbers behind the header
        latents.path(0).write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(StoreError, match="checksum"):
            latents.read(0)
    save_file({"mean": ones(2, 2)}, latents.path(0))
    with pytest.raises(StoreError, match="not written by frmdn"):
        latents.read(0)
    with pytest.raises(StoreError, match=r"000007\.safetensors does not exist"):
        latents.read(7)


def test_latents_of_another_vision_or_run_are_refused(tmp_path: Path) -> None:
    store, latents = EpisodeStore(tmp_path / "episodes"), LatentStore(tmp_path / "latents")
    for index in range(2):
        store.put(index, encode_episode(make(index, 5)))
    encode_store(Mean(), store, latents)
    check_latents(Mean(), store, latents)
    with pytest.raises(StoreError, match=r"000000\.safetensors is of another run, or of another vision; delete it"):
        check_latents(Mean(2.0), store, latents)
    latents.path(1).write_bytes(latents.path(0).read_bytes())  # of another episode
    with pytest.raises(StoreError, match=r"000001\.safetensors is of another run"):
        check_latents(Mean(), store, latents)
