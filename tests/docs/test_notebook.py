"""The notebook runs from beginning to end, and what it shows on the site is small."""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "docs" / "tutorial" / "in-minutes.ipynb"


def test_it_shows_what_it_made_and_is_small() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == 3 and not any(output.output_type == "error" for output in outputs)
    assert NOTEBOOK.stat().st_size < 300_000


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "machinery"))
    from execute import execute

    done = execute(nbformat.read(NOTEBOOK, as_version=4), tmp_path)
    sys.modules.pop("execute", None)
    printed = "".join(
        output.get("text", "") for cell in done.cells if cell.cell_type == "code" for output in cell.outputs
    )
    assert "all 7 stages done" in printed and "in reality" in printed
    assert (tmp_path / "runs" / "minutes" / "report.html").exists()
