"""Robot recordings in LeRobot's layout, versions 2.0, 2.1 and 3.0: parquet tables, and videos or pictures in them."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from frmdn.agent.errors import first_line

from .lerobot_episodes import Place, batches, places, read_columns
from .take import Source, Take, Tracks, stamp
from .videos import pictures

MOST_PIXELS = 1 << 25  # of a picture: eight times 4K would be more
ACTION, REWARD, DONE = "action", "next.reward", "next.done"


def lerobot(path: Path, camera: str = "") -> Source:
    """A data set by its folder; `camera` is the name of its pictures, e.g. observation.images.top.

    Raises:
        ValueError: its version or a file of it is not as it must be; the message names it.
        MissingExtra: pyarrow, or for AV1 videos PyAV, is not installed.
    """
    info = _info(path / "meta" / "info.json")
    key = _camera(path, info["features"], camera)
    return Source("lerobot", path.resolve().name, [_take(place, key) for place in places(path, info, key)])


def _info(path: Path) -> dict[str, Any]:
    """The description of a data set; ValueError names what in it is of another kind than it must be."""
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON ({first_line(error)}): write it again") from None
    features = info.get("features") if isinstance(info, dict) else None
    if not isinstance(features, dict) or not all(isinstance(feature, dict) for feature in features.values()):
        raise ValueError(f"{path} does not say which features there are: is this a LeRobot data set?")
    for name in ("total_episodes", "chunks_size"):
        number = info.get(name) or 0
        if not isinstance(number, int) or isinstance(number, bool) or number < 0:
            raise ValueError(f"{path}: {name} must be a whole number, not {number!r:.40}")
    for name in ("data_path", "video_path"):
        if not isinstance(info.get(name) or "", str):
            raise ValueError(f"{path}: {name} must be the name of a file, not {info[name]!r:.40}")
    info["total_episodes"] = info.get("total_episodes") or 0
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
    columns = read_columns(place.table, [ACTION, REWARD, DONE], place.own)
    actions, rewards, ends = (_numbers(place.table, name, columns.get(name)) for name in (ACTION, REWARD, DONE))
    ended = ends is not None and bool(ends.reshape(-1)[-1:].any())
    return Tracks(str(place.table), actions, None if rewards is None else rewards.reshape(-1), ended)


def _numbers(table: Path, name: str, column: list[Any] | None) -> NDArray[Any] | None:
    """A column as an array of numbers; ValueError where its rows have different lengths, or are something else."""
    if column is None:
        return None
    try:
        array = np.asarray(column)
    except (ValueError, OverflowError):
        array = np.empty(0, object)
    if array.dtype == object:
        raise ValueError(f"{table}: the rows of {name} are no numbers, or of different lengths: write it again")
    return array


def _images(place: Place, key: str) -> Iterator[NDArray[np.uint8]]:
    """Pictures that stand in the parquet file itself, as PNG or JPEG, some rows at a time."""
    for batch in batches(place.table, [key], place.own):
        try:
            yield from (_picture(cell) for cell in batch.column(key).to_pylist())
        except (ValueError, KeyError, cv2.error) as error:
            told = f"has a row whose {key:.60} is no picture ({first_line(error)})"
            raise ValueError(f"{place.table} {told}: write it again with its bytes") from None


def _picture(cell: Any) -> NDArray[np.uint8]:
    """u8[H,W,3] of a cell {"bytes": PNG or JPEG}; its header is looked at before memory is spent on it."""
    data = cell.get("bytes") if isinstance(cell, dict) else None
    if not isinstance(data, bytes) or not data:
        raise ValueError("it has no bytes")
    width, height = _picture_size(data)
    if width * height > MOST_PIXELS:
        raise ValueError(f"it promises {width} x {height} pixels")
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise ValueError("its bytes are no PNG or JPEG")
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)


def _picture_size(data: bytes) -> tuple[int, int]:
    """Width and height that the header of a picture promises."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data)) as picture:
            return picture.size
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError) as error:
        raise ValueError(f"its bytes are no PNG or JPEG: {first_line(error)}") from None
