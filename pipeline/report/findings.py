"""What a run folder has to show, read from its JSON alone; a part that is not there yet is empty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..files import read_history, read_json
from ..stages.table import RECORDED, Stage, table

VIDEO = "agent.webm"


@dataclass(frozen=True)
class StageTime:
    """Working time of one stage over all resumes; `units` of `unit` done."""

    name: str
    state: str  # done | partial | missing
    seconds: float
    units: int
    unit: str
    result: str


@dataclass(frozen=True)
class Findings:
    """A run folder, read once."""

    folder: Path
    config: dict[str, Any]
    stages: tuple[StageTime, ...]  # without the report itself
    vision: list[dict[str, Any]]  # history lines
    memory: list[dict[str, Any]]
    evolution: list[dict[str, Any]]
    rounds: list[dict[str, Any]]  # a line a round, those of finalists with what they made there; empty for a single one
    evaluation: dict[str, Any]  # empty before the evaluation
    searched: int  # episodes of the searches of all rounds

    @property
    def env(self) -> str:
        return str(self.evaluation.get("env") or self.config.get("env") or "an unnamed environment")

    @property
    def title(self) -> str:
        """The environment, or what was recorded where there is none."""
        recording = self.config.get("recording") or {}
        return str(recording.get("source", "recordings")) if self.watched else self.env

    @property
    def watched(self) -> bool:
        """Whether all was imported and there is no environment to play."""
        return self.config.get("env") == RECORDED

    @property
    def seconds(self) -> float:
        return sum(stage.seconds for stage in self.stages)

    @property
    def video(self) -> Path | None:
        path = self.folder / VIDEO
        return path if path.exists() and path.stat().st_size else None


def read_findings(folder: Path | str) -> Findings:
    """Read a run folder; raises ValueError where it is none, or where a file in it is no JSON."""
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder} is no run folder: make one with frmdn run --out {folder}")
    config, evolution = _optional(folder / "config.json"), _lines(folder / "controller", "generation")
    config.pop("format", None)  # of the folder, not of the run
    later = [_lines(path, "generation") for path in folder.glob("round-*/controller")]
    return Findings(
        folder=folder,
        config=config,
        stages=tuple(_stage(folder, stage) for stage in table(config) if stage.name != "report"),
        vision=_lines(folder / "vision", "step"),
        memory=_lines(folder / "memory", "step"),
        evolution=evolution,
        rounds=_rounds(folder / "rounds"),
        evaluation=_optional(folder / "evaluation.json"),
        searched=sum(int(line.get("episodes", 0)) for lines in (evolution, *later) for line in lines),
    )


def _lines(folder: Path, key: str) -> list[dict[str, Any]]:
    """A history of numbers, without lines that are damaged."""
    return read_history(folder / "history.jsonl", (key,), all_numbers=True)


def _rounds(folder: Path) -> list[dict[str, Any]]:
    finals = {line["round"]: line for line in read_history(folder / "finals.jsonl", ("round",))}
    return [{**line, **finals.get(line["round"], {})} for line in read_history(folder / "history.jsonl", ("round",))]


def _stage(folder: Path, stage: Stage) -> StageTime:
    done = _optional(folder / stage.folder / "done.json")
    record: Mapping[str, Any] = done or _optional(folder / stage.folder / "begun.json")
    state = "done" if done else "partial" if record else "missing"
    seconds, units = float(record.get("seconds") or 0.0), int(record.get("units") or 0)
    return StageTime(stage.name, state, seconds, units, stage.unit, str(record.get("result", "")))


def _optional(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except FileNotFoundError:
        return {}
