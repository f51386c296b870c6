"""What the pages of the documentation are tried on: a tiny run of the real CarRacing, and the built site."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from frmdn.pipeline.commands.main import main

ROOT = Path(__file__).resolve().parents[2]
TINY = {
    "collect.episodes": 4,
    "collect.max_steps": 20,
    "collect.slots": 2,
    "vision_fit.steps": 4,
    "vision_data.batch": 8,
    "memory.hidden": 16,
    "memory_fit.steps": 4,
    "memory_data.batch": 2,
    "memory_data.length": 8,
    "search.population": 4,
    "search.generations": 1,
    "search.max_steps": 20,
    "search.validate_every": 0,
    "world.max_steps": 40,
    "evaluate.episodes": 2,
    "evaluate.max_steps": 20,
}


@pytest.fixture(scope="session")
def car(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of CarRacing in which nothing was learnt, with episodes of 40 steps."""
    folder = tmp_path_factory.mktemp("docs") / "car"
    words = ["run", "--out", str(folder), "--env", "CarRacing-v3", "--preset", "smoke", "--workers", "0"]
    for key, value in TINY.items():
        words += ["--set", f"{key}={value}"]
    assert main(words) == 0
    return folder


@pytest.fixture
def desk(car: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, whose `runs/car` and `runs/quick` are that run."""
    for name in ("car", "quick"):
        shutil.copytree(car, tmp_path / "runs" / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` builds it: any warning is an error."""
    folder = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, env=_quiet())
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def _quiet() -> dict[str, str]:
    import os

    return {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
