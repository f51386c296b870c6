"""What a stage says: the figures of one step, and who takes them."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from ..files import is_a

UNITS = {"index": "episode"}  # what numbers the lines of a history -> its name for people, where that is another


@dataclass(frozen=True)
class Line:
    """The figures of one step of a stage."""

    stage: str  # and of which part of it, e.g. "memory/member-2", "evaluate/random"
    unit: str  # what `step` counts: "step", "generation", "episode", "round"
    step: int
    figures: Mapping[str, float | None]  # None: not finite
    time: str | None  # when it was said, in UTC; None: nobody knows any more
    begun: str = ""  # when the stage was begun: lines of another beginning are of another making

    def named(self) -> dict[str, float]:
        """The finite figures under the names that trackers show: `vision/loss`."""
        return {f"{self.stage}/{name}": x for name, x in self.figures.items() if x is not None}

    def to_json(self) -> dict[str, Any]:
        own = {"time": self.time, "stage": self.stage, "begun": self.begun, "unit": self.unit, "step": self.step}
        return own | {"figures": dict(self.figures)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Line | None:
        """None where the value is no line."""
        texts = all(isinstance(value.get(key), str) for key in ("stage", "unit", "begun"))
        figures, time = value.get("figures"), value.get("time")
        if not texts or not is_a(value.get("step"), int) or not isinstance(figures, dict):
            return None
        if not isinstance(time, str | None) or not all(map(_is_figure, figures.values())):
            return None
        return cls(value["stage"], value["unit"], value["step"], figures, time, value["begun"])


class Sink(Protocol):
    """Takes lines. A sink that has a line of a step twice is wrong: stages that go on say so first."""

    def begin(self, stage: str, lines: Sequence[Line]) -> None:
        """A stage begins, or goes on behind these lines: whatever else the sink has of it counts no more."""

    def write(self, line: Line) -> None: ...


def _is_figure(value: Any) -> bool:
    """None, or any finite float: a loss that runs away is a figure too."""
    if value is None or isinstance(value, bool):
        return value is None
    return isinstance(value, int | float) and abs(value) <= sys.float_info.max


def moment(text: str | None) -> datetime:
    """A time that somebody wrote down, in UTC where it names no zone; this one where it is none."""
    try:
        found = datetime.fromisoformat(text or "")
    except ValueError:
        return datetime.now(UTC)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def now() -> str:
    """The time in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def figures(record: Mapping[str, Any], key: str) -> dict[str, float | None]:
    """The numbers of a history line, but for what numbers it; None in place of what is not finite."""
    numbers = {name: x for name, x in record.items() if name != key and not isinstance(x, bool)}
    return {name: x if math.isfinite(x) else None for name, x in numbers.items() if isinstance(x, int | float)}
