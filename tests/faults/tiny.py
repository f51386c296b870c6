"""A run of seconds whose every file and step is an event at which something can go wrong, and what must come of it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file

from frmdn.envs.worlds.counting import CountingEnv
from frmdn.pipeline.files import read_history, read_json
from frmdn.pipeline.session import Result
from frmdn.pipeline.stages import running

from .. import tiny

LENGTH = 8
SETTINGS = tiny.SETTINGS | {
    "collect.episodes": 6,
    "vision.decoder": "fast",
    "vision_fit.steps": 3,
    "vision_data.batch": 2,
    "memory_fit.steps": 5,
    "memory_fit.checkpoint_every": 2,
    "search.population": 4,
    "search.episodes": 1,
    "search.generations": 4,
    "search.validate_every": 2,
    "search.validate_episodes": 1,
    "evaluate.episodes": 3,
}
TIMES = ("seconds", "per_second", "steps_per_second")  # the only figures that may differ
STEP = " step"  # behind the name of a stage: an environment is about to take one
Event = Callable[[str], None]  # the stage in which something is written, or a step is taken


def words(folder: Path, workers: int = 0) -> list[str]:
    """The one command, which is called again and again."""
    return [*tiny.words(folder, SETTINGS, workers), "--seed", "5"]


def prepare() -> None:
    """Register the world, and leave the pictures of the report out: they take most of the time, and hold no result."""
    tiny.register(LENGTH)

    def report(session: Any, work: Any) -> Result:
        (session.workspace.root / "report.html").write_text("not drawn here")
        return Result(1, "not drawn here")

    running.STAGE_FUNCTIONS["report"] = report


@contextmanager
def events(happen: Event) -> Iterator[None]:
    """Call `happen` in the middle of every write, behind every replacement, and before every step of an environment."""
    stage = ["collect"]
    run_stage, fsync, replace, step = running.run_stage, os.fsync, os.replace, CountingEnv.step

    def staged(session: Any, name: str) -> None:
        stage[0] = name
        run_stage(session, name)

    def synced(handle: int) -> None:
        happen(stage[0])  # all is written, and nothing is safe yet
        fsync(handle)

    def replaced(*args: Any, **more: Any) -> None:
        replace(*args, **more)
        happen(stage[0])

    def stepped(self: CountingEnv, action: Any) -> Any:
        happen(stage[0] + STEP)
        return step(self, action)

    running.run_stage, os.fsync, os.replace, CountingEnv.step = staged, synced, replaced, stepped  # type: ignore[assignment,method-assign]
    try:
        yield
    finally:
        running.run_stage, os.fsync, os.replace, CountingEnv.step = run_stage, fsync, replace, step  # type: ignore[method-assign]


# What must come of it


def artefacts(folder: Path) -> dict[str, str]:
    """The hash of everything that must be the same whatever happened on the way."""
    files = [*(folder / "rollouts" / "episodes").glob("*.h5")]
    files += [folder / name / "model.safetensors" for name in ("vision", "memory")]
    found = {str(path.relative_to(folder)): _digest(path.read_bytes()) for path in files if path.exists()}
    tensors = [*(folder / "latents").glob("*.safetensors"), *(folder / "controller").glob("*.safetensors")]
    for path in tensors:  # their headers list what they hold in any order
        arrays = load_file(path)
        found[str(path.relative_to(folder))] = _digest(b"".join(arrays[key].tobytes() for key in sorted(arrays)))
    for name in ("vision", "memory", "controller"):
        for number, line in enumerate(read_history(folder / name / "history.jsonl")):
            kept = {key: value for key, value in line.items() if key not in TIMES}
            found[f"{name}/history.jsonl, line {number}"] = str(kept)
    if (folder / "evaluation.json").exists():
        evaluation = read_json(folder / "evaluation.json")
        found["evaluation"] = str(
            [evaluation["returns"], evaluation["seeds"], evaluation["baselines"]["random"]["returns"]]
        )
    return found


def finished(folder: Path) -> dict[str, tuple[int, int]]:
    """Whole files that must not be made again: they would be other files."""
    places = [*(folder / "rollouts" / "episodes").glob("*.h5"), *(folder / "latents").glob("*.safetensors")]
    return {str(path.relative_to(folder)): (path.stat().st_ino, path.stat().st_mtime_ns) for path in places}


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
