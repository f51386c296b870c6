"""The run folder: its configuration, its lock, and which of its stages are done, partial, stale or missing."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from .disk import remove
from .files import STAGING, read_record, write_json
from .lock import NAME, locked, owner
from .metrics.line import now
from .settings import read_settings, write_settings
from .stages.table import BY_NAME, Stage, check, fingerprints, root_and_size, table

State = Literal["done", "partial", "stale", "missing"]
LOST = "restore it from a copy; without one, make the run anew with frmdn run --out NEW"
DONE = {"fingerprint": str, "inputs": dict, "root": str, "size": int, "seconds": float, "finished": str}
DONE |= {"units": int, "result": str}
BEGUN = {"fingerprint": str, "inputs": dict, "root": str, "size": int, "seconds": float, "units": int, "total": int}
MADE_AGAIN = "delete it and run the same command again: it is made again from what the stages remember"
REMEMBERED = "settings.json"  # in the folder of a stage: the whole configuration, as it was when the stage was begun
AGAIN = "delete it and run the same command again: nothing is made anew for that"
OUTSIDE = {  # what a stage writes beside its own folder
    "evaluate": ("evaluation.json",),
    "report": ("report.html", "agent.webm", "agent.gif"),
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

    @property
    def exists(self) -> bool:
        """Whether this is a run folder: its config.json is there, or can be made again."""
        return self.config_path.exists() or self.remembered() is not None

    def require(self) -> None:
        """Raise ValueError unless this is a run folder."""
        if not self.exists:
            raise ValueError(
                f"{self.root} is no run folder (it has no config.json): make one with frmdn run --out {self.root}"
            )

    def check_free(self) -> None:
        """Raise ValueError if the folder holds somebody else's files."""
        if not self.root.exists() or (self.root.is_dir() and self.exists):
            return
        if not self.root.is_dir():
            raise ValueError(f"{self.root} is a file: give --out the name of a folder")
        ours = {NAME, "log.txt", "config.json" + STAGING}  # left when a run was killed before its first write
        foreign = sorted(path.name for path in self.root.iterdir() if path.name not in ours)
        if foreign:
            raise ValueError(
                f"{self.root} is not empty and has no config.json (it holds {', '.join(foreign[:3])}"
                f"{', …' if len(foreign) > 3 else ''}): give --out an empty or a new folder"
            )

    def read_config(self) -> dict[str, Any]:
        """The stored configuration as JSON; ValueError where there is none, or that of another version of frmdn.

        Where config.json is lost, it is the one that the stages remember.
        """
        self.require()
        try:
            return _config(self.config_path)
        except FileNotFoundError:
            return self.remembered() or {}
        except ValueError as error:
            raise ValueError(str(error).replace(LOST, MADE_AGAIN if self.remembered() else LOST)) from None

    def write_config(self, config: Mapping[str, Any]) -> None:
        write_settings(self.config_path, config)

    def remember(self, name: str) -> None:
        """Keep the configuration in the folder of a stage too, which config.json can be made again from."""
        write_settings(self.folder(name) / REMEMBERED, self.read_config())

    def remembered(self) -> dict[str, Any] | None:
        """The configuration that the stages remember; None where none does.

        They were begun at different times. What fits the fingerprints of most of them counts, the latest of equal ones.
        """
        found: dict[str, Any] | None = None
        most = 0
        for name in BY_NAME:
            try:
                config = _config(self.folder(name) / REMEMBERED)
                prints = fingerprints(config)
            except (ValueError, OSError):
                continue
            fitting = sum(self._fits(stage, made) for stage, made in prints.items())
            if fitting and fitting >= most:
                found, most = config, fitting
        return found

    def _fits(self, name: str, fingerprint: str) -> bool:
        try:
            return (self.begun(name) or {}).get("fingerprint") == fingerprint
        except (ValueError, OSError):
            return False

    # The lock

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Own the folder: a second process that tries gets a ValueError with our process id."""
        with locked(self.root):
            yield

    def owner(self) -> int | None:
        """The process id that holds the lock, or None."""
        return owner(self.root)

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
        # A memory counts steps; its files are as many as it has members, which is what it grows by.
        wanted = int(record["size"] if stage.name == "memory" else record["units"]) if "*" in stage.products else 1
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
        return {source: self.made(source) for source in self.table[name].inputs}

    def made(self, name: str) -> dict[str, Any]:
        """What identifies the artefacts of a stage."""
        done = self.done(name) or {}
        return {key: done.get(key) for key in ("fingerprint", "finished")}

    def done(self, name: str) -> dict[str, Any] | None:
        """The stage's done.json, or None: fingerprint, inputs, root, size, seconds, finished, units, result, device."""
        return _optional(self.folder(name) / "done.json", DONE)

    def begun(self, name: str) -> dict[str, Any] | None:
        """The stage's begun.json {fingerprint, inputs, root, size, seconds, units, total}, or None.

        Each of the two files says all that the other one is needed for, so that either may be lost.
        """
        begun = _optional(self.folder(name) / "begun.json", BEGUN)
        done = None if begun else self.done(name)
        return begun or (
            done and {key: done[key] for key in (*BEGUN, "begun") if key in done} | {"total": done["units"]}
        )

    def begin(self, name: str) -> StageClock:
        """Start or resume a stage: what belongs to other settings or to other inputs is removed first."""
        config, inputs, record = self.read_config(), self.inputs(name), self.begun(name)
        root, size = root_and_size(self.table[name], config)
        fits = record is not None and (record["inputs"], record["root"]) == (inputs, root) and record["size"] <= size
        if record is None or not fits:
            self.clear(name)
            record = {"inputs": inputs, "seconds": 0.0, "units": 0, "total": 0, "begun": now()}
        else:
            self._reopen(name, record, size)
        record |= {"fingerprint": fingerprints(config)[name], "root": root, "size": size}
        self.remember(name)
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
        """Remove all artefacts of a stage; done.json first, so that a kill in between never leaves a lie.

        Raises where something stays: what is old would pass for new.
        """
        folder = self.folder(name)
        if not folder.is_symlink():
            for marker in ("done.json", "begun.json"):
                (folder / marker).unlink(missing_ok=True)
        for path in (folder, *(self.root / extra for extra in OUTSIDE.get(name, ()))):
            remove(path)


