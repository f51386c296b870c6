"""What a world tells of an episode beside its return: how far it went, whether it reached the goal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Measure:
    """A number of an episode, read from the environment's info after any step, and how episodes make a figure of it.

    kind: "rate" is the share of the episodes with 1 among 0 and 1; "mean" and "sum" are what they say.
    """

    name: str  # of the figure, in evaluations: "completion_rate"
    key: str  # of the number of one episode, in the info of reset and of every step: "completed"
    kind: Literal["rate", "mean", "sum"]
    text: str  # what it is, for people
