"""Folders of files that are either whole or absent, and the store of episodes built on them."""

from __future__ import annotations

import errno
import math
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from frmdn.agent.errors import first_line

from .episode import (
    Episode,
    EpisodeSummary,
    Origin,
    StoreError,
    decode_episode,
    open_episode,
    read_origin,
    summarise,
)
from .hdf5 import CHUNK, check_chunks

__all__ = ["EpisodeStore", "EpisodeSummary", "IndexedFolder", "StoreError"]

# zstd-1 shrinks rendered frames 10 to 17 times; a tenth of the raw size, and half as much again for safety.
COMPRESSION, MARGIN = 10.0, 1.5
OVERHEAD = 8192  # bytes a file: HDF5's own tables, and what the file system rounds up to
SLICE = 32 * CHUNK  # frames read at once: the bound on memory however long an episode is


class IndexedFolder:
    """Files `000000<suffix>`, `000001<suffix>`, ...: each written whole or not at all, and never touched again.

    The index is the number of the job that made the file, so what is missing is what is still to do.
    """

    def __init__(self, folder: Path | str, suffix: str) -> None:
        self.folder, self.suffix = Path(folder), suffix
        self._pattern = re.compile(r"(\d{6,})" + re.escape(suffix))
        self.folder.mkdir(parents=True, exist_ok=True)

    def sweep(self) -> None:
        """Remove what a killed run had not finished. For the one writer only: a reader could sweep its current file."""
        for stray in self.folder.glob(f"*{self.suffix}.tmp"):
            stray.unlink(missing_ok=True)

    def path(self, index: int) -> Path:
        return self.folder / f"{index:06d}{self.suffix}"

    def indices(self) -> list[int]:
        """The indices present, ascending."""
        with os.scandir(self.folder) as entries:
            matches = (self._pattern.fullmatch(entry.name) for entry in entries)
            return sorted(int(match[1]) for match in matches if match)

    def missing(self, count: int) -> list[int]:
        """The indices of 0 to count-1 that are not there, ascending: the work that is left."""
        present = set(self.indices())
        return [index for index in range(count) if index not in present]

    def put(self, index: int, data: bytes) -> None:
        """Write one file so that a crash at any instant leaves the old state or the new one, never half a file.

        Raises:
            StoreError: the disk is full or refuses; nothing is left behind.
        """
        path = self.path(index)
        unfinished = path.with_name(path.name + ".tmp")
        try:
            unfinished.unlink(missing_ok=True)
            with open(unfinished, "xb") as file:  # through no link that lies there
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(unfinished, path)
            _sync_folder(self.folder)
        except OSError as error:
            unfinished.unlink(missing_ok=True)
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                remedy = "free some space and run the same command again: what is written is kept"
                raise StoreError(f"no space left for {path} ({len(data)} bytes); {remedy}") from error
            raise StoreError(
                f"cannot write {path} ({first_line(error)}); mend it and run the same command again"
            ) from error
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut, where folders can be opened (not on Windows)."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:  # some network file systems cannot sync a folder; the file itself is safe there
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(handle)


class EpisodeStore(IndexedFolder):
    """One HDF5 file per episode, `NNNNNN.h5`, appended to atomically; safe to stop at any instant and to go on.

    Args:
        folder: made where it does not exist.

    >>> store = frmdn.EpisodeStore("runs/tiny/rollouts/episodes")
    >>> store.indices()
    [0, 1, 2, 3]
    >>> store.summary(0).steps, store.read(0).actions.shape
    (10, (10, 2))
    """

    def __init__(self, folder: Path | str) -> None:
        super().__init__(folder, ".h5")

    def read(self, index: int) -> Episode:
        """The whole episode; raises StoreError naming the file and the remedy where it is damaged or missing."""
        with self._blame(index):
            return decode_episode(self.path(index))

    def read_frames(self, index: int, rows: np.ndarray | None = None) -> np.ndarray:
        """Frames u8[n,H,W,C]: all T+1 of them, or `rows` i64[n] (ascending), decoding only the chunks needed."""
        with self._open(index) as file:
            frames = file["frames"]
            if rows is None:
                check_chunks(frames, 0, len(frames))
                return frames[()]
            out = np.empty((len(rows), *frames.shape[1:]), frames.dtype)
            for start in range(0, len(frames), SLICE):
                first, last = np.searchsorted(rows, (start, start + SLICE))
                if first < last:
                    low, high = int(rows[first]), int(rows[last - 1]) + 1
                    check_chunks(frames, low, high)
                    out[first:last] = frames[low:high][rows[first:last] - low]
            return out

    def read_way(self, index: int) -> Origin:
        """All transitions from the first frame of the episode's seed to its last one, without the frames."""
        with self._open(index) as file:
            own, before = Origin(file["actions"][()], file["rewards"][()]), read_origin(file)
        if before is None:
            return own
        return Origin(np.concatenate([before.actions, own.actions]), np.concatenate([before.rewards, own.rewards]))

    def summary(self, index: int) -> EpisodeSummary:
        """Steps, return, seed, ends and origin of an episode, without reading its arrays."""
        with self._open(index) as file:
            return summarise(file)

    def disk_needed(self, count: int, steps: int, frame_shape: Sequence[int]) -> int:
        """An estimate, on the safe side, of the bytes that `count` episodes of `steps` transitions take on disk.

        count * (OVERHEAD + (steps + 1) * H * W * C / 10 * 1.5): rendered frames compress 10 to 17 times (CarRacing 12).
        Frames of pure noise do not compress at all, and need ten times as much as this says.
        """
        return int(count * (OVERHEAD + (steps + 1) * math.prod(frame_shape) / COMPRESSION * MARGIN))

    def check_disk(self, count: int, steps: int, frame_shape: Sequence[int]) -> int:
        """`disk_needed`, after making sure that the disk has it; raises StoreError naming both figures otherwise."""
        needed, free = self.disk_needed(count, steps, frame_shape), shutil.disk_usage(self.folder).free
        if needed > free:
            raise StoreError(
                f"{count} episodes of {steps} steps need about {needed / 1e9:.1f} GB, but {self.folder} has "
                f"{free / 1e9:.1f} GB free; free some space, or collect fewer episodes"
            )
        return needed

    @contextmanager
    def _open(self, index: int) -> Iterator[h5py.File]:
        with self._blame(index), open_episode(self.path(index)) as file:
            yield file

    @contextmanager
    def _blame(self, index: int) -> Iterator[None]:
        remedy = "delete it and run the same command again: only that episode is collected anew"
        try:
            yield
        except FileNotFoundError as error:
            raise StoreError(f"{self.path(index)} does not exist; collect this episode first") from error
        except StoreError as error:
            raise StoreError(f"{error}; {remedy}") from error
        except Exception as error:
            raise StoreError(f"{self.path(index)} is damaged ({first_line(error)}); {remedy}") from error
