"""The examples in the docstrings and on the page about own data run."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest
import torch

import frmdn.agent.density as density
from frmdn.agent.errors import MissingExtra

MODULES = [name for _, name, _ in pkgutil.walk_packages(density.__path__, f"{density.__name__}.")]


def need_zuko() -> None:
    """Not by pytest's importorskip: the bare import switches torch's validation off for all tests that follow."""
    try:
        density.import_zuko()
    except MissingExtra as missing:
        pytest.skip(str(missing))


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_run(name: str) -> None:
    if name.endswith("zuko"):
        need_zuko()
    module = importlib.import_module(name)
    torch.manual_seed(0)
    found = doctest.testmod(module, extraglobs={"torch": torch})
    assert not found.failed


def test_the_page_about_own_data_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_zuko()
    page = Path(__file__).parents[3] / "docs" / "how-to" / "own-data.md"
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    world: dict[str, object] = {}
    assert len(blocks) == 4
    for block in blocks:
        exec(block, world)
    assert (tmp_path / "sines.csv").read_text().startswith("hour,load,price,strain\n")
