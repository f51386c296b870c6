"""Recordings of a stranger: what a fuzzer found. Nothing outside of the data set is read, and each is one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from frmdn.rollouts.recordings.hdf5 import check_recorded_file
from frmdn.rollouts.recordings.opening import open_source
from frmdn.rollouts.recordings.rows import rows_of
from frmdn.rollouts.recordings.survey import find_actions

STEPS = 4


def refused(folder: Path) -> str:
    """What an import says."""
    with pytest.raises(ValueError) as caught:
        source = open_source(str(folder))
        codec = find_actions(source)
        for take in source.takes:
            list(take.pictures())
            rows_of(take.tracks(), codec)
    text = str(caught.value)
    assert str(folder) in text and len(text) < 1000
    return text


# LeRobot


@pytest.fixture
def robot(tmp_path: Path) -> Callable[..., Path]:
    """A data set of one episode whose pictures stand in its table; `changes` go into its description."""
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    def make(columns: dict[str, Any] | None = None, **changes: Any) -> Path:
        import cv2

        folder = tmp_path / "robot"
        (folder / "meta").mkdir(parents=True)
        (folder / "data" / "chunk-000").mkdir(parents=True)
        info = {"total_episodes": 1, "features": {"eye": {"dtype": "image"}}}
        (folder / "meta" / "info.json").write_text(json.dumps(info | changes))
        cell = {"bytes": cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes()}
        rows = {"action": [[0.5, 1.0]] * STEPS, "next.reward": [1.0] * STEPS, "eye": [cell] * STEPS} | (columns or {})
        parquet.write_table(pyarrow.table(rows), folder / "data" / "chunk-000" / "episode_000000.parquet")
        parquet.write_table(pyarrow.table(rows), tmp_path / "secret.parquet")
        return folder

    return make


@pytest.mark.parametrize("way", ["../secret.parquet", "data/../../secret.parquet", "{absolute}"])
def test_a_description_that_leads_out_of_the_data_set(way: str, robot: Callable[..., Path], tmp_path: Path) -> None:
    folder = robot(data_path=way.replace("{absolute}", str(tmp_path / "secret.parquet")))
    assert "which lies outside of the data set" in refused(folder)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"data_path": "{episode_index:0999999999d}"}, "is not there"),
        ({"data_path": "{episode_index.__class__}"}, "is not there"),
        ({"data_path": "{0}"}, "is not there"),
        ({"data_path": "{"}, "is not there"),
        ({"data_path": "x" * 5000}, "too long for the name of a file"),
        ({"data_path": 3}, "data_path must be the name of a file, not 3"),
        ({"total_episodes": 10**9, "data_path": "data/chunk-000/episode_000000.parquet"}, "must name episode_index"),
        ({"total_episodes": [1]}, r"total_episodes must be a whole number, not \[1\]"),
        ({"total_episodes": "x"}, "total_episodes must be a whole number"),
        ({"total_episodes": 1e400}, "total_episodes must be a whole number"),
        ({"chunks_size": -1}, "chunks_size must be a whole number"),
        ({"chunks_size": 0.5}, "chunks_size must be a whole number"),
        ({"features": {"eye": 3}}, "does not say which features there are"),
        ({"codebase_version": "v" + "1" * 5000}, "is in version v1111"),
    ],
)
def test_a_description_of_any_shape(changes: dict[str, Any], says: str, robot: Callable[..., Path]) -> None:
    import re

    assert re.search(says, refused(robot(**changes)))


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"action": [[1.0] * (i % 3) for i in range(STEPS)]}, "of different lengths"),
        ({"action": [{"a": 1}] * STEPS}, "are no numbers"),
        ({"next.reward": [[1.0] * (i % 3) for i in range(STEPS)]}, "of different lengths"),
        ({"action": [1 << 62] * STEPS}, "4096 at most"),
        ({"eye": [{"bytes": b"x"}] * STEPS}, "is no picture"),
        ({"eye": [1] * STEPS}, "is no picture"),
        ({"eye": [None] * STEPS}, "is no picture"),
    ],
)
def test_a_table_of_any_kind(columns: dict[str, Any], says: str, robot: Callable[..., Path]) -> None:
    assert says in refused(robot(columns))


def test_a_table_that_has_no_pictures(robot: Callable[..., Path]) -> None:
    assert "is no picture" in refused(robot(features={"nose": {"dtype": "image"}}))


def test_numbers_too_deep_or_too_long(robot: Callable[..., Path]) -> None:
    folder = robot()
    for text in ("[" * 100_000, '{"total_episodes": ' + "1" * 5000 + "}"):
        (folder / "meta" / "info.json").write_text(text)
        assert "is not valid JSON" in refused(folder)


# Minari


@pytest.fixture
def minari(tmp_path: Path) -> Path:
    import gymnasium

    package = pytest.importorskip("minari")
    from minari.data_collector import EpisodeBuffer
    from minari.dataset.minari_storage import MinariStorage

    folder = tmp_path / "cars-v0"
    (folder / "data").mkdir(parents=True)
    spaces = gymnasium.spaces.Box(0, 255, (8, 8, 3), np.uint8), gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    storage = MinariStorage.new(folder / "data", *spaces, data_format="hdf5", jpeg_encoding=False)
    storage.update_metadata({"dataset_id": "cars-v0", "minari_version": package.__version__})
    buffer = EpisodeBuffer(
        id=0,
        observations=[np.zeros((8, 8, 3), np.uint8)] * (STEPS + 1),
        actions=[np.ones(2, np.float32)] * STEPS,
        rewards=[1.0] * STEPS,
        terminations=[False] * STEPS,
        truncations=[False] * STEPS,
        infos=None,
    )
    storage.update_episodes([buffer])
    return folder


def secret(folder: Path) -> Path:
    path = folder.parent / "secret.hdf5"
    with h5py.File(path, "w") as file:
        file["x"] = np.ones(STEPS)
    return path


def external_link(file: h5py.File, folder: Path) -> None:
    del file["episode_0/rewards"]
    file["episode_0/rewards"] = h5py.ExternalLink(str(secret(folder)), "x")


def soft_link(file: h5py.File, folder: Path) -> None:
    del file["episode_0/rewards"]
    file["episode_0/rewards"] = h5py.SoftLink("/episode_0/terminations")


def external_storage(file: h5py.File, folder: Path) -> None:
    del file["episode_0/rewards"]
    file.create_dataset("episode_0/rewards", (STEPS,), "f8", external=[(str(secret(folder)), 0, STEPS * 8)])


def virtual(file: h5py.File, folder: Path) -> None:
    del file["episode_0/rewards"]
    layout = h5py.VirtualLayout((STEPS,), "f8")
    layout[:] = h5py.VirtualSource(str(secret(folder)), "x", (STEPS,))
    file.create_virtual_dataset("episode_0/rewards", layout)


def promised(file: h5py.File, folder: Path) -> None:
    del file["episode_0/observations"]
    file.create_dataset("episode_0/observations", (1 << 24, 8, 8, 3), "u1", chunks=(64, 8, 8, 3))


def gone(file: h5py.File, folder: Path) -> None:
    del file["episode_0"]


def a_single_number(file: h5py.File, folder: Path) -> None:
    del file["episode_0/rewards"]
    file["episode_0/rewards"] = 1.0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (external_link, "is a link to something else"),
        (soft_link, "is a link to something else"),
        (external_storage, "lie in another file"),
        (virtual, "lie in another file"),
        (promised, "which 0 in the file cannot hold"),
        (gone, "is no whole Minari data set"),
        (a_single_number, "cars-v0"),
    ],
)
def test_a_minari_file_of_a_stranger(change: Callable[[h5py.File, Path], None], says: str, minari: Path) -> None:
    assert open_source(str(minari)).takes
    with h5py.File(next(minari.rglob("*.hdf5")), "r+") as file:
        change(file, minari)
    assert says in refused(minari)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("total_episodes", 10**9),
        ("total_episodes", []),
        ("minari_version", None),
        ("minari_version", 3),
        ("data_format", 10**9),
        ("dataset_id", None),
        ("observation_space", "["),
        ("observation_space", '{"type": "Box", "low": [[1], [1, 2]]}'),
        ("action_space", 7),
    ],
)
def test_a_minari_description_of_any_shape(key: str, value: Any, minari: Path) -> None:
    path = minari / "data" / "metadata.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    assert "is no whole Minari data set" in refused(minari)
    about = json.loads(path.read_text())
    del about[key]
    path.write_text(json.dumps(about))
    assert "is no whole Minari data set" in refused(minari)


@pytest.mark.parametrize("text", ["", "{", "[]", "\xff", "[" * 100_000])
def test_a_minari_description_that_is_none(text: str, minari: Path) -> None:
    (minari / "data" / "metadata.json").write_bytes(text.encode("latin-1"))
    assert "is no whole Minari data set" in refused(minari)


# Archives


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"actions": np.full(4, 1e308)}, "has 1e\\+308 among its actions"),
        ({"actions": np.full(4, 1 << 62)}, "4096 at most"),
        ({"actions": np.array(3)}, "single number"),
        ({"rewards": np.array(3)}, "single number"),
        ({"actions": np.array(3), "lengths": np.array([3, 2])}, "single number"),
        ({"x" * 3000: np.zeros(3), "frames": None}, "has no frames"),
    ],
)
def test_an_archive_of_any_kind(arrays: dict[str, Any], says: str, tmp_path: Path) -> None:
    import re

    given = {"frames": np.zeros((5, 8, 8, 3), np.uint8)} | arrays
    np.savez(tmp_path / "a.npz", **{name: array for name, array in given.items() if array is not None})
    assert re.search(says, refused(tmp_path))


def test_a_member_without_an_ending(tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("frames", b"words")
    assert "is no whole npz file" in refused(tmp_path)


def test_large_actions_that_are_all_the_same(tmp_path: Path) -> None:
    """One value has no width, and adding 1 to it gave none."""
    np.savez(tmp_path / "a.npz", frames=np.zeros((5, 8, 8, 3), np.uint8), actions=np.full(4, 1e30))
    codec = find_actions(open_source(str(tmp_path)))
    assert codec.low[0] < codec.high[0]


def test_groups_that_hold_themselves_are_looked_at_once(tmp_path: Path) -> None:
    """Two names of the root inside it are 2^32 ways through the file, of which none ends."""
    path = tmp_path / "a.hdf5"
    with h5py.File(path, "w") as file:
        file["rows"] = [1.0, 2.0]
        file["a"] = file["b"] = file["/"]
    check_recorded_file(path)
