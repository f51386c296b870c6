"""The README is short, and its figures are those of the recorded results."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| .*\((docs/results/\w+\.json)\) \|$", re.MULTILINE)
ROWS = [(match[0], match[1]) for match in ROW.finditer(README)]


def test_it_is_short() -> None:
    assert len(README.splitlines()) <= 100
    assert 1 <= len(ROWS) <= 12


def test_what_it_links_to_is_there() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", README):
        assert (ROOT / target).exists(), target


def dicts(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from dicts(each)


def spreads(record: dict[str, Any]) -> Iterator[tuple[float, float]]:
    """Every mean with its deviation."""
    for mean, deviation in (("mean", "std"), ("mean_sampled", "std_sampled")):
        if isinstance(record.get(mean), int | float) and isinstance(record.get(deviation), int | float):
            yield record[mean], record[deviation]


def shown(number: float, like: str) -> bool:
    """Whether a number is rounded to the text that stands there."""
    digits = len(like.partition(".")[2])
    return f"{number:.{digits}f}" == like.replace("−", "-")


@pytest.mark.parametrize(("row", "file"), ROWS, ids=[row.split("|")[2].strip() for row, _ in ROWS])
def test_the_figures_of_a_row_stand_in_its_file(row: str, file: str) -> None:
    records = list(dicts(json.loads((ROOT / file).read_text(encoding="utf-8"))))
    pairs = [pair for record in records for pair in spreads(record)]
    figures = re.findall(r"([-−]?[\d.]+) ± ([\d.]+)", row)
    for mean, deviation in figures:
        assert any(shown(a, mean) and shown(b, deviation) for a, b in pairs), f"{mean} ± {deviation} is not in {file}"
    intervals = [record["ci95"] for record in records if isinstance(record.get("ci95"), list)]
    for low, high in re.findall(r"\(([-−]?[\d.]+) to ([-−]?[\d.]+)\)", row):
        assert any(shown(a, low) and shown(b, high) for a, b in intervals), f"({low} to {high}) is not in {file}"
    times = re.findall(r"(\d+) times", row)
    for ratio in times:
        assert any(shown(r["ratio"], ratio) for r in records if "ratio" in r), f"{ratio} times is not in {file}"
    assert figures or times, f"no figure in {row}"
