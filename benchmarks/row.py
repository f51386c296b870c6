"""One row of the benchmark: our way and the classical way, timed in turns, and the physical limit."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

Work = Callable[[], float]  # does a share of the work and returns how many units it did
ROUNDS = 3  # turns of each side


@dataclass(frozen=True)
class Row:
    """What one hot loop does in a second."""

    name: str
    ours: float
    classical: float
    unit: str
    limit: float  # the same unit: the part of the loop that no code of ours can make faster, alone
    note: str

    @property
    def ratio(self) -> float:
        """Ours over the classical way: what to quote, since machines and their noise differ."""
        return self.ours / self.classical

    def to_json(self) -> dict[str, float | str]:
        fields = {**asdict(self), "ratio": self.ratio}
        return {key: round(value, 3) if isinstance(value, float) else value for key, value in fields.items()}

    def __str__(self) -> str:
        share = self.ours / self.limit if self.limit else float("nan")
        return (
            f"{self.name:8} {self.ours:12,.0f} {self.unit:9} {self.ratio:7.1f} x the classical {self.classical:,.0f}; "
            f"{share:.0%} of the limit {self.limit:,.0f}\n         {self.note}"
        )


@dataclass(frozen=True)
class Meter:
    """How long each side of a row is timed, and whom to tell of it: `told(turns, side)` as each turn is over."""

    seconds: float
    told: Callable[[int, str], None] = lambda turns, side: None

    def measure(self, works: dict[str, Work]) -> dict[str, float]:
        """Median rate of each work over rounds in turns, so that a slow spell of the machine strikes all of them."""
        for work in works.values():
            work()  # warm-up: kernels chosen, pages touched, workers alive
        self.told(0, "warm")
        rates: dict[str, list[float]] = {name: [] for name in works}
        for _ in range(ROUNDS):
            for name, work in works.items():
                rates[name].append(rate(work, self.seconds / ROUNDS))
                self.told(1, name)
        return {name: statistics.median(values) for name, values in rates.items()}


def rate(work: Work, seconds: float) -> float:
    """Units a second over at least `seconds`."""
    start, done = time.perf_counter(), 0.0
    while (passed := time.perf_counter() - start) < seconds:
        done += work()
    return done / passed
