"""A world of one's own by the command line: found by its module, and by every later command on the folder."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import gymnasium
import pytest

from frmdn.envs import WorldConfig, get_spec
from frmdn.pipeline.commands.main import main, parser
from frmdn.pipeline.commands.settle import requested
from frmdn.pipeline.config import asked_world, override
from frmdn.pipeline.presets import PRESETS, preset
from frmdn.pipeline.recipe import command
from frmdn.pipeline.settings import to_json
from frmdn.pipeline.workspace import Workspace

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "own-world.md"
TINY = [
    "collect.episodes=4",
    "collect.slots=2",
    "vision_fit.steps=4",
    "vision_data.batch=4",
    "memory.hidden=8",
    "memory_fit.steps=4",
    "memory_data.batch=2",
    "memory_data.length=5",
    "search.generations=1",
    "search.slots=2",
    "evaluate.episodes=2",
]
SCRIPT = "import sys; sys.path.pop(0); from frmdn.pipeline.commands.main import main; sys.exit(main(sys.argv[1:]))"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def frmdn(folder: Path, line: str) -> subprocess.CompletedProcess[str]:
    """A command as its script runs it: without the working folder on Python's path."""
    words = [sys.executable, "-c", SCRIPT, *line.split()[1:]]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-2000:]
    return done


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_page_leads_from_an_empty_folder_to_a_dream(tmp_path: Path) -> None:
    """What it says and no more, but for settings that make the run tiny."""
    (tmp_path / "dot.py").write_text(blocks("python")[0])
    run, after, _ = blocks("sh")
    frmdn(tmp_path, f"{run.strip()} --workers 0 " + " ".join(f"--set {each}" for each in TINY))
    config = json.loads((tmp_path / "runs/dot/config.json").read_text())
    assert (config["env"], config["world"]["imports"]) == ("Dot-v0", ["dot"])
    evaluate, dream = after.splitlines()
    assert "mean return" in frmdn(tmp_path, f"{evaluate} --workers 0").stderr
    frmdn(tmp_path, dream)
    assert (tmp_path / "dream.webm").stat().st_size > 1000
    assert frmdn(tmp_path, "frmdn status --run runs/dot").stdout.count(" done ") == 7


@pytest.fixture
def states():
    """A world that shows pictures under a name, beside a state."""
    spaces = {"state": gymnasium.spaces.Box(-1, 1, (4,)), "eye": gymnasium.spaces.Box(0, 255, (1, 20, 30), "uint8")}

    class States(gymnasium.Env):
        observation_space = gymnasium.spaces.Dict(spaces)
        action_space = gymnasium.spaces.Box(-float("inf"), float("inf"), (2,))

    gymnasium.register("States-v0", entry_point=States)
    yield "States-v0"
    del gymnasium.registry["States-v0"]


def asked(folder: Path, line: str) -> dict:
    return requested(parser().parse_args(shlex.split(line)[1:]), Workspace(folder))


SEEN = "--set world.key=eye --set world.bound=2"


def test_how_a_world_is_seen_counts_before_the_preset_is_made(states: str, tmp_path: Path) -> None:
    config = asked(tmp_path, f"frmdn run --env {states} --preset smoke --out {tmp_path} --import math {SEEN}")
    world = config["world"]
    assert (world["key"], world["bound"], world["imports"]) == ("eye", 2.0, ["math"])
    assert config["vision"]["channels"] == 1 and config["memory"]["action"] == 2
    Workspace(tmp_path).write_config(config)
    for line in ("frmdn run", f"frmdn run --env {states}", f"frmdn run --env math:{states}"):
        assert asked(tmp_path, f"{line} --out {tmp_path}") in (config, {"format": 2, **config})


def test_the_module_of_an_id_is_stored_after_those_of_the_option(states: str, tmp_path: Path) -> None:
    config = asked(tmp_path, f"frmdn run --env string:{states} --out {tmp_path} --import math --import re {SEEN}")
    assert (config["env"], config["world"]["imports"]) == (states, ["math", "re", "string"])


def test_the_vision_follows_what_is_looked_at(states: str) -> None:
    plain = to_json(preset("smoke", get_spec(states, world=WorldConfig(key="eye", bound=1.0))))
    assert plain["vision"]["channels"] == 1
    spaces = gymnasium.registry[states].entry_point.observation_space.spaces
    spaces["eye"] = gymnasium.spaces.Box(0, 255, (3, 20, 30), "uint8")
    assert override(plain, ["world.axes=CHW"])["vision"]["channels"] == 3
    assert override(plain, ["world.repeat=2"])["vision"]["channels"] == 1


def test_the_line_of_a_report_names_module_and_view(states: str) -> None:
    world = WorldConfig(imports=("math",), key="eye", bound=2.0)
    plain = to_json(preset("smoke", get_spec(states, world=world), 3))
    line = command(plain)
    assert line.startswith(f"frmdn run --env {states} --import math --preset smoke --seed 3 --set ")
    assert asked(Path("DIR"), line) == plain


def test_a_word_that_is_wrong_is_named(states: str) -> None:
    assert asked_world(states, ["search.sigma=1"]) is None
    with pytest.raises(ValueError, match=r"world.bound must be of type float"):
        asked_world(states, ["world.bound=wide"])


def test_a_module_that_is_not_there_ends_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--env", "no_such:World-v0"], ["--env", "World-v0", "--import", "no_such"]):
        assert main(["run", "--out", str(tmp_path / "run"), *words]) == 2
        told = capsys.readouterr().err
        assert told.count("\n") == 1 and "module 'no_such' is not installed, and not in this folder" in told
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", PRESETS)
def test_no_episode_of_an_unknown_world_is_ended_for_waiting(states: str, name: str) -> None:
    config = preset(name, get_spec(states, world=WorldConfig(key="eye", bound=2.0)))
    assert config.search.stall_steps is config.dream.stall_steps is None
    assert preset("quick", get_spec("CarRacing-v3")).search.stall_steps == 50
