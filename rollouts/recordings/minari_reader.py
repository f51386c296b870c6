"""Minari data sets on this machine; nothing is downloaded."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from frmdn.envs.errors import MissingExtra
from frmdn.envs.spec import ActionCodec

from .survey import rest
from .take import Source, Take, Tracks, stamp

ID = re.compile(r"(?:[-_\w]+/)*[-_\w]+-v\d+")  # (namespace/)name-v0


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
    try:
        data = _load(minari, place)
    except FileNotFoundError:
        raise ValueError(
            f"Minari has no data set {place} on this machine: frmdn downloads nothing; run minari download {place}"
        ) from None
    except ImportError as error:
        raise MissingExtra("pyarrow", "parquet", f"{place} ({error})") from None
    key = _camera(str(place), data.observation_space, camera)
    action = _action(str(place), data.action_space)
    files = sorted(file for file in Path(data.storage.data_path).rglob("*") if file.is_file())
    mark = stamp(*files)
    reader, steps = _Reader(data, str(place), key), data.storage.get_episode_metadata(data.episode_indices)
    takes = [
        Take(
            f"episode {i}", mark, partial(reader.pictures, i), partial(reader.tracks, i), int(about["total_steps"]) + 1
        )
        for i, about in zip(data.episode_indices.tolist(), steps, strict=True)
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


def _load(minari: Any, place: Path | str) -> Any:
    if isinstance(place, str):
        return minari.load_dataset(place, download=False)
    return minari.MinariDataset(place if (place / "metadata.json").is_file() else place / "data")


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
            self._kept = index, next(iter(self.storage.get_episodes([index])))
        return self._kept[1]

    def pictures(self, index: int) -> Iterator[NDArray[np.uint8]]:
        found = self.episode(index)["observations"]
        for name in self.key:
            found = found[name]
        yield from found

    def tracks(self, index: int) -> Tracks:
        found = self.episode(index)
        actions, rewards = np.asarray(found["actions"]), np.asarray(found["rewards"])
        return Tracks(f"{self.name}, episode {index}", actions, rewards, bool(np.any(found["terminations"])))
