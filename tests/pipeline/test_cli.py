"""The command line: exit codes, one-line errors with a remedy, and a `--help` that answers at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import pytest

from frmdn.envs.worlds.counting import CountingEnv, Failure
from frmdn.pipeline.commands import main as cli
from frmdn.pipeline.commands import status
from frmdn.pipeline.commands.main import main
from frmdn.pipeline.machine import cores
from frmdn.pipeline.stages.table import STAGES

HEAVY = ("torch", "ray", "gymnasium", "cma", "numpy", "rich", "h5py")


def failure(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line that a user's mistake prints."""
    assert main(words) == 2
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert captured.out == "" and len(lines) == 1, captured
    assert lines[0].startswith("frmdn: ")
    return lines[0]


def test_help_is_quick_and_loads_nothing_heavy() -> None:
    program = (
        "import sys\nfrom frmdn.pipeline.commands.main import main\n"
        "try: main(['--help'])\n"
        f"finally: assert not set({HEAVY}) & set(sys.modules), set({HEAVY}) & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in ("run", "status", "density", "bench", *(stage.name for stage in STAGES)):
        assert f"\n    {name}" in done.stdout
    assert "examples:" in done.stdout


def test_status_and_a_finished_run_load_nothing_heavy(finished: Path) -> None:
    program = (
        "import sys\nfrom frmdn.pipeline.commands.main import main\n"
        f"assert main(['status', '--run', {str(finished)!r}, '--json']) == 0\n"
        f"assert main(['run', '--out', {str(finished)!r}]) == 0\n"
        f"assert not set({HEAVY}) & set(sys.modules), set({HEAVY}) & set(sys.modules)"
    )
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "all 7 stages" in done.stderr and time.monotonic() - begun < 30


@pytest.mark.parametrize("command", ["run", "status", "density", "bench", *(stage.name for stage in STAGES)])
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0 and f"frmdn {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [[], ["fly"], ["run"], ["run", "--out", "x", "--workers", "many"], ["evaluate", "--run", "x", "--episodes", "0"]],
)
def test_a_wrong_command_line_exits_with_2(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2 and not list(tmp_path.iterdir())


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.startswith("frmdn ")


def test_mistakes_are_told_in_one_line_and_leave_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "run")
    assert "CarRacing-v3" in failure(capsys, "run", "--out", out, "--env", "CarRacing-v33")
    assert "smoke, quick, quick-dream, standard, paper" in failure(capsys, "run", "--out", out, "--preset", "enormous")
    assert "did you mean search.sigma" in failure(capsys, "run", "--out", out, "--set", "serch.sigma=1")
    assert "is no run folder" in failure(capsys, "status", "--run", out)
    assert "is no run folder" in failure(capsys, "vision", "--run", out)
    assert not (tmp_path / "run").exists()


def test_a_foreign_folder_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.tex").write_text("text")
    assert "thesis.tex" in failure(capsys, "run", "--out", str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (ValueError("sigma is wrong:\n  lower it"), 2, "frmdn: sigma is wrong: lower it\n"),
        (FileNotFoundError("no such file: x"), 2, "frmdn: no such file: x\n"),
        (RuntimeError("a bug"), 1, "Traceback"),
        (KeyboardInterrupt(), 130, "run the same command again"),
        (KeyboardInterrupt(15), 143, "run the same command again"),
    ],
)
def test_exit_codes(
    error: BaseException, code: int, text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(options: object) -> int:
        raise error

    monkeypatch.setattr(status, "run", fail)
    assert main(["status", "--run", "x"]) == code
    assert text in capsys.readouterr().err


def test_sigterm_ends_in_order(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(status, "run", lambda options: signal.raise_signal(signal.SIGTERM))
    assert main(["status", "--run", "x"]) == 143
    assert "run the same command again" in capsys.readouterr().err


def test_a_missing_extra_is_the_users_to_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    from frmdn.envs.errors import MissingExtra

    assert cli._is_users(MissingExtra("VizDoom", "doom", "Doom"))
    assert not cli._is_users(ImportError("numpy"))


@pytest.mark.parametrize(
    ("kind", "code", "said"), [("raise", 1, "RuntimeError: "), ("nan", 2, "the environment's reward")]
)
def test_an_environment_that_fails_is_one_line_and_leaves_its_traceback_in_the_log(
    kind: str, code: int, said: str, tiny: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = Broken if kind == "nan" else partial(CountingEnv, failure=Failure("raise", step=3))
    gymnasium.registry.pop("Counting-v0")
    gymnasium.register("Counting-v0", entry_point=entry, max_episode_steps=10)
    out = tmp_path / "run"
    assert main(tiny(out)) == code
    last, log = capsys.readouterr().err.splitlines()[-1], (out / "log.txt").read_text()
    assert last.startswith(f"frmdn: {said}") and last.endswith(f"(the traceback is in {out / 'log.txt'})")
    assert ("Traceback (most recent call last)" in log and "counting.py" in log) or (kind == "nan" and "run.py" in log)


class Broken(CountingEnv):
    """Its rewards are no numbers."""

    def step(self, action: Any) -> Any:
        frame, _, *ends = super().step(action)
        return (frame, float("nan"), *ends)


@pytest.mark.ray
@pytest.mark.slow
def test_an_extra_that_workers_miss_is_told_in_one_line(tmp_path: Path) -> None:
    """In a process of its own, where vizdoom is a package that cannot be imported, for Ray's workers too."""
    (tmp_path / "vizdoom").mkdir()
    (tmp_path / "vizdoom" / "__init__.py").write_text("raise ImportError('not here')")
    words = ["run", "--env", "VizdoomTakeCover-v1", "--preset", "smoke", "--out", str(tmp_path / "run")]
    done = subprocess.run(
        [sys.executable, "-m", "frmdn", *words, "--workers", "1"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("frmdn: VizdoomTakeCover-v1 needs ViZDoom")
    assert "pip install 'frmdn[doom]'" in done.stderr.splitlines()[-1]


def test_the_number_of_workers_follows_the_quota_of_the_container(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    quotas: dict[str, Callable[..., str]] = {
        "300000 100000": lambda *_: "300000 100000\n",
        "max": lambda *_: "max 100000",
    }
    found = {}
    for name, read in quotas.items():
        monkeypatch.setattr(Path, "read_text", read)
        found[name] = cores()
    assert found == {"300000 100000": 3, "max": 8}
