"""What somebody's recordings are, found by looking at the folder or file."""

from __future__ import annotations

from pathlib import Path

from .arrays import arrays, is_archive
from .lerobot import lerobot
from .minari_reader import ID, is_lerobot, is_minari, minari_source
from .take import Source
from .videos import SUFFIXES, is_video, videos

READ = (
    f"a folder of videos ({', '.join(suffix[1:] for suffix in SUFFIXES[:4])} ...) or of npz files, one such file, "
    "a LeRobot data set, or a Minari data set or its id"
)


def open_source(place: str, camera: str = "") -> Source:
    """The recordings of a file, of a folder, or of a Minari id.

    Raises:
        ValueError: nothing is there that we can read; the message names what is read.
        MissingExtra: a package that reads it is not installed.
    """
    path = Path(place).expanduser()
    if not path.exists():
        if ID.fullmatch(place):
            return _some(place, minari_source(place, camera))
        raise ValueError(f"{place} is not there: give {READ}")
    if path.is_file():
        if is_archive(path):
            return _some(place, arrays(path))
        if is_video(path):
            return _some(place, videos(path))
        raise ValueError(f"{place} is no recording that we can read: give {READ}")
    if is_lerobot(path):
        return _some(place, lerobot(path, camera))
    if is_minari(path):
        return _some(place, minari_source(path, camera))
    files = [file for file in path.iterdir() if file.is_file()]
    if any(map(is_video, files)):
        return _some(place, videos(path))
    if any(map(is_archive, files)):
        return _some(place, arrays(path))
    raise ValueError(f"{place} has no recordings that we can read: give {READ}")


def _some(place: str, source: Source) -> Source:
    if not source.takes:
        raise ValueError(f"{place} has no episodes")
    return source
