"""A run that takes seconds: the deterministic spy as environment, and settings so small that nothing is learnt."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import pytest

from frmdn.envs import get_spec
from frmdn.pipeline.commands.main import main
from frmdn.pipeline.presets import preset
from frmdn.pipeline.settings import to_json
from frmdn.pipeline.workspace import Workspace

ENV = "Counting-v0"
TINY = {
    "collect.episodes": 4,
    "collect.max_steps": "null",
    "collect.slots": 2,
    "vision_fit.steps": 4,
    "vision_fit.log_every": 2,
    "vision_fit.checkpoint_every": 2,
    "vision_data.batch": 4,
    "memory.hidden": 8,
    "memory_fit.steps": 4,
    "memory_fit.log_every": 2,
    "memory_fit.checkpoint_every": 2,
    "memory_data.batch": 2,
    "memory_data.length": 5,
    "search.generations": 2,
    "search.slots": 2,
    "evaluate.episodes": 2,
}


@pytest.fixture(scope="module")
def plain() -> dict[str, Any]:
    """The settings of the smoke preset, as config.json holds them."""
    return to_json(preset("smoke", get_spec("CarRacing-v3")))


@pytest.fixture
def workspace(tmp_path: Path, plain: dict[str, Any]) -> Workspace:
    """A run folder that has its settings and nothing else."""
    workspace = Workspace(tmp_path / "run")
    workspace.write_config(plain)
    return workspace


@pytest.fixture(scope="session")
def kill() -> Callable[[list[str], Path, Callable[[], bool]], None]:
    """Runs a command until something is reached, and kills it there; its output goes into a log."""

    def run_and_kill(words: list[str], log: Path, reached: Callable[[], bool], patience: float = 120.0) -> None:
        with log.open("w") as output:
            process = subprocess.Popen(words, stderr=output, stdout=output)
            try:
                deadline = time.monotonic() + patience
                while not reached():
                    assert process.poll() is None, log.read_text()
                    assert time.monotonic() < deadline, f"{log.stem} never reached its middle"
                    time.sleep(0.002)
                os.kill(process.pid, signal.SIGKILL)
            finally:
                process.kill()
                process.wait()

    return run_and_kill


@pytest.fixture
def counting() -> Iterator[str]:
    """`Counting-v0` under its own name for as long as a test runs."""
    gymnasium.register(ENV, entry_point="frmdn.envs.worlds.counting:CountingEnv", max_episode_steps=10)
    yield ENV
    del gymnasium.registry[ENV]


@pytest.fixture
def tiny(counting: str) -> Callable[..., list[str]]:
    """The arguments of a tiny run into a folder, with further arguments behind."""

    def arguments(folder: Path, *more: str) -> list[str]:
        words = ["run", "--out", str(folder), "--env", counting, "--preset", "smoke", "--workers", "0"]
        for key, value in TINY.items():
            words += ["--set", f"{key}={value}"]
        return [*words, *more]

    return arguments


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("template") / "run"


@pytest.fixture
def finished(tiny: Callable[..., list[str]], template: Path, tmp_path: Path) -> Path:
    """The folder of a finished tiny run: each test gets a copy of one."""
    if not template.exists():
        assert main(tiny(template)) == 0
    return Path(shutil.copytree(template, tmp_path / "run"))
