"""The run folder: its configuration, its lock, and which of its stages are done, partial, stale or missing."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from .files import STAGING, read_json, write_json
from .settings import read_settings, write_settings
from .stages.table import BY_NAME, Stage, fingerprints, root_and_size, table

State = Literal["done", "partial", "stale", "missing"]
OUTSIDE = {  # what a stage writes beside its own folder
    "evaluate": ("evaluation.json",),
    "report": ("report.html", "agent.webm", "agent.gif", "tensorboard"),
}


@dataclass(frozen=True)
class StageStatus:
    """Where one stage stands, and why in words."""

    name: str
    state: State
    why: str
    seconds: float = 0.0


class Workspace:
    """A run folder. Everything that says whether a stage is done is read from disk, nothing is kept in memory."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    @property
    def config_path(self) -> Path:
        return self.root / "config.json"

    def folder(self, stage: str) -> Path:
        """The folder of a stage, e.g. `rollouts` of collect."""
        return self.root / BY_NAME[stage].folder

    @property
    def table(self) -> dict[str, Stage]:
        """The stages of this folder by name, in order."""
        return {stage.name: stage for stage in table(self.read_config())}

    def rounds(self) -> list[Workspace]:
        """The folders of the further rounds that have begun, in order."""
        return [Workspace(path.parent) for path in sorted(self.root.glob("round-*/config.json"))]

    # The configuration

    def require(self) -> None:
        """Raise ValueError unless this is a run folder."""
        if not self.config_path.exists():
            raise ValueError(
                f"{self.root} is no run folder (it has no config.json): make one with frmdn run --out {self.root}"
            )

    def check_free(self) -> None:
        """Raise ValueError if the folder holds somebody else's files."""
        if self.config_path.exists() or not self.root.exists():
            return
        if not self.root.is_dir():
            raise ValueError(f"{self.root} is a file: give --out the name of a folder")
        ours = {".lock", "log.txt", "config.json" + STAGING}  # left when a run was killed before its first write
        foreign = sorted(path.name for path in self.root.iterdir() if path.name not in ours)
        if foreign:
            raise ValueError(
                f"{self.root} is not empty and has no config.json (it holds {', '.join(foreign[:3])}"
                f"{', …' if len(foreign) > 3 else ''}): give --out an empty or a new folder"
            )

    def read_config(self) -> dict[str, Any]:
        """The stored configuration as JSON; ValueError where there is none, or that of another version of frmdn."""
        self.require()
        return read_settings(self.config_path, "frmdn run")

    def write_config(self, config: Mapping[str, Any]) -> None:
        write_settings(self.config_path, config)

    # The lock

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Own the folder: a second process that tries gets a ValueError with our process id.

        The kernel drops the lock with the process, so a kill never leaves a stale one.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.root / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pid = os.read(handle, 32).decode().strip() or "?"
                raise ValueError(
                    f"{self.root} is in use by process {pid}: wait for it, stop it, or use another folder"
                ) from None
            os.ftruncate(handle, 0)
            os.write(handle, str(os.getpid()).encode())
            yield
        finally:
            os.close(handle)

    def owner(self) -> int | None:
        """The process id that holds the lock, or None."""
        try:
            handle = os.open(self.root / ".lock", os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(os.read(handle, 32).decode().strip() or 0)
        finally:
            os.close(handle)
        return None

    # The stages

    def status(self) -> list[StageStatus]:
        """Where each stage stands, in order."""
        prints = fingerprints(self.read_config())
        statuses: dict[str, StageStatus] = {}
        for stage in self.table.values():
            statuses[stage.name] = self._status(stage, prints, statuses)
        return list(statuses.values())

    def _status(self, stage: Stage, prints: Mapping[str, str], before: Mapping[str, StageStatus]) -> StageStatus:
        done, begun = self.done(stage.name), self.begun(stage.name)
        record = done or begun
        if record is None:
            return StageStatus(stage.name, "missing", "not started")
        seconds = float(record["seconds"])
        why = self._stale(stage, record, prints, before)
        if why:
            return StageStatus(stage.name, "stale", why, seconds)
        if done is None:
            amount = f"{record['units']} of {record['total']} {stage.unit}"
            return StageStatus(stage.name, "partial", amount, seconds)
        found, wanted = self._products(stage, record)
        if found < wanted:
            return StageStatus(stage.name, "partial", f"{wanted - found} of its {wanted} files are gone", seconds)
        return StageStatus(stage.name, "done", f"{record['units']} {stage.unit}", seconds)

    def _products(self, stage: Stage, record: Mapping[str, Any]) -> tuple[int, int]:
        """How many files of a stage that was done are there, and how many there should be."""
        wanted = int(record["units"]) if "*" in stage.products else 1
        return sum(1 for _ in self.folder(stage.name).glob(stage.products)), wanted

    def _stale(
        self, stage: Stage, record: Mapping[str, Any], prints: Mapping[str, str], before: Mapping[str, StageStatus]
    ) -> str | None:
        unfinished = [name for name in stage.inputs if before[name].state != "done"]
        if unfinished:
            return f"{', '.join(unfinished)} must be made again first"
        changed = [name for name, made in self.inputs(stage.name).items() if record["inputs"].get(name) != made]
        if changed:
            return f"{', '.join(changed)} was made again after it"
        if record["fingerprint"] != prints[stage.name]:
            return "its settings changed"
        return None

    def inputs(self, name: str) -> dict[str, Any]:
        """What identifies the artefacts that a stage reads: fingerprint and time of finishing of each input stage."""
        made = {}
        for source in self.table[name].inputs:
            done = self.done(source) or {}
            made[source] = {"fingerprint": done.get("fingerprint"), "finished": done.get("finished")}
        return made

    def done(self, name: str) -> dict[str, Any] | None:
        """The stage's done.json {fingerprint, inputs, seconds, finished, units, result, device}, or None."""
        return _optional(self.folder(name) / "done.json")

    def begun(self, name: str) -> dict[str, Any] | None:
        """The stage's begun.json {fingerprint, inputs, root, size, seconds, units, total}, or None."""
        return _optional(self.folder(name) / "begun.json")

    def begin(self, name: str) -> StageClock:
        """Start or resume a stage: what belongs to other settings or to other inputs is removed first."""
        config, inputs, record = self.read_config(), self.inputs(name), self.begun(name)
        root, size = root_and_size(self.table[name], config)
        fits = record is not None and (record["inputs"], record["root"]) == (inputs, root) and record["size"] <= size
        if record is None or not fits:
            self.clear(name)
            record = {"inputs": inputs, "seconds": 0.0, "units": 0, "total": 0}
        else:
            self._reopen(name, record, size)
        record |= {"fingerprint": fingerprints(config)[name], "root": root, "size": size}
        return StageClock(self.folder(name), record)

    def _reopen(self, name: str, record: dict[str, Any], size: int) -> None:
        """Go on with a stage. One that was done, and only lost files, makes them again as they were: it keeps its time
        of finishing, by which the stages behind it know it."""
        done = self.done(name)
        if record["size"] < size:
            record.pop("finished", None)
        elif done is not None:
            record["finished"] = done["finished"]
            write_json(self.folder(name) / "begun.json", record)
        (self.folder(name) / "done.json").unlink(missing_ok=True)

    def clear(self, name: str) -> None:
        """Remove all artefacts of a stage; done.json first, so that a kill in between never leaves a lie."""
        folder = self.folder(name)
        for marker in ("done.json", "begun.json"):
            (folder / marker).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        for extra in OUTSIDE.get(name, ()):
            for path in self.root.glob(extra):
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


class StageClock:
    """Keeps the working time and the progress of a stage on disk, so that both survive a kill."""

    INTERVAL = 2.0  # seconds between writes

    def __init__(self, folder: Path, record: dict[str, Any]) -> None:
        self.folder, self.record = folder, record
        self._before, self._start, self._written = float(record["seconds"]), time.monotonic(), 0.0
        self._write()

    @property
    def seconds(self) -> float:
        """Working time of the stage in seconds, over all resumes."""
        return self._before + time.monotonic() - self._start

    def tick(self, units: int, total: int) -> None:
        self.record |= {"units": units, "total": total}
        if time.monotonic() - self._written >= self.INTERVAL:
            self._write()

    def finish(self, units: int, result: str, device: str = "cpu") -> None:
        """Mark the stage as done; `result` is one line for people, `device` names what computed."""
        self.record |= {"units": units, "total": units}
        finished = self.record.get("finished") or datetime.now(UTC).isoformat(timespec="milliseconds")
        seconds = round(self.seconds, 2)
        kept = {key: self.record[key] for key in ("fingerprint", "inputs")}
        self._write()
        write_json(
            self.folder / "done.json",
            {**kept, "seconds": seconds, "finished": finished, "units": units, "result": result, "device": device},
        )

    def _write(self) -> None:
        self._written = time.monotonic()
        write_json(self.folder / "begun.json", {**self.record, "seconds": round(self.seconds, 2)})


def _optional(path: Path) -> dict[str, Any] | None:
    try:
        return read_json(path)
    except FileNotFoundError:
        return None
