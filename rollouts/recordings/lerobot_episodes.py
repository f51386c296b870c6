"""Where the episodes of a LeRobot data set lie: in files of their own (2.0, 2.1), or several in a file (3.0)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frmdn.envs.errors import MissingExtra

from .videos import frame_count

CHUNK = 1000  # episodes in a folder of 2.x, where the data set does not say
DATA = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
VIDEO = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"
DATA_3 = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_3 = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
FILES = "chunk_index", "file_index"


@dataclass(frozen=True)
class Place:
    """Where one episode lies."""

    number: int
    table: Path
    shared: bool = False  # the table has rows of other episodes too: those with its episode_index are its own
    video: Path | None = None  # None: its pictures stand in the table
    first: int = 0  # picture of the video
    count: int | None = None  # pictures from there on; None: all of them

    @property
    def frames(self) -> int:
        """How many pictures it says that it has; 0 where it does not say."""
        if self.count is not None:
            return self.count
        return 0 if self.video is None else frame_count(self.video)


def places(path: Path, info: Mapping[str, Any], key: str) -> list[Place]:
    """All episodes of a data set; `key` names its pictures. ValueError where a file is missing or of another layout."""
    version = str(info.get("codebase_version", "v2.0")).lstrip("v")
    stored = info["features"][key]["dtype"] == "video"
    if version.startswith("2."):
        found = [_own_files(path, info, key, number, stored) for number in range(int(info.get("total_episodes", 0)))]
    elif version.startswith("3."):
        found = _common_files(path, info, key, stored)
    else:
        raise ValueError(f"{path} is in version v{version} of LeRobot's layout: versions 2.0, 2.1 and 3.0 are read")
    for place in found:
        for file in (place.table, *([place.video] if place.video else [])):
            if not file.is_file():
                raise ValueError(f"{file} is not there, but {path} says that it has {len(found)} episodes")
    return found


def _own_files(path: Path, info: Mapping[str, Any], key: str, number: int, stored: bool) -> Place:
    size = int(info.get("chunks_size") or CHUNK)
    names = {"episode_chunk": number // size, "episode_index": number, "video_key": key}
    video = path / str(info.get("video_path") or VIDEO).format(**names) if stored else None
    return Place(number, path / str(info.get("data_path") or DATA).format(**names), video=video)


def _common_files(path: Path, info: Mapping[str, Any], key: str, stored: bool) -> list[Place]:
    """By `meta/episodes`: the file of each episode, and between which seconds of a video it lies."""
    columns = ["episode_index", "length", *(f"data/{name}" for name in FILES)]
    if stored:
        columns += [f"videos/{key}/{name}" for name in (*FILES, "from_timestamp")]
    rows: list[dict[str, Any]] = []
    for table in sorted((path / "meta" / "episodes").glob("*/*.parquet")):
        found = read_columns(table, columns)
        missing = [name for name in columns if name not in found]
        if missing:
            raise ValueError(f"{table} does not have the column {missing[0]}: is this a LeRobot data set?")
        rows += [dict(zip(columns, row, strict=True)) for row in zip(*(found[name] for name in columns), strict=True)]
    if not rows:
        raise ValueError(f"{path / 'meta' / 'episodes'} holds no table of episodes: copy the data set whole")
    rate = float(info.get("fps") or 0)
    if stored and rate <= 0:
        raise ValueError(f"{path / 'meta' / 'info.json'} does not say how many pictures a second there are (fps)")
    return [_in_common(path, info, key, rate if stored else None, row) for row in rows]


def _in_common(path: Path, info: Mapping[str, Any], key: str, rate: float | None, row: Mapping[str, Any]) -> Place:
    def file(form: str, owner: str) -> Path:
        numbers = {name: int(row[f"{owner}/{name}"]) for name in FILES}
        return path / form.format(**numbers, video_key=key)

    table = file(str(info.get("data_path") or DATA_3), "data")
    number, count = int(row["episode_index"]), int(row["length"])
    if rate is None:
        return Place(number, table, True, count=count)
    first = round(float(row[f"videos/{key}/from_timestamp"]) * rate)
    return Place(number, table, True, file(str(info.get("video_path") or VIDEO_3), f"videos/{key}"), first, count)


def read_columns(table: Path, names: list[str], episode: int | None = None) -> dict[str, list[Any]]:
    """Those of these columns that a parquet file has; of one episode alone where it is named."""
    parquet = pyarrow_parquet()
    try:
        with parquet.ParquetFile(table) as file:
            found = [name for name in names if name in file.schema_arrow.names]
            mine = None
            if episode is not None:
                mine = [number == episode for number in file.read(["episode_index"]).column(0).to_pylist()]
            read = {}
            for name in found:
                column = file.read([name]).column(0)
                read[name] = (column if mine is None else column.filter(mine)).to_pylist()
            return read
    except (ValueError, OSError, KeyError) as error:  # pyarrow's own errors are of these kinds
        raise ValueError(f"{table} is no whole parquet file ({error}): write it again") from None


def pyarrow_parquet() -> Any:
    try:
        from pyarrow import parquet
    except ImportError:
        raise MissingExtra("pyarrow", "lerobot", "reading a LeRobot data set") from None
    return parquet
