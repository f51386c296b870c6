"""SIGKILL inside a further round, then the same command: the end of an undisturbed run, nothing lost, nothing twice."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from frmdn.pipeline.files import read_json
from frmdn.pipeline.workspace import Workspace

pytestmark = pytest.mark.slow

PROGRAM = """
import sys
import gymnasium
from frmdn.pipeline.commands.main import main
gymnasium.register("Counting-v0", entry_point="frmdn.envs.worlds.counting:CountingEnv", max_episode_steps=10)
sys.exit(main(sys.argv[1:]))
"""
SETTINGS = {  # long enough to be caught in the middle of the second round's stages, short enough for a test
    "search.generations": 30,
    "search.validate_episodes": 2,
    "dream.slots": 4,
    "dream.starts": 8,
    "dream.warmup": 3,
    "rounds.episodes": 2,
    "rounds.memory_steps": 240,
    "memory_fit.checkpoint_every": 10,
}
MORE = ("--in", "dream", "--rounds", "2", "--check-every", "1", "--horizon", "6")
PATIENCE = 120.0  # seconds until a stage must have reached its middle
TIMES = ("seconds", "per_second", "steps_per_second")  # the only figures that may differ
CHECKPOINT = 10  # steps of the memory
Words = Callable[..., list[str]]
Kill = Callable[[list[str], Path, Callable[[], bool]], None]


def command(tiny: Words, folder: Path) -> list[str]:
    settings = [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]
    return [sys.executable, "-c", PROGRAM, *tiny(folder, *MORE, *settings)]


def lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a history."""
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def untimed(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in line.items() if key not in TIMES} for line in history]


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """File -> what changes whenever it is written again."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}


def first_round(folder: Path) -> dict[str, tuple[int, int]]:
    homes = ("rollouts", "vision", "latents", "memory", "controller")
    return {f"{home}/{name}": stamp for home in homes for name, stamp in stamps(folder / home).items()}


def artefacts(folder: Path) -> dict[str, Any]:
    """Everything of the second round, and of what follows it, that must not depend on where a run was killed."""
    second = folder / "round-02"
    files = [*(second / "rollouts" / "episodes").glob("*.h5"), second / "memory" / "model.safetensors"]
    files += [second / "controller" / f"{name}.safetensors" for name in ("mean", "best", "search")]
    found: dict[str, Any] = {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    found = {name.removeprefix(str(folder)): value for name, value in found.items()}
    for path in (second / "latents").glob("*.safetensors"):  # their headers list the metadata in any order
        found[path.name] = {key: value.tobytes() for key, value in load_file(path).items()}
    found["kept"] = read_json(second / "controller" / "kept.json")
    found["rounds"] = untimed(lines(folder / "rounds" / "history.jsonl"))
    found["agent"] = untimed([read_json(folder / "rounds" / "kept.json")])
    found["returns"] = read_json(folder / "evaluation.json")["returns"]
    for home in ("memory", "controller"):
        found[home] = untimed(lines(second / home / "history.jsonl"))
    return found


def in_memory(second: Path) -> bool:
    """A checkpoint exists, and then some history that it does not cover."""
    return (second / "memory" / "checkpoint.safetensors").exists() and len(lines(second / "memory/history.jsonl")) > 8


def in_evolve(second: Path) -> bool:
    return len(lines(second / "controller" / "history.jsonl")) >= 3


def kill_when(kill: Kill, reached: Callable[[Path], bool], words: list[str], folder: Path, stage: str) -> None:
    """Run until the second round is in the middle of a stage, and kill."""
    kill(words, folder.parent / f"{stage}.log", lambda: reached(folder / "round-02"))
    states = {status.name: status.state for status in Workspace(folder / "round-02").status()}
    assert states[stage] == "partial", f"{stage} is {states[stage]}: make it longer"
    assert {status.name: status.state for status in Workspace(folder).status()}["rounds"] == "partial"


def test_killed_inside_the_second_round(kill: Kill, tiny: Words, tmp_path: Path) -> None:
    undisturbed, folder = tmp_path / "undisturbed", tmp_path / "run"
    subprocess.run(command(tiny, undisturbed), check=True, capture_output=True, timeout=PATIENCE)
    shutil.copytree(undisturbed, folder)
    for name in ("evaluate", "report", "rounds"):  # back to the end of the first round
        Workspace(folder).clear(name)
    shutil.rmtree(folder / "round-02")
    second, before = folder / "round-02", first_round(folder)

    kill_when(kill, in_memory, command(tiny, folder), folder, "memory")
    played, trained = stamps(second / "rollouts"), lines(second / "memory" / "history.jsonl")
    kill_when(kill, in_evolve, command(tiny, folder), folder, "evolve")
    remembered, searched = stamps(second / "memory"), lines(second / "controller" / "history.jsonl")
    final = subprocess.run(command(tiny, folder), capture_output=True, text=True, timeout=PATIENCE)
    assert final.returncode == 0, final.stderr

    assert artefacts(folder) == artefacts(undisturbed)
    assert first_round(folder) == before
    assert stamps(second / "rollouts") == played and stamps(second / "memory") == remembered
    kept = [line for line in trained if line["step"] <= (trained[-1]["step"] - 1) // CHECKPOINT * CHECKPOINT]
    assert kept and lines(second / "memory" / "history.jsonl")[: len(kept)] == kept  # down to their times
    assert lines(second / "controller" / "history.jsonl")[: len(searched) - 1] == searched[:-1]
    log = (folder / "log.txt").read_text()
    for stage in ("memory", "evolve"):
        assert log.count(f"{stage:<9} goes on after") == 1, log
    assert log.count("rounds    goes on after") == 2, log
