"""Controllers out of a finished search, spread over it: CMA's means and its candidates, good and bad."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from .evolution import Evolution, SearchConfig
from .subspace import Subspace

GOLDEN = 0.618034  # its multiples, modulo 1, spread evenly for any count


class Selected(NamedTuple):
    """One controller of a search."""

    kind: Literal["mean", "candidate"]
    generation: int  # a mean: after so many generations (0: the start); a candidate: of this generation, from 1
    rank: int  # of a candidate, 0 the best of its generation; -1 of a mean
    told: float  # the fitness that the search was told for a candidate; NaN for a mean
    theta: np.ndarray  # f32[N]

    @property
    def name(self) -> str:
        return f"mean {self.generation}" if self.kind == "mean" else f"{self.generation}#{self.rank + 1}"


def select(
    size: int,
    config: SearchConfig,
    seed: int,
    state: dict[str, np.ndarray],
    count: int,
    *,
    start: np.ndarray | None = None,
    space: Subspace | None = None,
) -> list[Selected]:
    """`count` controllers of a saved search, by replaying it (`Evolution.resume`): half means, half candidates.

    The means stand at evenly spaced generations, the last one (the agent that is saved) always among them; the
    candidates at evenly spaced generations with ranks from best to worst. No controller stands there twice, so fewer
    than `count` come out of a search that had not so many.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1 controller, not {count}")
    generations, population = len(state["fitness"]), config.population
    means = set(np.linspace(generations, 0, -(-count // 2)).round().astype(int).tolist())
    wanted = _ranks(generations, population, count - len(means))
    chosen: list[Selected] = []

    def watch(evolution: Evolution) -> None:
        g = evolution.generation
        if g in means:
            chosen.append(Selected("mean", g, -1, float("nan"), evolution.mean.astype(np.float32)))
        if g < generations and wanted.get(g):
            told, theta = state["fitness"][g], evolution.ask()
            order = np.argsort(-told, kind="stable")
            for rank in wanted[g]:
                row = int(order[rank])
                chosen.append(Selected("candidate", g + 1, rank, float(told[row]), theta[row].astype(np.float32)))

    Evolution.resume(size, config, seed, state, start=start, space=space, watch=watch)
    return chosen


def _ranks(generations: int, population: int, count: int) -> dict[int, list[int]]:
    """Which ranks to take from which generation (0 the first)."""
    wanted: dict[int, list[int]] = {}
    if not generations:
        return wanted
    places = np.linspace(0, generations - 1, max(count, 1)).round().astype(int).tolist()[:count]
    for i, g in enumerate(places):
        rank = round(i * GOLDEN % 1 * (population - 1))
        taken = wanted.setdefault(g, [])
        if rank not in taken:
            taken.append(rank)
    return wanted
