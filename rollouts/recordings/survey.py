"""A first look at all recordings, without their pictures: what their actions are, and whether there are rewards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from frmdn.envs.spec import ActionCodec

from .rows import checked
from .take import Source, Tracks

Wish = Literal["auto", "discrete", "numbers", "none"]
MOST_ACTIONS = 4096  # that are chosen among: each is a number of every stored transition
NOBODY = ActionCodec("box")  # no numbers: nobody acts


@dataclass(frozen=True)
class _Seen:
    """The actions of one recording."""

    where: str
    size: int
    whole: bool  # whole numbers of one column
    low: np.ndarray
    high: np.ndarray


def find_actions(source: Source, wish: Wish = "auto", theirs: ActionCodec | None = None) -> ActionCodec:
    """The codec of the recorded actions.

    Args:
        source: all recordings.
        wish: "discrete": whole numbers that name actions; "numbers": real ones; "none": leave them; "auto": discrete
            where all recordings have a single column of whole numbers.
        theirs: the codec of an environment, which decides where there is one.

    Raises:
        ValueError: names the file whose actions are wrong or missing.
    """
    if wish == "none":
        return NOBODY
    if theirs is not None or source.action is not None:
        codec = theirs or source.action
        assert codec is not None
        return NOBODY if codec.kind == "discrete" and codec.n == 1 else codec  # a single action is no choice
    seen = []
    without: list[str] = []
    for take in source.takes:
        tracks = take.tracks()
        if tracks.actions is None:
            without.append(tracks.where)
        else:
            seen.append(_look(tracks))
    if not seen:
        return NOBODY
    if without:
        raise ValueError(f"{without[0]} has no actions, but {seen[0].where} has: add them, or use --actions none")
    return _codec(seen, wish)


def _look(tracks: Tracks) -> _Seen:
    actions = checked(tracks)
    if not len(actions):
        raise ValueError(f"{tracks.where} has no rows of actions: leave the file away, or fill it")
    whole = actions.shape[1] == 1 and actions.dtype.kind in "iub"
    return _Seen(tracks.where, actions.shape[1], whole, actions.min(0), actions.max(0))


def _codec(seen: list[_Seen], wish: Wish) -> ActionCodec:
    first = seen[0]
    for one in seen:
        if one.size != first.size:
            raise ValueError(
                f"{one.where} has actions of {one.size} numbers, but {first.where} of {first.size}: give all the same"
            )
    low, high = np.min([one.low for one in seen], 0), np.max([one.high for one in seen], 0)
    if wish == "discrete" or (wish == "auto" and all(one.whole for one in seen)):
        if first.size > 1:
            raise ValueError(f"{first.where} has actions of {first.size} numbers: discrete ones are a single column")
        if low[0] < 0:
            worst = next(one.where for one in seen if one.low[0] < 0)
            raise ValueError(
                f"{worst} has action {low[0]}: discrete ones count from 0; or import with --actions numbers"
            )
        if high[0] >= MOST_ACTIONS:
            worst = next(one.where for one in seen if one.high[0] >= MOST_ACTIONS)
            raise ValueError(
                f"{worst} has action {high[0]}: there may be {MOST_ACTIONS} at most; or import with --actions numbers"
            )
        return ActionCodec("discrete", n=int(high[0]) + 1)
    lows, highs = [float(x) for x in low], [float(x) for x in high]
    highs = [b if b > a else a + max(1.0, abs(a)) for a, b in zip(lows, highs, strict=True)]
    return ActionCodec("box", tuple(lows), tuple(highs), rest(lows, highs))


def rest(low: Sequence[float], high: Sequence[float]) -> tuple[float, ...]:
    """Where recorded numbers rest, which nobody has said: at zero, or in the middle where they never are zero."""
    return tuple(0.0 if a <= 0 <= b else (a + b) / 2 for a, b in zip(low, high, strict=True))
