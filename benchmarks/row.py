"""One row of the benchmark: our way and the classical way, timed in turns, and the physical limit."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

Work = Callable[[], float]  # does a share of the work and returns how many units it did


@dataclass(frozen=True)
class Row:
    """What one hot loop does in a second; `ratio` is what to quote, since machines and their noise differ."""

    name: str
    ours: float
    classical: float
    ratio: float
    unit: str
    limit: float  # the same unit: the part of the loop that no code of ours can make faster, alone
    note: str

    def to_json(self) -> dict[str, float | str]:
        return {key: round(value, 3) if isinstance(value, float) else value for key, value in asdict(self).items()}


def rate(work: Work, seconds: float) -> float:
    """Units a second over at least `seconds`."""
    start, done = time.perf_counter(), 0.0
    while (passed := time.perf_counter() - start) < seconds:
        done += work()
    return done / passed


def measure(works: dict[str, Work], seconds: float, rounds: int = 3) -> dict[str, float]:
    """Median rate of each work over rounds in turns, so that a slow spell of the machine strikes all of them."""
    for work in works.values():
        work()  # warm-up: kernels chosen, pages touched, workers alive
    rates: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            rates[name].append(rate(work, seconds / rounds))
    return {name: statistics.median(values) for name, values in rates.items()}
