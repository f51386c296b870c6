"""Robot recordings in LeRobot's layout, versions 2.0, 2.1 and 3.0: parquet tables, and videos or pictures in them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .lerobot_episodes import Place, places, pyarrow_parquet, read_columns
from .take import Source, Take, Tracks, stamp
from .videos import pictures

ACTION, REWARD, DONE = "action", "next.reward", "next.done"


def lerobot(path: Path, camera: str = "") -> Source:
    """A data set by its folder; `camera` is the name of its pictures, e.g. observation.images.top.

    Raises:
        ValueError: its version or a file of it is not as it must be; the message names it.
        MissingExtra: pyarrow, or for AV1 videos PyAV, is not installed.
    """
    info = _info(path / "meta" / "info.json")
    key = _camera(path, info.get("features", {}), camera)
    return Source("lerobot", path.resolve().name, [_take(place, key) for place in places(path, info, key)])


def _info(path: Path) -> dict[str, Any]:
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid JSON ({error}): write it again") from None
    if not isinstance(info, dict) or not isinstance(info.get("features"), dict):
        raise ValueError(f"{path} does not say which features there are: is this a LeRobot data set?")
    return info


def _camera(path: Path, features: Mapping[str, Any], camera: str) -> str:
    known = [name for name, feature in features.items() if feature.get("dtype") in ("video", "image")]
    if camera and camera not in known:
        raise ValueError(f"{path} has no pictures {camera}: choose one by --camera, of {', '.join(known) or 'none'}")
    if not known:
        raise ValueError(f"{path} has no pictures: its features are {', '.join(features)}")
    if len(known) > 1 and not camera:
        raise ValueError(f"{path} has several pictures: choose one by --camera, of {', '.join(known)}")
    return camera or known[0]


def _take(place: Place, key: str) -> Take:
    shown = partial(_images, place, key)
    if place.video is not None:
        shown = partial(pictures, place.video, place.first, place.count)
    files = (place.table, place.video) if place.video else (place.table,)
    return Take(f"episode {place.number}", stamp(*files), shown, partial(_tracks, place), place.frames)


def _tracks(place: Place) -> Tracks:
    columns = read_columns(place.table, [ACTION, REWARD, DONE], place.number if place.shared else None)
    actions = np.asarray(columns[ACTION]) if ACTION in columns else None
    rewards = np.asarray(columns[REWARD]).reshape(-1) if REWARD in columns else None
    ended = DONE in columns and bool(np.asarray(columns[DONE]).reshape(-1)[-1:].any())
    if actions is not None and actions.dtype == object:
        raise ValueError(f"{place.table} has actions of different lengths: write it again")
    return Tracks(str(place.table), actions, rewards, ended)


def _images(place: Place, key: str) -> Iterator[NDArray[np.uint8]]:
    """Pictures that stand in the parquet file itself, as PNG or JPEG, some rows at a time."""
    columns = [key, "episode_index"] if place.shared else [key]
    with pyarrow_parquet().ParquetFile(place.table) as file:
        for batch in file.iter_batches(batch_size=64, columns=columns):
            numbers = batch.column("episode_index").to_pylist() if place.shared else [place.number] * len(batch)
            for number, cell in zip(numbers, batch.column(key), strict=True):
                if number == place.number:
                    yield _picture(place.table, key, cell.as_py())


def _picture(table: Path, key: str, cell: Any) -> NDArray[np.uint8]:
    data = cell.get("bytes") if isinstance(cell, dict) else None
    picture = cv2.imdecode(np.frombuffer(data or b"", np.uint8), cv2.IMREAD_COLOR) if data else None
    if picture is None:
        raise ValueError(f"{table} has a row whose {key} is no picture: write it again with its bytes")
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)
