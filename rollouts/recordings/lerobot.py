"""Robot recordings in LeRobot's layout, versions 2.0 and 2.1: a parquet file and a video for each episode."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from frmdn.envs.errors import MissingExtra

from .take import Source, Take, Tracks, stamp
from .videos import frame_count, pictures

CHUNK = 1000  # episodes in a folder, where the data set does not say
DATA = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
VIDEO = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"
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
        raise ValueError(f"{path} is in version {version} of LeRobot's layout: versions 2.0 and 2.1 are read")
    key = _camera(path, info.get("features", {}), camera)
    stored = info["features"][key]["dtype"] == "video"
    count = int(info.get("total_episodes", 0))
    takes = [_take(path, info, number, key, stored) for number in range(count)]
    return Source("lerobot", path.resolve().name, takes)


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


def _take(path: Path, info: Mapping[str, Any], number: int, key: str, stored: bool) -> Take:
    size = int(info.get("chunks_size") or CHUNK)
    names = {"episode_chunk": number // size, "episode_index": number, "video_key": key}
    table = path / str(info.get("data_path") or DATA).format(**names)
    video = path / str(info.get("video_path") or VIDEO).format(**names) if stored else None
    for file in (table, *([video] if video else [])):
        if not file.is_file():
            raise ValueError(f"{file} is not there, but {path} says that it has {info['total_episodes']} episodes")
    if video is not None:
        shown, count = partial(pictures, video), frame_count(video)
    else:
        shown, count = partial(_images, table, key), 0
    files = (table, video) if video else (table,)
    return Take(f"episode {number}", stamp(*files), shown, partial(_tracks, table), count)


def _tracks(table: Path) -> Tracks:
    columns = _read(table, (ACTION, REWARD, DONE))
    actions = np.asarray(columns[ACTION]) if ACTION in columns else None
    rewards = np.asarray(columns[REWARD]).reshape(-1) if REWARD in columns else None
    ended = DONE in columns and bool(np.asarray(columns[DONE]).reshape(-1)[-1:].any())
    if actions is not None and actions.dtype == object:
        raise ValueError(f"{table} has actions of different lengths: write it again")
    return Tracks(str(table), actions, rewards, ended)


def _images(table: Path, key: str) -> Iterator[NDArray[np.uint8]]:
    """Pictures that stand in the parquet file itself, as PNG or JPEG, some rows at a time."""
    parquet = _pyarrow()
    with parquet.ParquetFile(table) as file:
        for batch in file.iter_batches(batch_size=64, columns=[key]):
            for cell in batch.column(0).to_pylist():
                data = cell.get("bytes") if isinstance(cell, dict) else None
                picture = cv2.imdecode(np.frombuffer(data or b"", np.uint8), cv2.IMREAD_COLOR) if data else None
                if picture is None:
                    raise ValueError(f"{table} has a row whose {key} is no picture: write it again with its bytes")
                yield np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)


def _read(table: Path, names: tuple[str, ...]) -> dict[str, list[Any]]:
    parquet = _pyarrow()
    try:
        with parquet.ParquetFile(table) as file:
            found = [name for name in names if name in file.schema_arrow.names]
            return {name: file.read([name]).column(0).to_pylist() for name in found}
    except (ValueError, OSError) as error:  # pyarrow's own errors are of these kinds
        raise ValueError(f"{table} is no whole parquet file ({error}): write it again") from None


def _pyarrow() -> Any:
    try:
        from pyarrow import parquet
    except ImportError:
        raise MissingExtra("pyarrow", "lerobot", "reading a LeRobot data set") from None
    return parquet
