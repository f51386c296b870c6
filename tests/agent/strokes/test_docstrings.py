"""The examples in the docstrings of the strokes run."""

from __future__ import annotations

import doctest
import importlib
import math

import numpy as np
import pytest
import torch

AGENT = ("distribution", "density", "synthesis", "sketch")
SOURCES = ("carrier", "simplify", "svg")
MODULES = [f"frmdn.agent.strokes.{name}" for name in AGENT]
MODULES += [f"frmdn.rollouts.sources.strokes.{name}" for name in SOURCES]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_run(name: str) -> None:
    module = importlib.import_module(name)
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    found = doctest.testmod(module, extraglobs={"math": math, "np": np, "torch": torch}, optionflags=flags)
    assert found.attempted > 0 and not found.failed
