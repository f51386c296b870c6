"""Where the episodes of a LeRobot data set lie: in files of their own (2.0, 2.1), or several in a file (3.0)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from frmdn.agent.errors import MissingExtra, first_line, shortened

from .videos import frame_count

CHUNK = 1000  # episodes in a folder of 2.x, where the data set does not say
DATA = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
VIDEO = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"
DATA_3 = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_3 = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
FILES = "chunk_index", "file_index"
FIELD = re.compile(r"\{(\w+)(?::0(\d\d?)d)?\}")  # of such a name: {episode_index:06d}
MOST = 1e12  # of anything that is counted


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
    def own(self) -> int | None:
        """The number by which its rows are told from others; None where the table is its own."""
        return self.number if self.shared else None

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
        found = [_own_files(path, info, key, number, stored) for number in range(info["total_episodes"])]
    elif version.startswith("3."):
        found = _common_files(path, info, key, stored)
    else:
        raise ValueError(f"{path} is in version v{version:.20} of LeRobot's layout: versions 2.0, 2.1 and 3.0 are read")
    for place in found:
        for file in (place.table, *([place.video] if place.video else [])):
            if not file.is_file():
                told = f"{path} says that it has {len(found)} episodes"
                raise ValueError(f"{shortened(str(file), 200)} is not there, but {told}")
    return found


def _own_files(path: Path, info: Mapping[str, Any], key: str, number: int, stored: bool) -> Place:
    size = info.get("chunks_size") or CHUNK
    names = {"episode_chunk": number // size, "episode_index": number, "video_key": key}
    for name in ("data_path", "video_path"):
        if info["total_episodes"] > 1 and "{episode_index" not in (info.get(name) or "{episode_index"):
            raise ValueError(f"{path}: {name} is {info[name]!r:.80}, one file for all: it must name episode_index")
    video = _file(path, info, ("video_path", VIDEO), names) if stored else None
    return Place(number, _file(path, info, ("data_path", DATA), names), video=video)


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
    rate = info.get("fps")
    if stored and not (isinstance(rate, int | float) and 0 < rate < MOST):
        raise ValueError(f"{path / 'meta' / 'info.json'} does not say how many pictures a second there are (fps)")
    return [_in_common(path, info, key, float(rate or 0) if stored else None, row) for row in rows]


def _in_common(path: Path, info: Mapping[str, Any], key: str, rate: float | None, row: Mapping[str, Any]) -> Place:
    for name, value in row.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < MOST:
            raise ValueError(f"{path / 'meta' / 'episodes'}: {name:.60} must be a number from 0 up, not {value!r:.40}")

    def file(template: tuple[str, str], owner: str) -> Path:
        names = {name: int(row[f"{owner}/{name}"]) for name in FILES}
        return _file(path, info, template, names | {"video_key": key})

    table = file(("data_path", DATA_3), "data")
    number, count = int(row["episode_index"]), int(row["length"])
    if rate is None:
        return Place(number, table, True, count=count)
    first = round(float(row[f"videos/{key}/from_timestamp"]) * rate)
    return Place(number, table, True, file(("video_path", VIDEO_3), f"videos/{key}"), first, count)


def _file(path: Path, info: Mapping[str, Any], template: tuple[str, str], names: Mapping[str, Any]) -> Path:
    """The file of an episode, inside the data set: its description may be a stranger's, and name any file of ours.

    `str.format` is not used: what it fills in may be of any width, and look into our objects.
    """
    key, usual = template
    pattern = str(info.get(key) or usual)
    name = FIELD.sub(lambda found: str(names.get(found[1], found[0])).zfill(int(found[2] or 0)), pattern)
    place = PurePosixPath(name)
    if place.is_absolute() or ".." in place.parts or "\0" in name or not place.parts:
        raise ValueError(f"{path}: {key} leads to {name!r:.80}, which lies outside of the data set: do not trust it")
    if len(name) > 1000 or any(len(part) > 200 for part in place.parts):
        raise ValueError(f"{path}: {key} leads to {name!r:.80}, which is too long for the name of a file")
    return path / place


def read_columns(table: Path, names: list[str], episode: int | None = None) -> dict[str, list[Any]]:
    """Those of these columns that a parquet file has; of one episode alone where it is named."""
    read: dict[str, list[Any]] = {}
    for batch in batches(table, names, episode):
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            read.setdefault(name, []).extend(column.to_pylist())
    return read


def batches(table: Path, names: list[str], episode: int | None = None) -> Iterator[Any]:
    """Record batches of these columns of a parquet file, some rows at a time; of one episode alone where it is named.

    Arrow leaves out the row groups that hold nothing of that episode, by the bounds that the file keeps of them.
    """
    try:
        from pyarrow import dataset
    except ImportError:
        raise MissingExtra("pyarrow", "lerobot", "reading a LeRobot data set") from None
    try:
        data = dataset.dataset(table, format="parquet")
        wanted = None if episode is None else dataset.field("episode_index") == episode
        found = [name for name in names if name in data.schema.names]
        yield from data.to_batches(columns=found, filter=wanted, batch_size=64)
    except (ValueError, OSError, KeyError) as error:  # pyarrow's own errors are of these kinds
        raise ValueError(f"{table} is no whole parquet file ({first_line(error)}): write it again") from None
