"""TensorBoard's event files, which grow with every line."""

from __future__ import annotations

import io
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..disk import remove
from ..files import append_bytes, read_history, write_bytes
from .line import Line, figures, moment

HISTORIES = {  # stage -> folder with its history.jsonl, and what numbers the lines
    "vision": ("vision", "step"),
    "memory": ("memory", "step"),
    "evolve": ("controller", "generation"),
}
EVENTS = "events.out.tfevents."  # by which TensorBoard knows them


class TensorBoard:
    """Event files under `folder`, one subfolder a stage: `tensorboard --logdir folder`.

    Where a stage begins or goes on, its file is made anew from the lines that count, under a name behind the former
    one's, and says that it is a new start: a TensorBoard that looks on drops what it had. So each step is there once.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self._files: dict[str, Path] = {}

    def begin(self, stage: str, lines: Sequence[Line]) -> None:
        old = self._found(stage)
        stamp = max([int(time.time()), *(int(digits) + 1 for digits in map(_stamp, old) if digits.isdecimal())])
        path = self.folder / stage / f"{EVENTS}{stamp:010d}.frmdn"
        if lines:
            write_bytes(path, b"".join([*_start(), *map(_record, lines)]))
        for each in old:  # a TensorBoard that reads one finds no way on where it is gone, but does where it is empty
            if each.is_symlink() or each.stat().st_size == 0:
                remove(each)
            else:
                write_bytes(each, b"")
        self._files[stage] = path

    def write(self, line: Line) -> None:
        if line.stage not in self._files:
            self.begin(line.stage, [])
        path, record = self._files[line.stage], _record(line)
        if path.exists():
            append_bytes(path, record, lasting=False)
        else:
            write_bytes(path, b"".join([*_start(), record]))

    def complete(self, run: Path | str) -> list[str]:
        """Write the stages of a run folder that have a history and no events, as where the events were lost; returns
        their names."""
        made = []
        for stage, (place, key) in HISTORIES.items():
            there = any(path.stat().st_size for path in self._found(stage))
            records = [] if there else read_history(Path(run) / place / "history.jsonl", (key,))
            if records:
                self.begin(stage, [Line(stage, key, int(each[key]), figures(each, key), None) for each in records])
                made.append(stage)
        return made

    def _found(self, stage: str) -> list[Path]:
        return sorted((self.folder / stage).glob(f"{EVENTS}*"))


def _stamp(path: Path) -> str:
    return path.name.removeprefix(EVENTS).partition(".")[0][:10]


def _start() -> Iterable[bytes]:
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog

    yield _framed(Event(wall_time=time.time(), file_version="brain.Event:2"))
    yield _framed(Event(wall_time=time.time(), session_log=SessionLog(status=SessionLog.START)))


def _record(line: Line) -> bytes:
    """A line as an event; `validation_x` stands beside `x` in one chart, and so do the members of an ensemble."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    stage = line.stage.partition("/")[0]
    values = [
        Summary.Value(tag=f"{stage}/{_tag(name)}", simple_value=value)
        for name, value in line.figures.items()
        if value is not None
    ]
    return _framed(Event(wall_time=moment(line.time).timestamp(), step=line.step, summary=Summary(value=values)))


def _framed(event: Any) -> bytes:
    """An event with its length and checksums, as TFRecord files have it."""
    from tensorboard.summary.writer.record_writer import RecordWriter

    buffer = io.BytesIO()
    RecordWriter(buffer).write(event.SerializeToString())
    return buffer.getvalue()


def _tag(name: str) -> str:
    """`validation_kl` -> `kl/validation`: TensorBoard sorts it next to `kl`."""
    return f"{name.removeprefix('validation_')}/validation" if name.startswith("validation_") else name
