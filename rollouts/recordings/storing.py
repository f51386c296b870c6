"""Recordings become episodes of a store: one frame at a time, in pieces, and none twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from frmdn.envs.recorded import RECORDED, Recording

from ..episodes.episode import Episode, StoreError, encode_episode
from ..episodes.store import EpisodeStore
from .fitting import Fitting
from .rows import Rows, rows_of
from .take import Take

EVERY = 64  # recorded frames between two reports
Report = Callable[[int, int, str], None]  # (episodes stored, recorded frames read by this call, what is read)


class Journal(Protocol):
    """What was stored so far, on disk; `pipeline.files.History` is one."""

    def append(self, record: Mapping[str, Any]) -> None: ...

    def read(self) -> list[dict[str, Any]]: ...

    def cut(self, last: int) -> list[dict[str, Any]]: ...


@dataclass(frozen=True)
class Stored:
    """A line of the journal: one episode, and the recording that it is a piece of."""

    index: int
    take: str
    stamp: str
    piece: int
    steps: int
    rewarded: bool  # the recording has rewards
    last: bool  # of its recording


def store_takes(
    takes: Sequence[Take], recording: Recording, fitting: Fitting, store: EpisodeStore, journal: Journal, report: Report
) -> list[Stored]:
    """Bring the store to all episodes of these recordings; called again after any interruption, it goes on.

    Memory holds two pieces of `recording.length` frames, however long a recording is. An episode is noted once it is
    safe on disk. A recording that was stored whole must still be as it was; another one may have been mended.

    Raises:
        ValueError: names the recording that is damaged, or does not fit, or has changed or gone since it was stored.
    """
    store.sweep()
    lines = kept(takes, journal)
    _clear_behind(store, len(lines))
    there, read = set(store.indices()), 0
    for take in _missing(takes, lines, there):
        known = {line.piece: line.index for line in lines if line.take == take.name}

        def count(frames: int, name: str = take.name) -> None:
            nonlocal read
            read += frames
            report(len(there), read, name)

        rows = rows_of(take.tracks(), recording.action)
        for piece, (episode, last) in enumerate(pieces(take, rows, recording, fitting, count)):
            index = known.get(piece, len(lines))
            if index not in there:
                about = {"env": recording.env or RECORDED, "painter": RECORDED, "policy": RECORDED, "take": take.name}
                store.put(index, encode_episode(replace(episode, seed=index), about))
                there.add(index)
            if piece not in known:
                line = Stored(index, take.name, take.stamp, piece, episode.steps, rows.rewards is not None, last)
                journal.append(asdict(line))
                lines.append(line)
            report(len(there), read, take.name)
    return lines


def check_recorded(recording: Recording, store: EpisodeStore) -> None:
    """Raise StoreError where an episode lies among those of a recording that was not made of one."""
    for index in store.indices():
        found = store.summary(index)
        if (found.env, found.policy, found.seed) != (recording.env or RECORDED, RECORDED, index):
            raise StoreError(
                f"{store.path(index)} was not imported with the others, but is of {found.env or 'an unknown world'}: "
                "delete it, and import again"
            )


def _missing(takes: Sequence[Take], lines: Sequence[Stored], there: set[int]) -> list[Take]:
    """The recordings of which something is still to be stored; the one that was begun last comes first."""
    whole = {line.take for line in lines if line.last} - {line.take for line in lines if line.index not in there}
    begun = lines[-1].take if lines and not lines[-1].last else None
    return sorted((take for take in takes if take.name not in whole), key=lambda take: take.name != begun)


def _clear_behind(store: EpisodeStore, count: int) -> None:
    """Remove what a kill left that the journal does not know of."""
    for index in store.indices():
        if index >= count:
            store.path(index).unlink()


def kept(takes: Sequence[Take], journal: Journal) -> list[Stored]:
    """What was stored and still counts; pieces of a recording that was not finished and has changed are dropped."""
    now = {take.name: take.stamp for take in takes}
    lines = [Stored(**line) for line in journal.read()]
    finished = {line.take for line in lines if line.last}
    for line in lines:
        if line.take in finished and now.get(line.take) != line.stamp:
            what = "has changed" if line.take in now else "is gone"
            raise ValueError(
                f"{line.take} {what} since it was imported: import into another folder, or add --replace to begin anew"
            )
    while lines and not lines[-1].last and now.get(lines[-1].take) != lines[-1].stamp:
        lines.pop()
    journal.cut(lines[-1].index if lines else -1)
    return lines


def pieces(
    take: Take, rows: Rows, recording: Recording, fitting: Fitting, count: Callable[[int], None]
) -> Iterator[tuple[Episode, bool]]:
    """The episodes of a recording, and whether each is its last; those between half of and all of the length.

    Pieces of one recording share the frame where one ends and the next begins.
    """
    length, every = recording.length, recording.every
    frames: list[NDArray[np.uint8]] = []
    first, total = 0, 0
    for total, picture in enumerate(take.pictures(), 1):
        if total % EVERY == 0:
            count(EVERY)
        if (total - 1) % every:
            continue
        frames.append(fitting(picture, f"{take.name}, frame {total - 1},"))
        if len(frames) > 2 * length and rows.reach((first + length) * every):
            yield _episode(frames[: length + 1], rows, first, every, None), False
            frames, first = frames[length:], first + length
        elif len(frames) > 2 * length:
            frames = frames[-1:]  # too few rows: read on, only to say how many frames there are
    count(total % EVERY)
    if total < 2 or (first == 0 and len(frames) < 2):
        kept = f", of which every={every} keeps 1" if total > 1 else ""
        raise ValueError(f"{take.name} has {total} frames{kept}: an episode needs two at least; take the file away")
    rows.check(total)
    steps = len(frames) - 1
    if steps > length:
        half = steps // 2
        yield _episode(frames[: half + 1], rows, first, every, None), False
        frames, first = frames[half:], first + half
    yield _episode(frames, rows, first, every, rows.ended), True


def _episode(frames: list[NDArray[np.uint8]], rows: Rows, first: int, every: int, ended: bool | None) -> Episode:
    """Transitions from `first` on; `ended` is None where the recording goes on."""
    actions, rewards = rows.between(first, first + len(frames) - 1, every, ended is not None)
    over = bool(ended)
    return Episode(np.stack(frames), actions, rewards, terminated=over, truncated=not over, seed=0)
