"""Begin an episode where an earlier one had come: random play that returns first, then explores, gets far.

After Ecoffet et al. (2021), "First return, then explore": a random player dies at the first obstacles again and again,
and no frame from behind them is ever seen. Here it is brought back by its seed and its actions, which give the same
episode again, and goes on from there. What is stored is the new part alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from frmdn.agent.seeds import derive

from .episodes.episode import Origin
from .episodes.store import EpisodeStore
from .job import Job

WAVE = 16  # episodes that return to places known before any of them began
FRONT = 4  # the furthest episodes, of which one is gone on from
FORWARD = 2 / 3  # of the episodes that return: those that go on from the front
BACK = 60  # transitions: at most so many before its furthest place, which may have been a jump into a pit


class Way(NamedTuple):
    """An episode from the first frame of its seed to its last one."""

    seed: int
    steps: Origin
    gained: np.ndarray  # f64[K], the return after each transition
    own: int  # the first transition that the episode's file has; before it was the way of another one

    @property
    def peak(self) -> float:
        return float(self.gained.max())


def waves(count: int, returning: float) -> list[range]:
    """The indices 0 to count-1 in waves: an episode may return to those of earlier waves only."""
    size = WAVE if returning else max(1, count)
    return [range(first, min(first + size, count)) for first in range(0, count, size)]


class Returning:
    """The jobs of a collection, some of which begin where an earlier episode had come.

    How far an episode has come is its return so far. Two thirds of those that return go on from one of the furthest, up
    to `BACK` transitions before its peak; the others from a return drawn uniformly, so that every part of the way is
    seen as often. A job depends on the root seed, its index and the episodes of earlier waves alone.

    Args:
        store: where the episodes are.
        seeds: of the episodes that begin at the beginning, by index.
        share: of the episodes that return, 0 to 1.
    """

    def __init__(self, store: EpisodeStore, seeds: Sequence[int], share: float) -> None:
        self.store, self.seeds, self.share = store, seeds, share
        self._ways: list[Way] = []

    def jobs(self, wave: range) -> list[Job]:
        """The jobs of a wave; all episodes before it must be in the store."""
        if self.share and wave.start:
            self._ways += [self._way(index) for index in range(len(self._ways), wave.start)]
        return [self._job(index) for index in wave]

    def _way(self, index: int) -> Way:
        steps, at = self.store.read_way(index), self.store.summary(index)
        gained = steps.rewards.cumsum(dtype=np.float64)
        return Way(at.seed, steps, gained, len(gained) - at.steps)

    def _job(self, index: int) -> Job:
        rng = np.random.default_rng(derive(self.seeds[index], "returning"))
        if not self._ways or rng.random() >= self.share:
            return Job(index=index, seed=self.seeds[index])
        way, place = self._front(rng) if rng.random() < FORWARD else self._anywhere(rng)
        if place < 1:
            return Job(index=index, seed=way.seed, luck=self.seeds[index])
        origin = Origin(way.steps.actions[:place], way.steps.rewards[:place])
        return Job(index=index, seed=way.seed, origin=origin, luck=self.seeds[index])

    def _front(self, rng: np.random.Generator) -> tuple[Way, int]:
        furthest = sorted(self._ways, key=lambda way: way.peak)[-FRONT:]
        way = furthest[rng.integers(len(furthest))]
        return way, int(way.gained.argmax()) - int(rng.integers(BACK))

    def _anywhere(self, rng: np.random.Generator) -> tuple[Way, int]:
        """An episode that reached a return with transitions of its own, and the place where it first did."""
        level = rng.uniform(0, max(0.0, *(way.peak for way in self._ways)))
        places = [int((way.gained >= level).argmax()) for way in self._ways]
        reached = [i for i, way in enumerate(self._ways) if way.peak >= level and places[i] >= way.own]
        if not reached:
            return self._ways[rng.integers(len(self._ways))], 0
        chosen = reached[rng.integers(len(reached))]
        return self._ways[chosen], places[chosen]
