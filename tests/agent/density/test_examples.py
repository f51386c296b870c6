"""The examples in the docstrings run, and print what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest
import torch

import frmdn.agent.density as density

MODULES = [name for _, name, _ in pkgutil.walk_packages(density.__path__, f"{density.__name__}.")]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_run(name: str) -> None:
    if name.endswith("zuko"):
        pytest.importorskip("zuko", reason="pip install 'frmdn[zuko]'")
    module = importlib.import_module(name)
    torch.manual_seed(0)
    found = doctest.testmod(module, extraglobs={"torch": torch})
    assert not found.failed
