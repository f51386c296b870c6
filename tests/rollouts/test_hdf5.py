"""An episode's file from a stranger: nothing in it reads other files, hangs, or swells."""

from __future__ import annotations

import io
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import pytest

from frmdn.rollouts.episodes.episode import Episode, StoreError, decode_episode, encode_episode
from frmdn.rollouts.episodes.store import EpisodeStore

STEPS = 40
ABOUT = {"env": "Counting-v0", "painter": "own", "note": ""}


def image() -> bytes:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (STEPS + 1, 8, 6, 3), dtype=np.uint8)
    actions, rewards = np.ones((STEPS, 2), np.float32), np.ones(STEPS, np.float32)
    return encode_episode(Episode(frames, actions, rewards, terminated=True, truncated=False, seed=7), ABOUT)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "000000.h5"
    path.write_bytes(image())
    return path


def test_nothing_lies_where_no_checksum_is(path: Path) -> None:
    data = image()
    assert b"GCOL" not in data  # the global heap
    with h5py.File(io.BytesIO(data), "r") as file:
        assert dict(file.attrs)["env"] == b"Counting-v0"
    assert EpisodeStore(path.parent).summary(0).painter == "own"


def test_zeros_anywhere_never_hang() -> None:
    """Sixteen zeros at every place of a file, in a process that can be killed: HDF5 hangs beyond any signal's reach."""
    program = """
    import sys
    from frmdn.rollouts.episodes.episode import StoreError, decode_episode
    data, refused = bytearray(sys.stdin.buffer.read()), 0
    for place in range(0, len(data) - 16, 8):
        kept = data[place : place + 16]
        data[place : place + 16] = bytes(16)
        try:
            decode_episode(bytes(data))
        except StoreError:
            refused += 1
        data[place : place + 16] = kept
    print(refused)
    """
    words = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(words, input=image(), capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    assert int(done.stdout) > 200


def test_an_old_file_whose_heap_is_damaged_is_refused_and_does_not_hang(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file.attrs["painter"] = "a text of variable length"
    data = bytearray(path.read_bytes())
    heap = data.find(b"GCOL")
    data[heap + 16 : heap + 32] = bytes(16)
    path.write_bytes(data)
    program = f"from frmdn.rollouts.episodes.store import EpisodeStore as S; S({str(path.parent)!r}).summary(0)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert "its attribute painter is neither a number nor a text of fixed length" in done.stderr


def secret(folder: Path) -> Path:
    path = folder / "secret"
    path.write_bytes(bytes(range(256)) * 8)
    return path


def external_storage(file: h5py.File, folder: Path) -> None:
    del file["rewards"]
    file.create_dataset("rewards", (STEPS,), "f4", external=[(str(secret(folder)), 0, STEPS * 4)])


def external_link(file: h5py.File, folder: Path) -> None:
    with h5py.File(folder / "other.h5", "w") as other:
        other.create_dataset("rewards", data=np.ones(STEPS, np.float32), chunks=(STEPS,), fletcher32=True)
    del file["rewards"]
    file["rewards"] = h5py.ExternalLink(str(folder / "other.h5"), "rewards")


def external_origin(file: h5py.File, folder: Path) -> None:
    with h5py.File(folder / "other.h5", "w") as other:
        other.create_dataset("x", data=np.ones((3, 2), np.float32), chunks=(3, 2), fletcher32=True)
    file["origin_actions"] = h5py.ExternalLink(str(folder / "other.h5"), "x")


def soft_link(file: h5py.File, folder: Path) -> None:
    file["kept"] = file["rewards"]
    del file["rewards"]
    file["rewards"] = h5py.SoftLink("/kept")


def virtual(file: h5py.File, folder: Path) -> None:
    with h5py.File(folder / "other.h5", "w") as other:
        other["rewards"] = np.ones(STEPS, np.float32)
    layout = h5py.VirtualLayout((STEPS,), "f4")
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "rewards", (STEPS,))
    del file["rewards"]
    file.create_virtual_dataset("rewards", layout)


def promised(file: h5py.File, folder: Path) -> None:
    del file["frames"]
    shape, zstd = (262_144, 64, 64, 3), hdf5plugin.Zstd(clevel=1)  # 3 GB, of which nothing is there
    file.create_dataset("frames", shape, "u1", chunks=(32, 64, 64, 3), fletcher32=True, compression=zstd)


def swollen(file: h5py.File, folder: Path) -> None:
    """Chunks that are zstd of far more bytes than a chunk has."""
    zstd = hdf5plugin.Zstd(clevel=1)
    with h5py.File(folder / "big.h5", "w") as other:
        big = other.create_dataset("x", data=np.zeros(50_000_000, np.uint8), chunks=(50_000_000,), compression=zstd)
        _, packed = big.id.read_direct_chunk((0,))
    mask, _ = file["frames"].id.read_direct_chunk((0, 0, 0, 0))
    file["frames"].id.write_direct_chunk((0, 0, 0, 0), packed + bytes(4), mask)


def a_group(file: h5py.File, folder: Path) -> None:
    del file["rewards"]
    file.create_group("rewards")


def texts(file: h5py.File, folder: Path) -> None:
    del file["rewards"]
    file["rewards"] = np.array(["1"] * STEPS, dtype=h5py.string_dtype())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (external_storage, "numbers of rewards lie elsewhere"),
        (external_link, "rewards is a link to something else"),
        (external_origin, "origin_actions is a link to something else"),
        (soft_link, "rewards is a link to something else"),
        (virtual, "numbers of rewards lie elsewhere"),
        (promised, r"frames promises 3221225472 bytes, which 0 in the file cannot hold"),
        (swollen, "the chunk of frame 0 is not 4608 bytes of zstd"),
        (a_group, "rewards is no array"),
        (texts, "rewards"),
    ],
)
def test_what_reads_elsewhere_or_swells_is_refused(
    change: Callable[[h5py.File, Path], None], message: str, path: Path, tmp_path: Path
) -> None:
    with h5py.File(path, "r+") as file:
        change(file, tmp_path)
    with pytest.raises(StoreError, match=message):
        decode_episode(path)
    with pytest.raises(StoreError, match=message):
        EpisodeStore(path.parent).read_frames(0)
    with pytest.raises(StoreError, match=message):
        EpisodeStore(path.parent).read_frames(0, np.array([1]))


def test_what_is_flat_is_no_bomb() -> None:
    """The most that compression makes of honest frames stays below the bound."""
    frames = np.zeros((2001, 64, 64, 3), np.uint8)
    episode = Episode(frames, np.zeros((2000, 3), np.float32), np.ones(2000, np.float32), True, False, 0)
    assert decode_episode(encode_episode(episode)).steps == 2000
