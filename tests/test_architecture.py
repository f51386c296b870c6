"""The plan of the house, enforced: floors import only to their left, Ray has one door, importing changes nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FLOORS = ("agent", "envs", "rollouts", "controller", "pipeline")
FOREIGN = {"gymnasium", "ray", "argparse", "pathlib", "json", "h5py", "cv2", "cma"}  # what a mind has no business with


def modules(folder: str) -> list[Path]:
    found = sorted((ROOT / folder).rglob("*.py"))
    assert found, f"no modules under {folder}"
    return found


def imported(path: Path) -> set[str]:
    """Every absolute module name that a file imports, also inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module)
    return names


def tops(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imported(path)}


@pytest.mark.parametrize("floor", FLOORS)
def test_a_floor_imports_only_floors_to_its_left(floor: str) -> None:
    forbidden = set(FLOORS[FLOORS.index(floor) :]) | {"benchmarks", "tests"}
    if floor == "pipeline":
        forbidden.remove("benchmarks")  # the command line opens the door to `frmdn bench`, lazily
        forbidden.remove("pipeline")  # checked for relative style below, but allowed as an entry point name
    for path in modules(floor):
        assert not tops(path) & forbidden, f"{path.relative_to(ROOT)} imports {sorted(tops(path) & forbidden)}"


def test_the_mind_is_pure() -> None:
    for path in modules("agent"):
        assert not tops(path) & FOREIGN, f"{path.relative_to(ROOT)} imports {sorted(tops(path) & FOREIGN)}"


def test_ray_enters_by_one_door() -> None:
    users = {
        str(path.relative_to(ROOT))
        for folder in (*FLOORS, "benchmarks")
        for path in modules(folder)
        if "ray" in tops(path)
    }
    assert users == {"rollouts/workers.py"}


def test_there_is_no_lumber_room() -> None:
    for name in ("utils", "common", "helpers", "misc"):
        for folder in (*FLOORS, "benchmarks"):
            assert not list((ROOT / folder).rglob(f"{name}*")), f"{folder} has a {name}"


@pytest.mark.parametrize("folder", [*FLOORS, "benchmarks"])
def test_files_stay_small(folder: str) -> None:
    for path in modules(folder):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines <= 400, f"{path.relative_to(ROOT)} has {lines} lines; the wall is 400"


def test_importing_changes_nothing() -> None:
    """Warning filters, environment, torch's flags and numpy's and torch's generators are as before the import."""
    program = """
        import os, warnings, numpy, torch, cv2, h5py, gymnasium
        import torch.distributions as d
        def world():
            return (
                dict(os.environ), list(warnings.filters), torch.get_num_threads(), torch.get_default_dtype(),
                torch.are_deterministic_algorithms_enabled(), torch.backends.mkldnn.enabled,
                d.Distribution._validate_args, torch.initial_seed(), str(numpy.random.get_state()),
                torch.is_grad_enabled(), tuple(numpy.geterr().items()),
            )
        before = world()
        import agent.agent, agent.dream, agent.density, agent.training, envs, rollouts, rollouts.collect
        import controller.evolve, controller.evaluate, pipeline.stages, pipeline.cli
        import rollouts.sources.speech, rollouts.sources.images, rollouts.sources.latents, pipeline.density.commands
        after = world()
        changed = [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
        assert not changed, changed
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
