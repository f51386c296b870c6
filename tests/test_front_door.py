"""`import frmdn`: light, complete, and the same for a type checker as for Python."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import frmdn

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "numpy", "gymnasium", "ray", "cv2", "h5py", "cma", "matplotlib", "frmdn.agent", "frmdn.pipeline")


def python(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_it_imports_nothing_heavy() -> None:
    found = python(f"import sys, frmdn; dir(frmdn); print([name for name in {HEAVY} if name in sys.modules])")
    assert found == "[]"


def test_the_densities_need_no_reinforcement_learning() -> None:
    found = python(
        "import sys; from frmdn.density import frmdn; print('torch' in sys.modules, 'gymnasium' in sys.modules)"
    )
    assert found == "True False"


def test_every_public_name_is_there_and_listed() -> None:
    assert len(set(frmdn.__all__)) == len(frmdn.__all__) and sorted(frmdn.__all__) == frmdn.__all__
    assert all(getattr(frmdn, name) is not None for name in frmdn.__all__)
    assert {*frmdn.__all__, "__version__"} <= set(dir(frmdn))
    assert set(frmdn._HOME) | {"density"} == set(frmdn.__all__)


def test_type_checkers_see_what_python_sees() -> None:
    """The imports under TYPE_CHECKING name the same places as the table."""
    tree = ast.parse((ROOT / "frmdn" / "__init__.py").read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    seen = {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen.pop("density") is None  # from . import density
    assert seen == frmdn._HOME


def test_the_density_module_is_the_density_floor() -> None:
    import frmdn.agent.density
    import frmdn.density

    assert frmdn.density.__all__ == frmdn.agent.density.__all__
    for name in frmdn.density.__all__:
        assert getattr(frmdn.density, name) is getattr(frmdn.agent.density, name)
    assert frmdn.frmdn is frmdn.density.frmdn


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'frmdn' has no attribute 'opne'"):
        frmdn.opne  # noqa: B018  (asking is the test)
    assert not hasattr(frmdn, "utils")


def test_the_version_is_that_of_the_package() -> None:
    from importlib.metadata import version

    assert frmdn.__version__ == version("frmdn")