def nothing_to_play(workspace: Workspace) -> str:
    """What a run folder without an environment needs before an agent can be searched and measured."""
    return (
        f"its episodes were imported, and it has nothing to play; name one: frmdn run --out {workspace.root} --env ID"
    )


class StageClock:
    """Keeps the working time and the progress of a stage on disk, so that both survive a kill."""

    INTERVAL = 2.0  # seconds between writes

    def __init__(self, folder: Path, record: dict[str, Any]) -> None:
        self.folder, self.record = folder, record
        self._before, self._start, self._written = float(record["seconds"]), time.monotonic(), 0.0
        self._write()

    @property
    def begun(self) -> str:
        """When the stage was begun with these settings and inputs, in UTC; "" where its record does not say."""
        return str(self.record.get("begun", ""))

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
        # In both files: a stage that lost done.json is done again at the time by which those behind it know it.
        self.record.setdefault("finished", now())
        seconds = round(self.seconds, 2)
        keys = ("fingerprint", "inputs", "root", "size", "begun", "finished", "units")
        kept = {key: self.record[key] for key in keys if key in self.record}
        self._write()
        write_json(self.folder / "done.json", {**kept, "seconds": seconds, "result": result, "device": device})

    def _write(self) -> None:
        self._written = time.monotonic()
        write_json(self.folder / "begun.json", {**self.record, "seconds": round(self.seconds, 2)})


def _config(path: Path) -> dict[str, Any]:
    config = read_settings(path, "frmdn run", LOST)
    try:
        check(config)
    except ValueError as error:
        raise ValueError(f"{path}: {error}; {LOST}") from None
    return config


def _optional(path: Path, shape: Mapping[str, type]) -> dict[str, Any] | None:
    try:
        return read_record(path, shape, AGAIN)
    except FileNotFoundError:
        return None
