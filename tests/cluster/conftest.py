"""Three machines on this one (machines.sh), and a tiny run that they go on with."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("machines.sh")
HEAD = "10.213.7.1:6379"
# A whole run of seconds; what the tests play is set by each.
TINY = [
    "vision_fit.steps=4",
    "memory_fit.steps=4",
    "evaluate.episodes=1",
    "evaluate.max_steps=20",
    "search.generations=1",
]


class Machines:
    """Namespaces 1 to 3; a node of Ray has two processors."""

    def __init__(self) -> None:
        self.name = str(os.getpid() % 100000)  # short: it is part of the name of an interface
        self.env = os.environ | {"FRMDN_CLUSTER": self.name, "PYTHON": sys.executable, "CPUS": "2"}
        self.env |= {"RAY_AUTH_MODE": "disabled", "FRMDN_TMP": f"/tmp/frmdn-{self.name}", "OMP_NUM_THREADS": "1"}
        self.started: list[subprocess.Popen[str]] = []

    def do(self, *words: str | int) -> None:
        done = subprocess.run([SCRIPT, *map(str, words)], env=self.env, capture_output=True, text=True)
        assert done.returncode == 0, f"{words}: {done.stdout}\n{done.stderr}"

    def start(self, machine: int, *words: object) -> subprocess.Popen[str]:
        """A command there."""
        command = [str(SCRIPT), "exec", str(machine), *map(str, words)]
        pipe = subprocess.PIPE
        program = subprocess.Popen(command, env=self.env, stdout=pipe, stderr=subprocess.STDOUT, text=True)
        self.started.append(program)
        return program

    def frmdn(self, *words: object, workers: int = 4, machine: int = 1) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "frmdn", *words, "--workers", workers, "--ray-address", HEAD]
        return self.start(machine, *command)

    def processes(self, machine: int, named: str = "ray::") -> list[int]:
        """Those there whose command line begins so."""
        found = subprocess.run(["ip", "netns", "pids", f"frmdn-{self.name}-{machine}"], capture_output=True, text=True)
        pids = []
        for pid in map(int, found.stdout.split()):
            try:
                if Path(f"/proc/{pid}/cmdline").read_text().startswith(named):
                    pids.append(pid)
            except OSError:
                pass
        return pids


@pytest.fixture
def machines() -> Iterator[Machines]:
    """The first two have Ray; the third may join."""
    if os.geteuid() != 0 or not (shutil.which("ip") and shutil.which("unshare")):
        pytest.skip("network namespaces need root, iproute2 and unshare")
    made = Machines()
    try:
        made.do("up")
        made.do("ray", 1)
        made.do("ray", 2)
        yield made
    finally:
        for program in made.started:
            if program.poll() is None:
                program.kill()
        made.do("down")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the smallest settings."""
    folder = tmp_path_factory.mktemp("base") / "run"
    settings = [word for each in TINY for word in ("--set", each)]
    alone("run", "--out", folder, "--env", "CarRacing-v3", "--preset", "smoke", *settings)
    return folder


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Callable[[str], Path]:
    def copied(name: str) -> Path:
        shutil.copytree(finished, tmp_path / name)
        return tmp_path / name

    return copied


def alone(*words: object) -> None:
    """`frmdn` without workers, which is what all others are held against."""
    command = [sys.executable, "-m", "frmdn", *map(str, words), "--workers", "0"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def lines(path: Path) -> list[dict[str, object]]:
    """A history, without what a clock says."""
    found = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [{key: value for key, value in line.items() if "second" not in key} for line in found]


def until(what: Callable[[], object], program: subprocess.Popen[str], seconds: float = 240) -> None:
    """Wait for something to be so while a program works."""
    end = time.monotonic() + seconds
    while not what():
        assert program.poll() is None, f"it ended before: {program.stdout.read() if program.stdout else ''}"
        assert time.monotonic() < end, "it was not so in time"
        time.sleep(0.1)


def over(program: subprocess.Popen[str], seconds: float = 400) -> str:
    """What a program said, once it has ended well."""
    said, _ = program.communicate(timeout=seconds)
    assert program.returncode == 0, said
    return said


@pytest.fixture
def tools() -> dict[str, Callable[..., object]]:
    return {"alone": alone, "lines": lines, "until": until, "over": over}
