"""Robot recordings in LeRobot's layout, versions 2.0 and 2.1: a parquet file and a video for each episode."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from frmdn.agent.errors import MissingExtra, first_line, shortened

from .take import Source, Take, Tracks, stamp
from .videos import frame_count, pictures

CHUNK = 1000  # episodes in a folder, where the data set does not say
DATA = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
VIDEO = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"
MOST_PIXELS = 1 << 25  # of a picture: eight times 4K would be more
FIELD = re.compile(r"\{(\w+)(?::0(\d\d?)d)?\}")  # of such a name: {episode_index:06d}
ACTION, REWARD, DONE = "action", "next.reward", "next.done"


def lerobot(path: Path, camera: str = "") -> Source:
    """A data set by its folder; `camera` is the name of its pictures, e.g. observation.images.top.

    Raises:
        ValueError: its version or a file of it is not as it must be; the message names it.
        MissingExtra: pyarrow, or for AV1 videos PyAV, is not installed.
    """
    info = _info(path / "meta" / "info.json")
    version = str(info.get("codebase_version", "v2.0"))
    if not version.lstrip("v").startswith("2."):
        raise ValueError(f"{path} is in version {version:.20} of LeRobot's layout: versions 2.0 and 2.1 are read")
    key = _camera(path, info["features"], camera)
    stored = info["features"][key]["dtype"] == "video"
    takes = [_take(path, info, number, key, stored) for number in range(info.get("total_episodes", 0))]
    return Source("lerobot", path.resolve().name, takes)


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


def _take(path: Path, info: Mapping[str, Any], number: int, key: str, stored: bool) -> Take:
    size = info.get("chunks_size") or CHUNK
    names = {"episode_chunk": number // size, "episode_index": number, "video_key": key}
    table = _file(path, info, ("data_path", DATA), names)
    video = _file(path, info, ("video_path", VIDEO), names) if stored else None
    for file in (table, *([video] if video else [])):
        if not file.is_file():
            told = f"{path} says that it has {info['total_episodes']} episodes"
            raise ValueError(f"{shortened(str(file), 200)} is not there, but {told}")
    if video is not None:
        shown, count = partial(pictures, video), frame_count(video)
    else:
        shown, count = partial(_images, table, key), 0
    files = (table, video) if video else (table,)
    return Take(f"episode {number}", stamp(*files), shown, partial(_tracks, table), count)


def _file(path: Path, info: Mapping[str, Any], template: tuple[str, str], names: Mapping[str, Any]) -> Path:
    """The file of an episode, inside the data set: its description may be a stranger's, and name any file of ours.

    `str.format` is not used: what it fills in may be of any width, and look into our objects.
    """
    key, usual = template
    pattern = str(info.get(key) or usual)
    if info["total_episodes"] > 1 and "{episode_index" not in pattern:
        raise ValueError(f"{path}: {key} is {pattern!r:.80}, one file for all episodes: it must name episode_index")
    name = FIELD.sub(lambda found: str(names.get(found[1], found[0])).zfill(int(found[2] or 0)), pattern)
    place = PurePosixPath(name)
    if place.is_absolute() or ".." in place.parts or "\0" in name or not place.parts:
        raise ValueError(f"{path}: {key} leads to {name!r:.80}, which lies outside of the data set: do not trust it")
    if len(name) > 1000 or any(len(part) > 200 for part in place.parts):
        raise ValueError(f"{path}: {key} leads to {name!r:.80}, which is too long for the name of a file")
    return path / place


def _tracks(table: Path) -> Tracks:
    columns = _read(table, (ACTION, REWARD, DONE))
    actions, rewards, ends = (_numbers(table, name, columns.get(name)) for name in (ACTION, REWARD, DONE))
    ended = ends is not None and bool(ends.reshape(-1)[-1:].any())
    return Tracks(str(table), actions, None if rewards is None else rewards.reshape(-1), ended)


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


def _images(table: Path, key: str) -> Iterator[NDArray[np.uint8]]:
    """Pictures that stand in the parquet file itself, as PNG or JPEG, some rows at a time."""
    parquet = _pyarrow()
    try:
        with parquet.ParquetFile(table) as file:
            for batch in file.iter_batches(batch_size=64, columns=[key]):
                yield from (_picture(cell) for cell in batch.column(key).to_pylist())
    except (ValueError, OSError, KeyError, cv2.error) as error:
        raise ValueError(
            f"{table} has a row whose {key:.60} is no picture ({first_line(error)}): write it again with its bytes"
        ) from None


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


def _read(table: Path, names: tuple[str, ...]) -> dict[str, list[Any]]:
    parquet = _pyarrow()
    try:
        with parquet.ParquetFile(table) as file:
            found = [name for name in names if name in file.schema_arrow.names]
            return {name: file.read([name]).column(name).to_pylist() for name in found}
    except (ValueError, OSError, KeyError) as error:  # pyarrow's own errors are of these kinds
        raise ValueError(f"{table} is no whole parquet file ({first_line(error)}): write it again") from None


def _pyarrow() -> Any:
    try:
        from pyarrow import parquet
    except ImportError:
        raise MissingExtra("pyarrow", "lerobot", "reading a LeRobot data set") from None
    return parquet
