"""One episode: the carrier that every rollout becomes, and its file, an HDF5 image made in memory."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np

from frmdn.agent.errors import first_line

from .hdf5 import CHUNK, check_arrays, check_chunks, read_attributes, write_text

FORMAT, VERSION = "frmdn-episode", 2
# Files of this generation of HDF5 (1.10) carry a checksum on every piece of metadata; older ones carry none.
LIBRARY = ("v110", "v110")
_names = itertools.count()  # two images open at once must not share a name


class StoreError(ValueError):
    """A file of a store cannot be used, or cannot be written; the message names the file and the remedy."""


@dataclass(frozen=True, eq=False)
class Origin:
    """The way from a seed's first frame to where an episode begins: K transitions of an earlier one, played again."""

    actions: np.ndarray  # f32[K,A]
    rewards: np.ndarray  # f32[K]


@dataclass(frozen=True)
class Episode:
    """T transitions and the T+1 frames around them. Transition t: frame t, action t -> reward t, frame t+1.

    With an `origin` the first frame is not that of the seed but the one after the origin's actions.

    Raises:
        ValueError: a shape, a type or a value is wrong; nothing may enter the stores that the models cannot digest.

    >>> frames, actions = np.zeros((4, 64, 64, 3), np.uint8), np.zeros((3, 2), np.float32)
    >>> episode = frmdn.Episode(frames, actions, np.ones(3, np.float32), terminated=True, truncated=False, seed=0)
    >>> episode.steps, episode.total
    (3, 3.0)
    """

    frames: np.ndarray  # u8[T+1,H,W,C], or f32[T+1,D] of a world that shows vectors
    actions: np.ndarray  # f32[T,A]
    rewards: np.ndarray  # f32[T]
    terminated: bool  # the task itself ended; there is no frame after the last one to dream of
    truncated: bool  # a step limit cut the episode; the task would have gone on
    seed: int
    origin: Origin | None = None

    def __post_init__(self) -> None:
        vectors = isinstance(self.frames, np.ndarray) and self.frames.dtype == np.float32 and self.frames.ndim == 2
        frames = ("frames", np.float32, 2) if vectors else ("frames", np.uint8, 4)
        for name, dtype, rank in (frames, ("actions", np.float32, 2), ("rewards", np.float32, 1)):
            array = getattr(self, name)
            if not isinstance(array, np.ndarray) or array.dtype != dtype or array.ndim != rank:
                found = f"{array.dtype}{list(array.shape)}" if isinstance(array, np.ndarray) else type(array).__name__
                raise ValueError(f"{name} must be a {np.dtype(dtype)} array with {rank} axes, not {found}")
        if self.steps < 1:
            raise ValueError("an episode needs at least one transition; rewards is empty")
        if len(self.frames) != self.steps + 1 or len(self.actions) != self.steps:
            raise ValueError(
                f"{self.steps} rewards ask for {self.steps + 1} frames and {self.steps} actions, "
                f"not {len(self.frames)} and {len(self.actions)}"
            )
        for name in ("actions", "rewards", *(["frames"] if vectors else [])):
            bad = np.flatnonzero(~np.isfinite(getattr(self, name)).reshape(len(getattr(self, name)), -1).all(axis=1))
            if bad.size:
                raise ValueError(f"{name} is not finite at step {bad[0]}; mend the environment or the policy")

    @property
    def steps(self) -> int:
        """T, the number of transitions."""
        return len(self.rewards)

    @property
    def total(self) -> float:
        """The undiscounted return, summed in float64."""
        return float(self.rewards.sum(dtype=np.float64))


@dataclass(frozen=True)
class EpisodeSummary:
    """What the attributes of an episode's file tell without reading its arrays."""

    steps: int
    total: float
    seed: int
    terminated: bool
    truncated: bool
    env: str = ""
    painter: str = ""
    policy: str = ""


