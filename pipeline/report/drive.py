"""One episode as the agent lived it: what it saw, kept, expected and did."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class DriveRecord:
    """One episode as the agent lived it. Row t of each picture belongs to frame t.

    `expected[t]` is what the memory expected before it saw frame t, after action t-1; `expected[0]` is black, because
    nothing was expected before the first frame. It is None for an agent without a memory.
    """

    env: str
    seed: int
    frames: NDArray[np.uint8]  # [T+1,H,W,C]
    reconstructions: NDArray[np.uint8]  # [T+1,H,W,C]
    expected: NDArray[np.uint8] | None  # [T+1,H,W,C]
    actions: NDArray[np.float32]  # [T,A], vectors of the action codec
    rewards: NDArray[np.float32]  # [T]
    low: NDArray[np.float32]  # [A], range of each action
    high: NDArray[np.float32]  # [A]
    names: tuple[str, ...] = ()  # of the actions, where the world names them
    told: dict[str, NDArray[np.float64]] = field(default_factory=dict)  # [T+1] each: what the world measures, by name

    @property
    def steps(self) -> int:
        return len(self.rewards)

    @property
    def total(self) -> float:
        return float(self.rewards.sum())
