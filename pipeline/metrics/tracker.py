"""Experiment trackers that people ask for by `--log`: they follow metrics.jsonl, and get each step once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from frmdn.agent.errors import first_line

from ..files import append_text, read_history
from .journal import Journal
from .line import Line


class Client(Protocol):
    """What a tracker must do; `WandB` and `MLflow` are two."""

    name: str

    def open(self, number: str, folder: Path, config: Mapping[str, Any]) -> None:
        """Begin the run of this number there, or go on with it; ValueError with the remedy where that fails."""

    def log(self, line: Line) -> None: ...

    def close(self, well: bool) -> None: ...


def open_client(name: str) -> Client:
    """The client of a name that `--log` takes; MissingExtra where its package is not installed."""
    if name == "wandb":
        from .weights_and_biases import WandB

        return WandB()
    from .mlflow_runs import MLflow

    return MLflow()


class Tracker:
    """Hands the lines of a run folder to a client, and remembers in `metrics.NAME.jsonl` what it has handed over.

    What it has not seen yet comes first, also of stages that are done. A stage that is made again, with other settings
    or from other data, begins a new run over there: those never forget a step. A tracker that fails is told of once
    and left out from there on; the run goes on.

    Args:
        client: which is opened here.
        folder: the run folder.
        config: its settings.
        tell: a line for people.
    """

    def __init__(self, client: Client, folder: Path, config: Mapping[str, Any], tell: Callable[[str], None]) -> None:
        self.client, self.folder, self.config, self.tell = client, folder, config, tell
        self.path = folder / f"metrics.{client.name}.jsonl"
        self.failed = False
        self.number, self._sent = self._remembered()
        client.open(self.number, folder, config)
        self._catch_up(self._all())

    def begin(self, stage: str, lines: Sequence[Line]) -> None:
        if lines and any(begun != lines[0].begun for begun in self._sent.get(stage, {}).values()):
            self._anew()
        self._catch_up(lines)

    def write(self, line: Line) -> None:
        sent = self._sent.get(line.stage, {})
        if self.failed or sent.get(line.step) == line.begun:
            return
        if any(begun != line.begun for begun in sent.values()):
            self._anew()  # with all lines of metrics.jsonl, this one among them
        else:
            self._send(line)

    def close(self, well: bool) -> None:
        """`well`: whether what the run was called for is done."""
        self._safely(lambda: self.client.close(well))

    def _send(self, line: Line) -> None:
        self._sent.setdefault(line.stage, {})[line.step] = line.begun
        mark = {"run": self.number, "stage": line.stage, "begun": line.begun, "step": line.step}
        append_text(
            self.path, json.dumps(mark) + "\n", lasting=False
        )  # first: a kill between the two loses a point, not a run
        self._safely(lambda: self.client.log(line))

    def _anew(self) -> None:
        """Another run over there, with all that counts here."""
        self.close(True)
        self.number, self._sent = uuid4().hex[:12], {}
        self.path.unlink(missing_ok=True)
        self._safely(lambda: self.client.open(self.number, self.folder, self.config))
        for line in self._all():
            self._send(line)  # without a look at who made it: what metrics.jsonl has is what counts

    def _catch_up(self, lines: Iterable[Line]) -> None:
        for line in lines:
            self.write(line)

    def _all(self) -> list[Line]:
        found = Journal(self.folder / "metrics.jsonl").read()
        for path in sorted(self.folder.glob("round-*/metrics.jsonl")):
            found += [_named(line, path.parent.name) for line in Journal(path).read()]
        return found

    def _remembered(self) -> tuple[str, dict[str, dict[int, str]]]:
        number = ""
        sent: dict[str, dict[int, str]] = {}
        for mark in read_history(self.path, ("step",)):
            if all(isinstance(mark.get(key), str) for key in ("run", "stage", "begun")):
                number = mark["run"]
                sent.setdefault(mark["stage"], {})[int(mark["step"])] = mark["begun"]
        return number or uuid4().hex[:12], sent

    def _safely(self, act: Callable[[], object]) -> None:
        if self.failed:
            return
        try:
            act()
        except Exception as error:  # of a package that is not ours, or of the network: the run matters more
            self.failed = True
            self.tell(f"--log {self.client.name} stops here, and the run goes on: {first_line(error)}")


class Under:
    """A tracker as a sink of a further round, whose stages have the names of those of the first."""

    def __init__(self, tracker: Tracker, folder: str) -> None:
        self.tracker, self.folder = tracker, folder

    def begin(self, stage: str, lines: Sequence[Line]) -> None:
        self.tracker.begin(f"{self.folder}/{stage}", [_named(line, self.folder) for line in lines])

    def write(self, line: Line) -> None:
        self.tracker.write(_named(line, self.folder))


def _named(line: Line, folder: str) -> Line:
    return replace(line, stage=f"{folder}/{line.stage}")
