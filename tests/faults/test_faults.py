"""The quick part of `make test-faults`: one fault of two kinds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the commands are forked")
def test_killed_once(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "tests.faults", "--times", "1", "--kind", "driver killed", "--kind", "file cut"]
    done = subprocess.run([*words, "--out", str(tmp_path / "f.json")], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "f.json").read_text())
    assert (found["trials"], found["survived"], found["units_lost"]) == (2, 2, 0)
    assert found["artefacts_compared"] >= 30 and set(found["events"]) >= {"collect", "vision", "memory", "evolve"}
