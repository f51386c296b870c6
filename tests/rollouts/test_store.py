"""A folder of episodes is whole at every instant, and says in one line what is wrong with a file and what to do."""

from __future__ import annotations

import errno
import os
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from frmdn.rollouts.episodes.episode import Episode, encode_episode
from frmdn.rollouts.episodes.store import EpisodeStore, StoreError


def make(seed: int, steps: int = 20) -> Episode:
    rng = np.random.default_rng(seed)
    return Episode(
        frames=rng.integers(0, 256, (steps + 1, 8, 8, 3), dtype=np.uint8),
        actions=rng.random((steps, 2), np.float32),
        rewards=rng.random(steps, np.float32),
        terminated=False,
        truncated=True,
        seed=seed,
    )


@pytest.fixture
def store(tmp_path: Path) -> EpisodeStore:
    return EpisodeStore(tmp_path / "episodes")


def leftovers(store: EpisodeStore) -> list[str]:
    return sorted(path.name for path in store.folder.iterdir())


def test_put_and_read(store: EpisodeStore) -> None:
    assert store.indices() == []
    for index in (3, 0, 1_234_567):
        store.put(index, encode_episode(make(index)))
    assert store.indices() == [0, 3, 1_234_567]
    assert store.missing(5) == [1, 2, 4]
    assert leftovers(store) == ["000000.h5", "000003.h5", "1234567.h5"]
    assert np.array_equal(store.read(3).frames, make(3).frames)
    assert np.array_equal(store.read_frames(3), make(3).frames)


def test_other_files_are_no_episodes(store: EpisodeStore) -> None:
    for name in ("1.h5", "000001.h5.tmp", "000001.h5~", "x000001.h5", "done.json"):
        (store.folder / name).touch()
    assert store.indices() == []


def test_summary_tells_the_truth(store: EpisodeStore) -> None:
    episode = make(5)
    store.put(0, encode_episode(episode, {"env": "E-v1", "painter": "official", "policy": "random"}))
    at = store.summary(0)
    assert (at.steps, at.total, at.seed, at.terminated, at.truncated) == (20, episode.total, 5, False, True)
    assert (at.env, at.painter, at.policy) == ("E-v1", "official", "random")


@pytest.mark.parametrize("rows", [[0], [2499], [0, 1023, 1024, 1025, 2500], [5, 6, 7], list(range(2501)), []])
def test_rows_of_frames(store: EpisodeStore, rows: list[int]) -> None:
    frames = np.arange(2501 * 12, dtype=np.uint32).view(np.uint8).reshape(2501, 4, 4, 3)
    episode = Episode(frames, np.zeros((2500, 1), np.float32), np.zeros(2500, np.float32), True, False, 0)
    store.put(0, encode_episode(episode))
    assert np.array_equal(store.read_frames(0, np.array(rows, np.int64)), frames[rows])


def test_every_reader_names_the_damaged_file_and_the_remedy(store: EpisodeStore) -> None:
    data = encode_episode(make(1))
    (store.folder / "000004.h5").write_bytes(data[: len(data) // 2])
    for read in (store.read, store.read_frames, store.summary):
        with pytest.raises(StoreError, match=r"000004\.h5.*delete it and run the same command again"):
            read(4)
        with pytest.raises(StoreError, match=r"000009\.h5 does not exist"):
            read(9)


def test_a_flipped_byte_in_the_frames_is_noticed_by_both_readers(store: EpisodeStore) -> None:
    data = bytearray(encode_episode(make(1)))
    frames = make(1).frames.tobytes()
    place = bytes(data).find(frames[500:520])  # noise does not compress, so its bytes are in the file as they are
    assert place > 0
    data[place] ^= 1
    store.put(0, bytes(data))
    assert store.summary(0).steps == 20
    for read in (store.read, store.read_frames):
        with pytest.raises(StoreError, match=r"000000\.h5"):
            read(0)


@pytest.mark.parametrize(("code", "words"), [(errno.ENOSPC, "no space left"), (errno.EACCES, "cannot write")])
@pytest.mark.parametrize("place", ["fsync", "replace"])
def test_a_disk_that_refuses_leaves_nothing_behind(
    store: EpisodeStore, monkeypatch: pytest.MonkeyPatch, code: int, words: str, place: str
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, place, refuse)
    with pytest.raises(StoreError, match=f"{words}.*000000.h5.*same command again"):
        store.put(0, b"data")
    assert leftovers(store) == []


def test_an_interrupted_write_leaves_the_old_state(store: EpisodeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        store.put(0, b"data")
    assert leftovers(store) == []


def test_sweep_removes_what_a_killed_run_left(store: EpisodeStore) -> None:
    store.put(0, encode_episode(make(0)))
    for name in ("000001.h5.tmp", "notes.txt"):
        (store.folder / name).touch()
    EpisodeStore(store.folder)  # a reader must not take the file from under a writer
    assert (store.folder / "000001.h5.tmp").exists()
    store.sweep()
    assert leftovers(store) == ["000000.h5", "notes.txt"]


def test_disk_is_checked_before_the_work(store: EpisodeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    needed = store.disk_needed(10_000, 1000, (64, 64, 3))
    assert 12e9 < needed < 25e9  # 123 GB raw
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1, 1, needed))
    assert store.check_disk(10_000, 1000, (64, 64, 3)) == needed
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1, 1, needed - 1))
    with pytest.raises(StoreError, match=r"need about 18\.5 GB.*has 18\.5 GB free"):
        store.check_disk(10_000, 1000, (64, 64, 3))
