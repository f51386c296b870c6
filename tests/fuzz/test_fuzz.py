"""The quick part of `make fuzz`: some inputs of every reader; and that the fuzzer sees what it looks for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory and opened files are watched as Linux does it")


def fuzz(out: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.fuzz", "--out", str(out), *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)


@pytest.mark.slow
def test_some_inputs_of_every_reader(tmp_path: Path) -> None:
    done = fuzz(tmp_path / "fuzz.json", "--count", "800", "--seed", "7")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "fuzz.json").read_text())
    assert found["inputs"] >= 800 and found["faults"] == 0 and found["outcomes"]["refused"] > 300
    assert len(found["readers"]) >= 40 and all(reader["inputs"] for reader in found["readers"].values())


def test_it_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    out = tmp_path / "fuzz.json"
    for count in ("20", "50"):
        done = fuzz(out, "--count", count, "--reader", "CIFAR", "--reader", "MicroJam")
        assert done.returncode == 0 and f"of {count} inputs" in done.stderr, done.stderr
    whole = json.loads(out.read_text())
    fuzz(tmp_path / "other.json", "--count", "50", "--reader", "CIFAR", "--reader", "MicroJam")
    other = json.loads((tmp_path / "other.json").read_text())
    assert whole["outcomes"] == other["outcomes"] and whole["inputs"] == 50


READERS = """
import os, subprocess, sys, time
from pathlib import Path
os.environ["FRMDN_FUZZ_SCRATCH"] = sys.argv[1]
from tests.fuzz import child, parent, subjects
from tests.fuzz.subject import Subject

def make(folder):
    (folder / "a.txt").write_text("valid")

def bad(act):
    def read(folder):
        if (folder / "a.txt").read_bytes() != b"valid":
            act(folder)
        return "read"
    return read

def reads_outside(folder):
    (folder.parent / "canary" / "secret").read_bytes()

def fills(folder):
    bytearray(2 << 30)

acts = {
    "crash": lambda folder: 1 / 0,
    "unnamed": lambda folder: int("x"),
    "unclear": lambda folder: exec("raise ValueError('a.txt' + 'x' * 5000)"),
    "hang": lambda folder: time.sleep(60),
    "memory": fills,
    "outside": reads_outside,
    "executed": lambda folder: subprocess.run(["true"]),
}
for name, act in acts.items():
    subjects.SUBJECTS[name] = Subject(name, make, bad(act))
subjects.SUBJECTS["silent"] = Subject("silent", make, lambda folder: (folder / "a.txt").read_bytes(), sealed=True)
subjects.SUBJECTS["ends"] = Subject("ends", make, bad(lambda folder: os._exit(3)))
names = (*acts, "silent", "ends")
plan = parent.Plan(4 * len(names), 200, 0, names, 3.0, Path(sys.argv[2]))
sys.exit(parent.fuzz(plan, Path(sys.argv[1]), True, False))
"""


def test_the_fuzzer_sees_every_kind_of_fault(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    words = [sys.executable, "-c", READERS, str(tmp_path / "scratch"), str(tmp_path / "fuzz.json")]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 1, done.stderr
    found = json.loads((tmp_path / "fuzz.json").read_text())["readers"]
    for name, reader in found.items():
        seen = set(reader["outcomes"]) - {"same"}
        assert seen == ({"crash"} if name == "ends" else {name}), (name, reader)