def encode_episode(episode: Episode, about: Mapping[str, str] | None = None) -> bytes:
    """The episode as the bytes of an HDF5 file: zstd-compressed chunks of frames, a Fletcher checksum on every array.

    Args:
        episode: what to write.
        about: where it comes from: `env`, `painter`, `policy`, and what the world says of itself (`EnvSpec.about`).
    """
    with h5py.File(f"encode-{next(_names)}", "w", driver="core", backing_store=False, libver=LIBRARY) as file:
        file.attrs.update(version=VERSION, seed=episode.seed, steps=episode.steps, total=episode.total)
        file.attrs.update(terminated=bool(episode.terminated), truncated=bool(episode.truncated))
        for name, text in {"format": FORMAT, **(about or {})}.items():
            write_text(file, name, text)
        chunks = (min(CHUNK, len(episode.frames)), *episode.frames.shape[1:])
        # No byte shuffle: it does nothing for single bytes. Level 1: higher ones cost time and save nothing on frames.
        zstd = hdf5plugin.Zstd(clevel=1)
        file.create_dataset("frames", data=episode.frames, chunks=chunks, fletcher32=True, compression=zstd)
        arrays = {"actions": episode.actions, "rewards": episode.rewards}
        if episode.origin is not None:
            arrays |= {"origin_actions": episode.origin.actions, "origin_rewards": episode.origin.rewards}
        for name, array in arrays.items():
            chunked = {"chunks": array.shape, "fletcher32": True} if array.size else {}  # nobody acts: nothing to chunk
            file.create_dataset(name, data=array, **chunked)
        file.flush()
        return file.id.get_file_image()


def open_episode(source: bytes | Path) -> h5py.File:
    """The HDF5 file of an episode, for reading; raises StoreError where it is none. The caller closes it."""
    name = str(source) if isinstance(source, Path) else "these bytes"
    try:
        # No lock: reading must work on read-only and network file systems, and a stored episode never changes.
        file = h5py.File(source, "r", locking=False) if isinstance(source, Path) else h5py.File(BytesIO(source), "r")
    except FileNotFoundError:
        raise
    except Exception as error:  # damage surfaces as OSError, RuntimeError, KeyError or ValueError, as HDF5 likes
        raise StoreError(f"{name} is not a whole HDF5 file ({first_line(error)})") from error
    try:
        found = read_attributes(file)
        ours = found.get("format") == FORMAT and found.get("version") == VERSION
        if ours:
            check_arrays(file)
    except Exception as error:
        file.close()
        raise StoreError(f"{name} is damaged or foreign ({first_line(error)})") from error
    if not ours:
        file.close()
        raise StoreError(f"{name} is not an episode of {FORMAT} version {VERSION}")
    return file


def summarise(file: h5py.File) -> EpisodeSummary:
    """The summary of an open episode file, from its attributes alone."""
    at = read_attributes(file)
    return EpisodeSummary(
        steps=int(at["steps"]),
        total=float(at["total"]),
        seed=int(at["seed"]),
        terminated=bool(at["terminated"]),
        truncated=bool(at["truncated"]),
        **{name: str(at.get(name, "")) for name in ("env", "painter", "policy")},
    )


def read_origin(file: h5py.File) -> Origin | None:
    """Where the episode of an open file begins; None: at the first frame of its seed."""
    return Origin(file["origin_actions"][()], file["origin_rewards"][()]) if "origin_actions" in file else None


def decode_episode(source: bytes | Path) -> Episode:
    """The episode that `encode_episode` wrote.

    Raises:
        StoreError: the source is truncated, damaged (checksums) or something else than an episode.
    """
    with open_episode(source) as file:
        try:
            check_chunks(file["frames"], 0, len(file["frames"]))
            arrays: dict[str, Any] = {name: file[name][()] for name in ("frames", "actions", "rewards")}
            at, origin = summarise(file), read_origin(file)
            return Episode(**arrays, terminated=at.terminated, truncated=at.truncated, seed=at.seed, origin=origin)
        except Exception as error:
            name = str(source) if isinstance(source, Path) else "these bytes"
            raise StoreError(f"{name} is damaged ({first_line(error)})") from error
