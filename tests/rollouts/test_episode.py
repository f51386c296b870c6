"""Episodes are validated, and their files give back what was written or nothing at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from frmdn.rollouts.episodes.episode import Episode, StoreError, decode_episode, encode_episode


def make(steps: int = 40, seed: int = 7, **changes: Any) -> Episode:
    rng = np.random.default_rng(seed)
    parts: dict[str, Any] = {
        "frames": rng.integers(0, 256, (steps + 1, 8, 6, 3), dtype=np.uint8),
        "actions": rng.standard_normal((steps, 2)).astype(np.float32),
        "rewards": rng.standard_normal(steps).astype(np.float32),
        "terminated": True,
        "truncated": False,
        "seed": seed,
    }
    return Episode(**{**parts, **changes})


def same(a: Episode, b: Episode) -> bool:
    arrays = all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("frames", "actions", "rewards"))
    return arrays and (a.terminated, a.truncated, a.seed) == (b.terminated, b.truncated, b.seed)


@pytest.mark.parametrize("steps", [1, 31, 32, 100])
@pytest.mark.parametrize("ends", [(True, False), (False, True)])
def test_what_is_written_is_read(steps: int, ends: tuple[bool, bool], tmp_path: Path) -> None:
    episode = make(steps, terminated=ends[0], truncated=ends[1])
    data = encode_episode(episode, {"env": "Counting-v0"})
    assert same(decode_episode(data), episode)
    path = tmp_path / "x.h5"
    path.write_bytes(data)
    found = decode_episode(path)
    assert same(found, episode)
    assert (found.frames.dtype, found.actions.dtype, found.rewards.dtype) == (np.uint8, np.float32, np.float32)


def test_encoding_is_deterministic() -> None:
    assert encode_episode(make()) == encode_episode(make())


def test_flat_frames_compress() -> None:
    episode = make(200, frames=np.full((201, 64, 64, 3), 90, np.uint8))
    assert len(encode_episode(episode)) < episode.frames.nbytes / 50


def test_steps_and_total() -> None:
    episode = make(3, rewards=np.array([1.0, -0.5, 2.0], np.float32))
    assert episode.steps == 3
    assert episode.total == 2.5


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"frames": np.zeros((40, 8, 6, 3), np.uint8)}, "41 frames"),
        ({"frames": np.zeros((41, 8, 6, 3), np.float32)}, "frames must be a uint8"),
        ({"frames": np.zeros((41, 8, 6), np.uint8)}, "4 axes"),
        ({"frames": [[0]]}, "not list"),
        ({"actions": np.zeros((39, 2), np.float32)}, "40 actions"),
        ({"actions": np.zeros((40, 2))}, "actions must be a float32"),
        ({"actions": np.zeros(40, np.float32)}, "2 axes"),
        ({"rewards": np.zeros((40, 1), np.float32)}, "1 axes"),
        ({"rewards": np.zeros(0, np.float32)}, "at least one transition"),
        ({"rewards": np.r_[np.zeros(5), np.nan, np.zeros(34)].astype(np.float32)}, "rewards is not finite at step 5"),
        ({"actions": np.where(np.arange(80) == 25, np.inf, 0).reshape(40, 2).astype(np.float32)}, "at step 12"),
    ],
)
def test_what_models_cannot_digest_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make(**changes)


def test_every_truncation_is_noticed() -> None:
    data = encode_episode(make(4))
    for size in {0, 1, 7, 8, 48, *range(0, len(data), 97), len(data) - 1}:
        with pytest.raises(StoreError):
            decode_episode(data[:size])


def test_no_flipped_bit_changes_an_episode_unnoticed() -> None:
    episode = make(4)
    data = bytearray(encode_episode(episode))
    noticed = 0
    for place in range(0, len(data), 5):
        data[place] ^= 0x10
        try:
            assert same(decode_episode(bytes(data)), episode)  # unused bytes of the file may change
        except StoreError:
            noticed += 1
        data[place] ^= 0x10
    assert noticed > 300


@pytest.mark.parametrize("data", [b"", b"hello", b"\x89HDF\r\n\x1a\n", b"\0" * 5000])
def test_foreign_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(StoreError, match="not a whole HDF5 file"):
        decode_episode(data)


def test_hdf5_files_of_others_and_other_versions_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["frames"] = np.zeros(3)
    with pytest.raises(StoreError, match=r"x\.h5 is not an episode"):
        decode_episode(path)
    path.write_bytes(encode_episode(make()))
    with h5py.File(path, "r+") as file:
        file.attrs["version"] = 1
    with pytest.raises(StoreError, match="version 2"):
        decode_episode(path)


def test_a_missing_array_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    path.write_bytes(encode_episode(make()))
    with h5py.File(path, "r+") as file:
        del file["rewards"]
    with pytest.raises(StoreError, match="damaged"):
        decode_episode(path)


def test_a_missing_file_is_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        decode_episode(tmp_path / "none.h5")
