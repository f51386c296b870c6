"""Minari data sets on this machine; nothing is downloaded."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from frmdn.agent.errors import MissingExtra, first_line
from frmdn.envs.spec import ActionCodec

from .hdf5 import check_recorded_file
from .survey import rest
from .take import Source, Take, Tracks, stamp

ID = re.compile(r"(?:[-_\w]+/)*[-_\w]+-v\d+")  # (namespace/)name-v0

MOST_EPISODES = 10_000_000  # each is a number in memory before anything is read of it


def import_minari(purpose: str) -> Any:
    """The package; MissingExtra where it is not installed."""
    try:
        import minari
    except ImportError:
        raise MissingExtra("Minari", "minari", purpose) from None
    return minari


def is_minari(path: Path) -> bool:
    """Whether a folder is a Minari data set, or its data."""
    return any((folder / "metadata.json").is_file() for folder in (path, path / "data")) and not is_lerobot(path)


def is_lerobot(path: Path) -> bool:
    return (path / "meta" / "info.json").is_file()


def minari_source(place: Path | str, camera: str = "") -> Source:
    """A data set by its folder, or by its id among those in Minari's own folder on this machine.

    `camera` names the pictures among several observations, with dots between the levels.

    Raises:
        ValueError: it is not there, it shows no pictures, or its actions are of a kind that we do not have.
        MissingExtra: Minari, or what this data set needs, is not installed.
    """
    minari = import_minari("reading a Minari data set")
    with _whole(str(place)):
        data = _load(minari, place)
        folder, spaces = Path(data.storage.data_path), (data.observation_space, data.action_space)
    key, action = _camera(str(place), spaces[0], camera), _action(str(place), spaces[1])
    mark = stamp(*sorted(file for file in folder.rglob("*") if file.is_file()))
    with _whole(str(place)):
        steps = list(data.storage.get_episode_metadata(data.episode_indices))
        numbers = [int(about["total_steps"]) for about in steps]
    reader = _Reader(data, str(place), key)
    takes = [
        Take(f"episode {i}", mark, partial(reader.pictures, i), partial(reader.tracks, i), number + 1)
        for i, number in zip(data.episode_indices.tolist(), numbers, strict=True)
    ]
    return Source("minari", Path(place).name if isinstance(place, Path) else place, takes, action)


def _action(name: str, space: gymnasium.Space[Any]) -> ActionCodec | None:
    """The codec of a data set's actions; None where its bounds are infinite, and the recordings themselves tell."""
    if isinstance(space, gymnasium.spaces.Box) and not np.isfinite([space.low, space.high]).all():
        return None
    if isinstance(space, gymnasium.spaces.Box) and len(space.shape) != 1:
        raise ValueError(f"{name} has actions of {list(space.shape)}: a row of numbers is needed")
    try:
        box = isinstance(space, gymnasium.spaces.Box)
        return ActionCodec.from_space(space, rest(space.low.tolist(), space.high.tolist()) if box else None)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


@contextmanager
def _whole(place: str) -> Iterator[None]:
    """What Minari raises inside becomes one line: it asserts what it expects of a file, and says nothing."""
    try:
        yield
    except (MissingExtra, MemoryError):
        raise
    except FileNotFoundError as error:
        if ID.fullmatch(place) and not Path(place).exists():
            raise ValueError(
                f"Minari has no data set {place} on this machine: frmdn downloads nothing; run minari download {place}"
            ) from None
        raise ValueError(f"{place} lacks a file ({first_line(error)}): copy it once more") from None
    except ImportError as error:
        raise MissingExtra("pyarrow", "parquet", f"{place} ({error})") from None
    except Exception as error:
        told = first_line(error)
        if told.startswith(place):
            raise ValueError(told) from None
        raise ValueError(f"{place} is no whole Minari data set ({told}): copy it once more") from None


def _load(minari: Any, place: Path | str) -> Any:
    """The data set, once its files are known to lead to no other ones."""
    if isinstance(place, str):
        from minari.storage.datasets_root_dir import get_dataset_path

        data = Path(get_dataset_path(place)) / "data"
        if not data.is_dir():
            raise FileNotFoundError(data)
    else:
        data = place if (place / "metadata.json").is_file() else place / "data"
    about = json.loads((data / "metadata.json").read_text(encoding="utf-8"))
    count = about.get("total_episodes") if isinstance(about, dict) else None
    if not isinstance(count, int) or not 0 <= count <= MOST_EPISODES:
        raise ValueError(f"its metadata.json speaks of {count!r:.40} episodes")
    for file in sorted(data.rglob("*.hdf5")):
        check_recorded_file(file)
    return minari.MinariDataset(data)


def _camera(name: str, space: gymnasium.Space[Any], camera: str) -> tuple[str, ...]:
    """The way to the pictures: nothing where the observation is one."""
    pictures = dict(_find(space))
    if tuple(camera.split(".")) in pictures and camera:
        return tuple(camera.split("."))
    if camera or not pictures:
        known = f"its pictures are {_names(pictures)}" if pictures else f"it observes {space}"
        raise ValueError(f"{name} has no pictures{' ' + camera if camera else ''}: {known}")
    if len(pictures) > 1:
        raise ValueError(f"{name} has several pictures: choose one by --camera, of {_names(pictures)}")
    return next(iter(pictures))


def _names(pictures: Mapping[tuple[str, ...], object]) -> str:
    return ", ".join(".".join(key) for key in pictures)


def _find(space: gymnasium.Space[Any], way: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object]]:
    if isinstance(space, gymnasium.spaces.Dict):
        for key, inner in space.spaces.items():
            yield from _find(inner, (*way, str(key)))
    elif isinstance(space, gymnasium.spaces.Box) and space.dtype == np.uint8 and len(space.shape) in (2, 3):
        yield way, space


class _Reader:
    """One episode at a time, which is as large as its pictures."""

    def __init__(self, data: Any, name: str, key: tuple[str, ...]) -> None:
        self.storage, self.name, self.key = data.storage, name, key
        self._kept: tuple[int, Any] | None = None

    def episode(self, index: int) -> Any:
        if self._kept is None or self._kept[0] != index:
            self._kept = None  # first: two would be one too many
            with _whole(self.name):
                self._kept = index, next(iter(self.storage.get_episodes([index])))
        assert self._kept is not None
        return self._kept[1]

    def pictures(self, index: int) -> Iterator[NDArray[np.uint8]]:
        with _whole(self.name):
            found = self.episode(index)["observations"]
            for name in self.key:
                found = found[name]
            pictures = iter(found)
        yield from pictures

    def tracks(self, index: int) -> Tracks:
        with _whole(self.name):
            found = self.episode(index)
            actions, rewards = np.asarray(found["actions"]), np.asarray(found["rewards"])
            ended = bool(np.any(found["terminations"]))
        return Tracks(f"{self.name}, episode {index}", actions, rewards, ended)
