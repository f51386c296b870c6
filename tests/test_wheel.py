"""What people install: one package under one name, which works in a folder that has packages called as our folders."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest

import frmdn
from frmdn.pipeline.config import override, to_json
from frmdn.pipeline.presets import preset
from frmdn.pipeline.workspace import Workspace

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("agent", "envs", "rollouts", "controller", "pipeline", "benchmarks")
pytestmark = pytest.mark.slow


def call(*words: object, folder: Path) -> str:
    done = subprocess.run([str(word) for word in words], cwd=folder, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout.strip()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a copy of the sources: building leaves files beside them."""
    pytest.importorskip("pip", reason="wheels are built by pip")
    folder = tmp_path_factory.mktemp("wheel")
    for name in (*FOLDERS, "frmdn"):
        copytree(ROOT / name, folder / "source" / name, ignore=ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        (folder / "source" / name).write_bytes((ROOT / name).read_bytes())
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--no-index")
    call(*pip, "--no-deps", "--no-build-isolation", "--wheel-dir", folder, folder / "source", folder=folder)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment with the wheel, and with the dependencies that are installed here."""
    place = tmp_path_factory.mktemp("environment") / "venv"
    call(sys.executable, "-m", "venv", "--without-pip", place, folder=place.parent)
    python = place / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python)
    call(*pip, "install", "--no-index", "--no-deps", wheel, folder=place.parent)
    here = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    site = next(place.glob("lib/python*/site-packages"))
    # Folders only: the .pth files in them are not read, so an editable install of frmdn stays out.
    (site / "dependencies.pth").write_text("".join(f"{path}\n" for path in here))
    return python


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of somebody who also has an agent, environments, a controller and a pipeline."""
    folder = tmp_path_factory.mktemp("elsewhere")
    for name in FOLDERS:
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(f"raise ImportError('this {name} is somebody else\\'s')")
    (folder / "script.py").write_text(SCRIPT)
    return folder


def test_a_wheel_has_one_name_all_code_and_the_mark_of_types(wheel: Path) -> None:
    names = [name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name]
    assert {name.split("/")[0] for name in names} == {"frmdn"}
    sources = [path.relative_to(ROOT) for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    wanted = {f"frmdn/{path}" for path in sources} | {f"frmdn/{path.name}" for path in (ROOT / "frmdn").glob("*.py")}
    assert {name for name in names if name.endswith(".py")} == wanted
    others = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.*") if path.suffix not in (".py", ".pyc")]
    assert set(names) - wanted == {"frmdn/py.typed", *(f"frmdn/{path.relative_to(ROOT)}" for path in others)}


def test_it_is_the_wheel_that_runs(python: Path, elsewhere: Path) -> None:
    where, version = call(
        python, "-c", "import frmdn; print(frmdn.__file__, frmdn.__version__)", folder=elsewhere
    ).split()
    assert Path(where).is_relative_to(python.parents[1])
    assert call(python.parent / "frmdn", "--version", folder=elsewhere) == f"frmdn {version}"


@pytest.mark.ray
def test_others_folders_do_no_harm_to_a_script_with_workers(python: Path, elsewhere: Path) -> None:
    report = json.loads(call(python, "script.py", folder=elsewhere))
    assert report == {"lengths": [3, 3, 3, 3], "wheel": True, "episodes": 2}


def test_others_folders_do_no_harm_to_the_command_line(python: Path, elsewhere: Path) -> None:
    config = to_json(preset("smoke", frmdn.get_spec("CarRacing-v3")))
    settings = ["collect.episodes=1", "collect.max_steps=5"]
    Workspace(elsewhere / "runs" / "car").write_config(override(config, settings))
    call(python, "-m", "frmdn", "collect", "--run", "runs/car", "--workers", 0, folder=elsewhere)
    status = json.loads(call(python.parent / "frmdn", "status", "--run", "runs/car", "--json", folder=elsewhere))
    assert [stage["state"] for stage in status["stages"][:2]] == ["done", "missing"]


SCRIPT = """
import json
from pathlib import Path

import frmdn
from frmdn.envs.worlds.counting import counting_spec

spec = counting_spec(3)
report = frmdn.evaluate("random", spec, 4, workers=2)
store = frmdn.collect(spec, "episodes", 2)
wheel = "site-packages" in Path(frmdn.collect.__code__.co_filename).parts
print(json.dumps({"lengths": report.lengths, "wheel": wheel, "episodes": len(store.indices())}))
"""
