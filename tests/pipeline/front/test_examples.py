"""Every public name has an example in its docstring, and the examples run."""

from __future__ import annotations

import doctest
import inspect
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import frmdn


def methods(kind: type) -> Iterator[tuple[str, Any]]:
    """The public methods and properties that a class defines itself, as `Run.player`."""
    for name, value in vars(kind).items():
        if not name.startswith("_") and (inspect.isfunction(value) or isinstance(value, property)):
            yield f"{kind.__name__}.{name}", value


PUBLIC: dict[str, Any] = {
    "import frmdn": frmdn,
    **{name: getattr(frmdn, name) for name in frmdn.__all__},
    **{f"density.{name}": getattr(frmdn.density, name) for name in frmdn.density.__all__},
    **dict(methods(frmdn.Run)),
    **dict(methods(frmdn.Player)),
}


def examples(name: str) -> list[doctest.Example]:
    return doctest.DocTestParser().get_examples(inspect.getdoc(PUBLIC[name]) or "", name)


def complaints(wanted: list[doctest.Example], known: dict[str, Any], name: str) -> str:
    """What doctest says of examples that fail; nothing where all is well."""
    said: list[str] = []
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    runner.run(doctest.DocTest(wanted, known, name, None, None, None), out=said.append)
    return "".join(said)


@pytest.mark.parametrize("name", PUBLIC)
def test_has_an_example(name: str) -> None:
    assert vars(PUBLIC[name]).get("__doc__") if inspect.isclass(PUBLIC[name]) else PUBLIC[name].__doc__
    assert examples(name), f"{name} has no example (>>>) in its docstring: show in three lines what it is for"


@pytest.fixture
def folder(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder to be in, with a finished run in runs/tiny."""
    (tmp_path / "runs").mkdir()
    finished.rename(tmp_path / "runs" / "tiny")
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("name", PUBLIC)
def test_the_example_runs(name: str) -> None:
    torch.manual_seed(0)
    known = {"frmdn": frmdn, "math": math, "np": np, "torch": torch}
    assert not complaints(examples(name), known, name)


def test_a_wrong_example_is_noticed() -> None:
    wrong = doctest.DocTestParser().get_examples(">>> 1 + 1\n3\n>>> nothing\n")
    said = complaints(wrong, {}, "wrong")
    assert "Expected:\n    3\nGot:\n    2" in said and "NameError" in said
