"""The plan of the house, enforced: floors import only to their left, no circle of files, Ray has one door, importing
changes nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FLOORS = ("agent", "envs", "rollouts", "controller", "pipeline")
FOLDERS = (*FLOORS, "benchmarks", "frmdn")
FOREIGN = {"gymnasium", "ray", "argparse", "pathlib", "json", "h5py", "cv2", "cma"}  # what a mind has no business with
MOST_FILES = 14  # of a folder
MOST_LINES = 0.30  # the share of all lines that the biggest room may have


def modules(folder: str) -> list[Path]:
    found = sorted((ROOT / folder).rglob("*.py"))
    assert found, f"no modules under {folder}"
    return found


SOURCES = {path: path.read_text(encoding="utf-8") for folder in FOLDERS for path in modules(folder)}


def module(path: Path) -> str:
    """The name by which a file is imported: `frmdn.agent.density` of agent/density/__init__.py."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts[:-1] if parts[-1] == "__init__" else parts
    return ".".join(parts if parts[:1] == ("frmdn",) else ("frmdn", *parts))


def imported(path: Path) -> Iterator[str]:
    """What a file imports, absolute, also inside functions and for types: `package.file`, or `package.file.name`."""
    package = module(path).split(".")
    package = package if path.name == "__init__.py" else package[:-1]
    for node in ast.walk(ast.parse(SOURCES[path])):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            start = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{start}.{alias.name}" for alias in node.names)


def tops(path: Path) -> set[str]:
    """The packages of others that a file imports, and the floors of ours."""
    return {name.split(".")[1] if name.startswith("frmdn.") else name.split(".")[0] for name in imported(path)}


@pytest.mark.parametrize("floor", FLOORS)
def test_a_floor_imports_only_floors_to_its_left(floor: str) -> None:
    forbidden = set(FLOORS[FLOORS.index(floor) + 1 :]) | {"benchmarks", "tests"}
    if floor == "pipeline":
        forbidden.remove("benchmarks")  # the command line opens the door to `frmdn bench`, lazily
    for path in modules(floor):
        assert not tops(path) & forbidden, f"{path.relative_to(ROOT)} imports {sorted(tops(path) & forbidden)}"


@pytest.mark.parametrize("floor", FLOORS)
def test_floors_say_frmdn_to_each_other_and_dots_inside(floor: str) -> None:
    for path in modules(floor):
        for node in ast.walk(ast.parse(SOURCES[path])):
            names = [node.module] if isinstance(node, ast.ImportFrom) and node.level == 0 else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                assert name.split(".")[0] not in FLOORS, f"{path.relative_to(ROOT)} imports {name}: say frmdn.{name}"
                assert not f"{name}.".startswith(f"frmdn.{floor}."), f"{path.relative_to(ROOT)}: {name} wants dots"


def graph() -> dict[str, set[str]]:
    """Which files import which, by name; a name out of a file stands for that file, a package for its __init__."""
    files = {module(path): path for path in SOURCES}

    def files_behind(path: Path) -> Iterator[str]:
        for name in imported(path):
            while name and name not in files:
                name = name.rpartition(".")[0]
            if name:
                yield name

    return {name: set(files_behind(path)) - {name} for name, path in files.items()}


def test_no_circle_of_files() -> None:
    try:
        tuple(TopologicalSorter(graph()).static_order())
    except CycleError as error:
        pytest.fail(f"files import each other in a circle: {' -> '.join(error.args[1])}")


def test_the_graph_of_imports_is_seen_whole() -> None:
    edges = graph()
    assert (
        "frmdn.agent.density.flows.flow" in edges["frmdn.agent.density.conditional"]
    )  # relative, a name out of a file
    assert "frmdn.agent.agent" in edges["frmdn.rollouts.policy"]  # absolute, for types only
    assert "frmdn.envs.worlds.doom" in edges["frmdn.envs.catalogue"]  # a file out of a package


def test_the_mind_is_pure() -> None:
    for path in modules("agent"):
        assert not tops(path) & FOREIGN, f"{path.relative_to(ROOT)} imports {sorted(tops(path) & FOREIGN)}"


def test_ray_enters_by_one_door() -> None:
    users = {str(path.relative_to(ROOT)) for path in SOURCES if "ray" in tops(path)}
    assert users == {"rollouts/workers/connection.py"}


def test_there_is_no_lumber_room() -> None:
    for name in ("utils", "common", "helpers", "misc"):
        for folder in FOLDERS:
            assert not list((ROOT / folder).rglob(f"{name}*")), f"{folder} has a {name}"


@pytest.mark.parametrize("folder", FOLDERS)
def test_files_stay_small(folder: str) -> None:
    for path in modules(folder):
        lines = len(SOURCES[path].splitlines())
        assert lines <= 400, f"{path.relative_to(ROOT)} has {lines} lines; the wall is 400"


def rooms() -> dict[str, list[Path]]:
    """The files of each folder, without those of the folders in it."""
    found: dict[str, list[Path]] = {}
    for path in SOURCES:
        found.setdefault(str(path.parent.relative_to(ROOT)), []).append(path)
    return found


def test_rooms_are_not_crowded() -> None:
    for room, files in rooms().items():
        assert len(files) <= MOST_FILES, f"{room} has {len(files)} files: divide it"


def test_no_room_is_half_the_house() -> None:
    lines = {room: sum(len(SOURCES[path].splitlines()) for path in files) for room, files in rooms().items()}
    biggest = max(lines, key=lines.__getitem__)
    assert lines[biggest] < MOST_LINES * sum(lines.values()), f"{biggest} has {lines[biggest]} of {sum(lines.values())}"


def test_every_room_is_installed() -> None:
    import tomllib

    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    wanted = {module(path) for path in SOURCES if path.name == "__init__.py"}
    assert set(tool["packages"]) == wanted and set(tool["package-dir"]) == wanted
    for name, folder in tool["package-dir"].items():
        assert (ROOT / folder / "__init__.py").is_file() and module(ROOT / folder / "__init__.py") == name


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
        import frmdn, frmdn.agent.agent, frmdn.agent.dream, frmdn.agent.density, frmdn.agent.training
        import frmdn.envs.catalogue, frmdn.envs.vector, frmdn.rollouts, frmdn.rollouts.collect
        import frmdn.controller.evolve, frmdn.controller.evaluate
        import frmdn.pipeline.stages.running, frmdn.pipeline.commands.main, frmdn.pipeline.density.study
        import frmdn.rollouts.sources.speech, frmdn.rollouts.sources.images, frmdn.rollouts.sources.latents
        after = world()
        changed = [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
        assert not changed, changed
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
