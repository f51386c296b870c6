"""metrics.jsonl: one JSON object a line, of all stages of a run folder, each step once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from ..files import append_text, read_history, write_bytes
from .line import Line

NAME = "metrics.jsonl"


class Journal:
    """The file. It loses nothing that its histories have: what is missing comes back when a stage goes on.

    Args:
        path: of the file; its folder is there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[Line]:
        """All whole lines, in the order in which they were said."""
        return [line for line in map(Line.from_json, read_history(self.path)) if line is not None]

    def of(self, stage: str) -> list[Line]:
        return [line for line in self.read() if line.stage == stage]

    def begin(self, stage: str, lines: Sequence[Line]) -> list[Line]:
        """Let a stage have these lines and no others; returns them with the times at which they were said.

        They are of this making of the stage from now on, also where a former one played them.
        """
        found = self.read()
        times = {line.step: line.time for line in found if line.stage == stage}
        lines = [replace(line, time=times.get(line.step)) for line in lines]
        text = _text([*(line for line in found if line.stage != stage), *lines])
        if not self.path.exists() or self.path.read_bytes() != text:
            write_bytes(self.path, text)
        return lines

    def write(self, line: Line) -> None:
        append_text(self.path, _text([line]).decode(), lasting=False)  # the history of the stage has it for good


def _text(lines: Iterable[Line]) -> bytes:
    return "".join(json.dumps(line.to_json(), allow_nan=False) + "\n" for line in lines).encode()
