"""Pages that the code names are there; what moves within docs/ takes the code's pointers with it."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("frmdn", "agent", "envs", "rollouts", "controller", "pipeline", "benchmarks", "tests", "docs/machinery")
PAGE = re.compile(r"(?<![\w/])docs/[\w./-]+\.(?:md|json|py|ipynb)\b")


def test_pages_that_the_code_names_are_there() -> None:
    found = 0
    files = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    for path in [*files, ROOT / "Makefile", ROOT / "Dockerfile", ROOT / "CHANGELOG.md"]:
        for named in PAGE.findall(path.read_text(encoding="utf-8")):
            found += 1
            assert (ROOT / named).exists(), f"{path.relative_to(ROOT)} names {named}"
    assert found > 10
