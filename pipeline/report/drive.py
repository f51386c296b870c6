"""One episode as the agent lived it: what it saw, kept, expected and did."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..drawing.canvas import INK, Controls, compose, strip


@dataclass(frozen=True)
class DriveRecord:
    """One episode as the agent lived it. Row t of each picture belongs to frame t.

    `expected[t]` is what the memory expected before it saw frame t, after action t-1; `expected[0]` is black, because
    nothing was expected before the first frame. It is None for an agent without a memory.
    """

    seed: int
    frames: NDArray[np.uint8]  # [T+1,H,W,C]
    reconstructions: NDArray[np.uint8]  # [T+1,H,W,C]
    expected: NDArray[np.uint8] | None  # [T+1,H,W,C]
    actions: NDArray[np.float32]  # [T,A], vectors of the action codec
    rewards: NDArray[np.float32]  # [T]
    controls: Controls
    told: dict[str, NDArray[np.float64]] = field(default_factory=dict)  # [T+1] each: what the world measures, by name

    @property
    def steps(self) -> int:
        return len(self.rewards)

    @property
    def total(self) -> float:
        return float(self.rewards.sum())

    def pictures(self, stride: int = 1) -> Iterator[NDArray[np.uint8]]:
        """Every `stride`-th instant as a picture u8[H,W,3] RGB: the views side by side, return, step and action."""
        views = [("sees", self.frames), ("reconstructs", self.reconstructions)]
        if self.expected is not None:
            views.append(("expected, before seeing it", self.expected))
        returns = np.concatenate([[0.0], np.cumsum(self.rewards, dtype=np.float64)])

        def below(t: int, width: int) -> NDArray[np.uint8]:
            told = {name: values[t] for name, values in self.told.items()}
            figures = {"return": returns[t], "step": t, **told}
            cells = [(name, f"{value:.0f}", INK, 74) for name, value in figures.items()][:3]
            return strip(
                width, cells, self.controls, self.actions[min(t, self.steps - 1)]
            )  # of the last: the one before

        return compose(views, below, stride)
