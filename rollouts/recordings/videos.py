"""Folders of videos, with or without what was done: NAME.mp4, and beside it NAME.csv, NAME.npy or NAME.npz."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from frmdn.agent.errors import MissingExtra, first_line

from ..sources.packed import read_arrays, whole
from ..sources.tables import Choice, read_table
from .arrays import ACTIONS, ENDS, REWARDS, Archive
from .take import Source, Take, Tracks, stamp

SUFFIXES = (".mp4", ".webm", ".avi", ".mkv", ".mov", ".m4v", ".mpg", ".mpeg", ".ogv", ".gif")
BESIDE = (".csv", ".npy", ".npz")
AV1 = "av01"  # OpenCV's wheels open it, and cannot decode it


def videos(path: Path) -> Source:
    """One video, or all of a folder in the order of their names."""
    files = [path] if path.is_file() else sorted(file for file in path.iterdir() if is_video(file))
    return Source("videos", path.resolve().name, [_take(file) for file in files])


def is_video(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def _take(path: Path) -> Take:
    beside = [file for file in (path.with_suffix(suffix) for suffix in BESIDE) if file.is_file()]
    if len(beside) > 1:
        raise ValueError(f"{path} has {' and '.join(file.name for file in beside)} beside it: leave just one of them")
    return Take(
        path.name,
        stamp(path, *beside),
        partial(pictures, path),
        partial(_tracks, path, beside[0] if beside else None),
        frame_count(path),
    )


# Pictures


def frame_count(path: Path) -> int:
    """How many pictures a video says that it has; 0 where it does not say."""
    capture = cv2.VideoCapture(str(path))
    try:
        count = capture.get(cv2.CAP_PROP_FRAME_COUNT) if capture.isOpened() else 0
        return int(count) if 0 < count < 1e9 else 0
    finally:
        capture.release()


def pictures(path: Path, first: int = 0, count: int | None = None) -> Iterator[NDArray[np.uint8]]:
    """The pictures of a video u8[H,W,3], RGB, one at a time: all of them, or `count` from number `first` on.

    Raises:
        ValueError: there is none that can be read, or fewer than `count`.
        MissingExtra: the video is AV1, and PyAV is not installed.
    """
    shown = 0
    for picture in islice(_decoded(path, first), count):
        shown += 1
        yield picture
    if count is not None and shown < count:
        raise ValueError(f"{path} has no {count} pictures from number {first} on: copy the data set whole")


def _decoded(path: Path, first: int) -> Iterator[NDArray[np.uint8]]:
    """From number `first` on; both decoders begin at the key frame before it, and not at the beginning."""
    capture = cv2.VideoCapture(str(path))
    try:
        code = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little") if capture.isOpened() else b""
        if code.lower() == AV1.encode():
            yield from _av1(path, first)
            return
        if first:
            capture.set(cv2.CAP_PROP_POS_FRAMES, first)
        count = 0
        while capture.isOpened():
            there, picture = capture.read()
            if not there:
                break
            count += 1
            yield np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)
    finally:
        capture.release()
    if not count and not first:
        raise ValueError(f"{path} has no picture that can be read: write it again, e.g. as H.264 in an .mp4")


def _av1(path: Path, first: int) -> Iterator[NDArray[np.uint8]]:
    try:
        import av
    except ImportError:
        raise MissingExtra("PyAV", "lerobot", f"reading the AV1 video {path.name}") from None
    try:
        with av.open(str(path)) as container:
            video = container.streams.video[0]
            begin = 0.0
            if first:
                begin = (first - 0.5) / float(video.average_rate or 1)  # half a picture early: times are rounded
                container.seek(int(begin / video.time_base), stream=video)
            for frame in container.decode(video):
                if (frame.time or 0.0) >= begin:
                    yield frame.to_ndarray(format="rgb24")
    except av.error.FFmpegError as error:
        raise ValueError(f"{path} is no whole video ({first_line(error)}): write it again") from None


# What was done


def _tracks(video: Path, beside: Path | None) -> Tracks:
    if beside is None:
        return Tracks(str(video))
    if beside.suffix == ".csv":
        return _csv(beside)
    if beside.suffix == ".npz":
        archive = Archive(beside)
        return Tracks(str(beside), archive.read(ACTIONS), archive.read(REWARDS), archive.ended(archive.read(ENDS)))
    with whole(lambda why: f"{beside} is no whole npy file of numbers ({why}): write it again"):
        return Tracks(str(beside), read_arrays(beside)[""])


def _csv(path: Path) -> Tracks:
    """A column for each number of the action, and maybe `reward`; a single column of whole numbers stays whole."""
    table = read_table(path, Choice())
    gap = table.gap()
    if gap:
        raise ValueError(f"{gap}: empty, but every row needs its actions: mend the file")
    ((_, values),) = table.sequences.items()
    columns = {name.strip().lower(): values[:, i] for i, name in enumerate(table.target)}
    rewards = columns.pop(REWARDS[1], columns.pop(REWARDS[0], None))
    actions: NDArray[Any] | None = np.stack(list(columns.values()), 1) if columns else None
    if actions is not None and actions.shape[1] == 1 and (actions == np.round(actions)).all():
        actions = actions.astype(np.int64)
    return Tracks(str(path), actions, rewards)
