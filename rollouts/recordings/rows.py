"""Actions and rewards of a recording: checked, and brought to one row for each transition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frmdn.envs.spec import ActionCodec

from .take import Tracks

LARGEST = 1e38  # of what is stored as float32


@dataclass(frozen=True)
class Rows:
    """The tracks of one recording as numbers: a row for each recorded frame, or for each but the last."""

    where: str
    actions: NDArray[np.float32] | None  # [N,A], vectors of the codec; None: nobody acted
    rewards: NDArray[np.float64] | None  # [N]
    ended: bool

    def check(self, frames: int) -> None:
        """Raise ValueError unless these rows go with so many recorded frames."""
        for name in ("actions", "rewards"):
            rows = getattr(self, name)
            if rows is not None and len(rows) not in (frames - 1, frames):
                raise ValueError(
                    f"{self.where} has {len(rows)} {name} for {frames} frames: give it {frames - 1}, one for each but "
                    f"the last frame, or {frames}"
                )

    def reach(self, steps: int) -> bool:
        """Whether there are rows for so many recorded steps."""
        return all(rows is None or len(rows) >= steps for rows in (self.actions, self.rewards))

    def between(self, first: int, stop: int, every: int, last: bool) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Actions f32[T,A] and rewards f32[T] of transitions first to stop-1, each of `every` recorded steps.

        The action of a transition is that of its first step, its reward the sum of all. What was recorded after the
        last frame belongs to the last transition, for no frame shows what came of it.
        """
        count = stop - first
        actions = np.zeros((count, 0), np.float32)
        if self.actions is not None:
            actions = self.actions[first * every : (stop - 1) * every + 1 : every]
        rewards = np.zeros(count)
        if self.rewards is not None:
            steps = self.rewards[first * every : None if last else stop * every]
            rewards = np.add.reduceat(steps, np.arange(count) * every)
        return actions.astype(np.float32), rewards.astype(np.float32)


def rows_of(tracks: Tracks, codec: ActionCodec) -> Rows:
    """The tracks of a recording as the codec has them; ValueError names the file, the row and the remedy."""
    actions = None
    if codec.size:
        if tracks.actions is None:
            raise ValueError(f"{tracks.where} has no actions, but others have: add them, or import with --actions none")
        actions = _vectors(tracks.where, checked(tracks), codec)
    return Rows(tracks.where, actions, _rewards(tracks), tracks.ended)


def checked(tracks: Tracks) -> NDArray[Any]:
    """Actions [N,A], all finite numbers. ValueError says which is not."""
    assert tracks.actions is not None
    actions = _numbers(tracks.where, "actions", tracks.actions)
    actions = actions[:, None] if actions.ndim == 1 else actions
    if actions.ndim != 2 or not actions.shape[1]:
        raise ValueError(
            f"{tracks.where} has actions of {list(actions.shape)}: give [T] or [T,A], a row for each step of A numbers"
        )
    return actions


def _numbers(where: str, name: str, values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype.kind not in "fiub":
        raise ValueError(f"{where} has {name} of {values.dtype}, which are no numbers: save them as numbers")
    if not values.ndim:
        raise ValueError(f"{where} has a single number as its {name}: give a row for each step")
    bad = np.argwhere(~(np.abs(values) < LARGEST))
    if len(bad):
        value = values[tuple(bad[0])]
        column = f", column {bad[0][1]}" if values.ndim > 1 and values.shape[1] > 1 else ""
        raise ValueError(f"{where} has {value} among its {name} (row {bad[0][0]}{column}, from 0): mend it")
    return values


def _vectors(where: str, actions: NDArray[Any], codec: ActionCodec) -> NDArray[np.float32]:
    if codec.kind == "box":
        if actions.shape[1] != codec.size:
            raise ValueError(f"{where} has actions of {actions.shape[1]} numbers, but others of {codec.size}: mend it")
        return actions.astype(np.float32)
    if actions.shape[1] == codec.size > 1 and ((actions == 0) | (actions == 1)).all() and (actions.sum(1) == 1).all():
        return actions.astype(np.float32)  # one-hot already
    chosen = actions[:, 0].astype(np.int64) - codec.start
    wrong = np.flatnonzero((actions[:, 0] != chosen + codec.start) | (chosen < 0) | (chosen >= codec.n))
    if actions.shape[1] > 1 or len(wrong):
        found = f"actions of {actions.shape[1]} numbers" if actions.shape[1] > 1 else f"action {actions[wrong[0], 0]}"
        raise ValueError(
            f"{where} has {found}, but its actions are the whole numbers {codec.start} to {codec.start + codec.n - 1}: "
            "mend it, or import with --actions numbers"
        )
    return np.eye(codec.n, dtype=np.float32)[chosen]


def _rewards(tracks: Tracks) -> NDArray[np.float64] | None:
    if tracks.rewards is None:
        return None
    rewards = _numbers(tracks.where, "rewards", tracks.rewards)
    if rewards.ndim == 2 and rewards.shape[1] == 1:
        rewards = rewards[:, 0]
    if rewards.ndim != 1:
        raise ValueError(f"{tracks.where} has rewards of {list(rewards.shape)}: give [T], one for each step")
    return rewards.astype(np.float64)
