"""SIGKILL in the middle of a stage, then the same command: the artefacts of an undisturbed run, no unit done twice."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from frmdn.pipeline.files import read_json

pytestmark = pytest.mark.slow

SETTINGS = {  # long enough to be caught in the middle of each stage, short enough for a test
    "collect.episodes": 12,
    "collect.max_steps": 60,
    "collect.slots": 2,
    "vision_fit.steps": 30,
    "vision_fit.log_every": 2,
    "vision_fit.checkpoint_every": 5,
    "vision_data.batch": 8,
    "memory.hidden": 32,
    "memory_fit.steps": 120,
    "memory_fit.log_every": 3,
    "memory_fit.checkpoint_every": 10,
    "memory_data.length": 16,
    "search.generations": 5,
    "search.slots": 4,
    "search.max_steps": 40,
    "search.validate_every": 2,
    "search.validate_episodes": 2,
    "evaluate.max_steps": 30,
}
PATIENCE = 120.0  # seconds until a stage must have reached its middle
Kill = Callable[[list[str], Path, Callable[[], bool]], None]
TIMES = ("seconds", "per_second", "steps_per_second")  # the only figures that may differ


def command(folder: Path, workers: int) -> list[str]:
    words = [sys.executable, "-m", "frmdn", "run", "--env", "CarRacing-v3", "--preset", "smoke"]
    words += ["--seed", "5", "--workers", str(workers), "--out", str(folder)]
    for key, value in SETTINGS.items():
        words += ["--set", f"{key}={value}"]
    return words


def lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a history."""
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def episodes(folder: Path) -> dict[str, tuple[int, int]]:
    """Episode file -> what changes whenever it is written again."""
    files = sorted((folder / "rollouts" / "episodes").glob("*.h5"))
    return {file.name: (file.stat().st_ino, file.stat().st_mtime_ns) for file in files}


def checkpoint(stage: str, after: int) -> Callable[[Path], bool]:
    """Whether a checkpoint exists, and then some history that the checkpoint does not cover."""

    def reached(folder: Path) -> bool:
        return (folder / stage / "checkpoint.safetensors").exists() and len(
            lines(folder / stage / "history.jsonl")
        ) > after

    return reached


MIDDLES: dict[str, tuple[str, Callable[[Path], bool]]] = {  # stage -> folder, and whether it is in its middle
    "collect": ("rollouts", lambda folder: len(episodes(folder)) >= 4),
    "vision": ("vision", checkpoint("vision", 4)),
    "memory": ("memory", checkpoint("memory", 10)),
    "evolve": ("controller", lambda folder: len(lines(folder / "controller" / "history.jsonl")) >= 2),
}


@dataclass
class Snapshot:
    """What was finished when the process was killed."""

    episodes: dict[str, tuple[int, int]]
    histories: dict[str, list[dict[str, Any]]]


def kill_in(kill: Kill, stage: str, folder: Path, workers: int) -> Snapshot:
    """Run until the middle of a stage, kill, and say what was there."""
    home, middle = MIDDLES[stage]
    kill(command(folder, workers), folder.parent / f"{stage}.log", lambda: middle(folder))
    assert not (folder / home / "done.json").exists(), f"{stage} was over before it was killed: make it longer"
    histories = {name: lines(folder / name / "history.jsonl") for name in ("vision", "memory", "controller")}
    return Snapshot(episodes(folder), histories)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def artefacts(folder: Path) -> dict[str, str]:
    """The hash of everything that must not depend on where a run was killed."""
    files = [*(folder / "rollouts" / "episodes").glob("*.h5")]
    files += [folder / name / "model.safetensors" for name in ("vision", "memory")]
    files += [folder / "controller" / f"{name}.safetensors" for name in ("mean", "best", "search")]
    found = {str(path.relative_to(folder)): digest(path) for path in files}
    for path in (folder / "latents").glob("*.safetensors"):  # their headers list the metadata in any order
        arrays = load_file(path)
        found[f"latents/{path.name}"] = hashlib.sha256(
            b"".join(arrays[key].tobytes() for key in sorted(arrays))
        ).hexdigest()
    found["returns"] = str(read_json(folder / "evaluation.json")["returns"])
    return found


def untimed(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in line.items() if key not in TIMES} for line in history]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    subprocess.run(command(folder, workers=0), check=True, capture_output=True, timeout=PATIENCE)
    return folder


def check_equal(folder: Path, undisturbed: Path) -> None:
    assert artefacts(folder) == artefacts(undisturbed)
    for name, key in (("vision", "step"), ("memory", "step"), ("controller", "generation")):
        history, reference = (lines(run / name / "history.jsonl") for run in (folder, undisturbed))
        steps = [line[key] for line in history]
        assert steps == sorted(set(steps)), f"{name} has lines twice"
        assert untimed(history) == untimed(reference)


def check_nothing_twice(folder: Path, snapshots: dict[str, Snapshot]) -> None:
    """What was finished before a kill was not touched after it: same files, same lines down to their times."""
    now = episodes(folder)
    before = snapshots["collect"].episodes
    assert before and before.items() <= now.items() and len(before) < len(now)
    for stage, name, unit in (("vision", "step", 5), ("memory", "step", 10), ("evolve", "generation", 1)):
        home = MIDDLES[stage][0]
        then = snapshots[stage].histories[home]
        finished = (then[-1][name] - 1) // unit * unit  # at least one whole unit lay before the last line
        kept = [line for line in then if line[name] <= finished]
        assert kept and kept == lines(folder / home / "history.jsonl")[: len(kept)], stage


def test_killed_in_every_stage(kill: Kill, tmp_path: Path, undisturbed: Path) -> None:
    folder = tmp_path / "run"
    snapshots = {stage: kill_in(kill, stage, folder, workers=0) for stage in MIDDLES}
    final = subprocess.run(command(folder, workers=0), capture_output=True, text=True, timeout=PATIENCE)
    assert final.returncode == 0, final.stderr
    check_equal(folder, undisturbed)
    check_nothing_twice(folder, snapshots)
    log = (folder / "log.txt").read_text()
    assert all(log.count(f"{stage:<9} goes on after") == 1 for stage in MIDDLES), log


@pytest.mark.ray
def test_killed_with_workers(kill: Kill, tmp_path: Path, undisturbed: Path) -> None:
    """The driver dies under its workers: they go with it, and the folder is free for the next call."""
    folder = tmp_path / "run"
    before = kill_in(kill, "collect", folder, workers=2).episodes
    kill_in(kill, "evolve", folder, workers=2)  # resumes the collection on its way
    now = episodes(folder)
    assert before and before.items() <= now.items()
    one, two = (
        {path.name: digest(path) for path in (run / "rollouts" / "episodes").glob("*.h5")}
        for run in (folder, undisturbed)
    )
    assert one == two
