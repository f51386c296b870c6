"""The one way that figures take: from a stage into its history, and from there into every sink."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..files import History
from .journal import Journal
from .line import UNITS, Line, Sink, figures, now


@dataclass(frozen=True)
class Metrics:
    """Where the lines of a stage go. Without a journal and sinks: into its history alone."""

    stage: str = ""
    begun: str = ""  # when the stage was begun, see `Line`
    journal: Journal | None = None
    sinks: tuple[Sink, ...] = ()
    tell: Callable[[str], None] = lambda text: None  # a line for people

    def part(self, name: str) -> Metrics:
        """Those of a part of the stage, which has lines of its own."""
        return replace(self, stage=f"{self.stage}/{name}")

    def series(self, key: str, history: History | None = None) -> Series:
        """Lines that `key` numbers; without a history nothing but the sinks has them."""
        return Series(self, key, history)


class Series:
    """The lines of one stage, or of one part of it. Call `go_on` or `cut` before the first line."""

    def __init__(self, metrics: Metrics, key: str, history: History | None) -> None:
        self.metrics, self.key, self.history = metrics, key, history

    def go_on(self, past: Sequence[Mapping[str, Any]]) -> None:
        """What the stage has said so far; whatever else is known of it is dropped everywhere."""
        stage, lines = self.metrics.stage, [self._line(record, None) for record in past]
        if self.metrics.journal is not None:
            lines = self.metrics.journal.begin(stage, lines)
        for sink in self.metrics.sinks:
            sink.begin(stage, lines)

    def cut(self, last: int) -> list[dict[str, Any]]:
        """Go on behind unit `last`: the lines of the history up to it, as numbers that the journal can bring back."""
        assert self.history is not None
        damage, past = self.history.damage(), self.history.cut(last)
        known = {record[self.key] for record in past}
        lost = [line for line in self._journalled() if line.step <= last and line.step not in known]
        if lost:
            back = [{self.key: line.step} | {k: x for k, x in line.figures.items() if x is not None} for line in lost]
            past = sorted(past + back, key=lambda record: record[self.key])
            self.history.write(past)
        if damage is not None:
            self.metrics.tell(f"{damage}: {f'{len(lost)} brought back' if lost else 'left out'}")
        self.go_on(past)
        return past

    def append(self, record: Mapping[str, Any]) -> None:
        """One line: a step that was not said before."""
        if self.history is not None:
            self.history.append(record)
        line = self._line(record, now())
        if self.metrics.journal is not None:
            self.metrics.journal.write(line)
        for sink in self.metrics.sinks:
            sink.write(line)

    def _line(self, record: Mapping[str, Any], time: str | None) -> Line:
        unit, step = UNITS.get(self.key, self.key), int(record[self.key])
        return Line(self.metrics.stage, unit, step, figures(record, self.key), time, self.metrics.begun)

    def _journalled(self) -> list[Line]:
        """What the journal has of this making of the stage."""
        journal, begun = self.metrics.journal, self.metrics.begun
        return [] if journal is None else [x for x in journal.of(self.metrics.stage) if begun and x.begun == begun]
