"""Ids of other people's worlds: who registers them, and what packages bring themselves."""

from __future__ import annotations

import importlib
import pickle
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from frmdn.envs import MissingExtra, WorldConfig, get_spec, make_slots
from frmdn.envs.catalogue import check_world
from frmdn.envs.registered import apart
from frmdn.rollouts.collect import make_runner, named_policy
from frmdn.rollouts.job import Job
from frmdn.rollouts.workers import open_pool

MODULE = '''
import gymnasium, numpy as np

class Shade(gymnasium.Env):
    """A picture as bright as the seed, and a little brighter with each step."""
    observation_space = gymnasium.spaces.Box(0, 255, (20, 30, 3), np.uint8)
    action_space = gymnasium.spaces.Discrete(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.shade = int(self.np_random.integers(100))
        return self.picture(), {}

    def step(self, action):
        self.shade += int(action)
        return self.picture(), float(action), False, False, {}

    def picture(self):
        return np.full((20, 30, 3), self.shade, np.uint8)

gymnasium.register("NAME-v0", entry_point=Shade, max_episode_steps=12)
'''
BRINGS = """
from dataclasses import replace
import frmdn, NAME
plain = frmdn.EnvSpec("NAME plain", frmdn.ActionCodec("discrete", n=3), NAME.Shade, max_steps=10)
plain = replace(plain, repeat=2, idle_reward=1.0)

def offers(world):
    world.refuse(("noops", "stuck", "actions", "key", "axes", "render", "bound"), "NAME made")
    return replace(plain, id="NAME made", channels=3, max_steps=7 if world.reward == "short" else 9)

other = replace(plain, id="Another-v0")
broken = lambda world: 7
"""


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[str]:
    """A module in the working folder that registers its name as an id; the path is that of the `frmdn` script."""
    name = f"shade{abs(hash(request.node.name)) % 10**8}"
    (tmp_path / f"{name}.py").write_text(MODULE.replace("NAME", name))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each not in ("", str(tmp_path))])
    yield name
    sys.modules.pop(name, None)
    sys.modules.pop(f"{name}_brings", None)
    gymnasium.registry.pop(f"{name}-v0", None)
    importlib.invalidate_caches()


def test_an_id_is_taken_apart_as_gymnasium_does() -> None:
    assert apart("ale_py:ALE/Pong-v5") == ("ALE/Pong-v5", ("ale_py",))
    assert apart("my.worlds.dot:Dot-v0") == ("Dot-v0", ("my.worlds.dot",))
    assert apart("CarRacing-v3") == ("CarRacing-v3", ())
    assert get_spec("math:CarRacing-v3").painted  # a world of ours stays one


@pytest.mark.parametrize("way", ["id", "option"])
def test_a_module_of_the_working_folder_registers_its_world(world: str, way: str) -> None:
    with pytest.raises(ValueError, match=f"'{world}-v0' is unknown here.*--import MODULE, or MODULE:{world}-v0"):
        get_spec(f"{world}-v0")
    spec = (
        get_spec(f"{world}:{world}-v0") if way == "id" else get_spec(f"{world}-v0", world=WorldConfig(imports=(world,)))
    )
    assert (spec.id, spec.world.imports, spec.max_steps) == (f"{world}-v0", (world,), 12)
    assert (
        get_spec(f"{world}:{spec.id}", world=spec.world).world
        == get_spec(spec.id, world=spec.world).world
        == spec.world
    )
    frame = make_slots(spec, 1).start(0, 5)
    assert frame.shape == (64, 64, 3) and len(np.unique(frame)) == 1


def test_a_description_travels_to_a_process_that_registered_nothing(world: str, tmp_path: Path) -> None:
    spec = get_spec(f"{world}:{world}-v0")
    (tmp_path / "spec.pickle").write_bytes(pickle.dumps(spec))
    program = (
        "import pickle, pathlib, gymnasium\n"
        "spec = pickle.loads(pathlib.Path('spec.pickle').read_bytes())\n"
        "print(spec.make().reset(seed=5)[0].mean())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == spec.make().reset(seed=5)[0].mean()


def play(spec, workers: int) -> list[tuple[float, int, bytes]]:
    make = partial(make_runner, spec, partial(named_policy, "random"), 2, None, "random")
    with open_pool(make, workers) as pool:
        outcomes = sorted(pool.run(Job(i, 50 + i) for i in range(5)), key=lambda outcome: outcome.index)
    return [(outcome.total, outcome.steps, outcome.payload) for outcome in outcomes]


@pytest.mark.ray
@pytest.mark.parametrize("way", ["module", "notebook"])
def test_workers_play_a_world_that_they_did_not_register(world: str, way: str) -> None:
    """Of a module in the working folder, and of a class that only this process has, as in a notebook."""
    spec = get_spec(f"{world}:{world}-v0")
    alone = play(spec, 0)
    if way == "notebook":
        exec(MODULE.replace("NAME", world), {"__name__": "__main__"})
        spec = get_spec(f"{world}-v0")
    got = play(spec, 2)
    assert [each[:2] for each in got] == [each[:2] for each in alone]
    assert way == "notebook" or got == alone


@pytest.mark.parametrize(
    ("id", "message"),
    [
        (
            "no_such_module:Env-v0",
            "module 'no_such_module' is not installed, and not in this folder: .*no_such_module.py",
        ),
        ("gymnasium.no_such:Env-v0", "module 'gymnasium.no_such' is not installed"),
        ("dot.py:Env-v0", "module 'dot.py' is not installed"),
        ("a-b:Env-v0", "'a-b' is no name of a module"),
        ("math:CarRcing-v3", "'CarRcing-v3' is unknown here; did you mean CarRacing-v3"),
        ("ALE/Pnog-v5", "--import ale_py, or ale_py:ALE/Pnog-v5"),
        ("MiniGrid-Emty-v0", "--import minigrid"),
    ],
)
def test_what_is_not_there_comes_with_the_remedy(id: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        get_spec(id)


def test_a_module_that_lacks_another_one_says_which(world: str, tmp_path: Path) -> None:
    (tmp_path / f"{world}.py").write_text("import no_such_engine")
    with pytest.raises(ValueError, match=f"module '{world}' imports 'no_such_engine', which is not installed"):
        get_spec(f"{world}:{world}-v0")


def test_a_package_of_an_extra_comes_with_its_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ale_py", None)  # as Python says that there is none
    with pytest.raises(MissingExtra, match=r"--import ale_py needs ale_py.*pip install 'frmdn\[atari\]'"):
        get_spec("ale_py:ALE/Pong-v5")


# Packages that bring a description


@pytest.fixture
def package(world: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An installed distribution, as importlib.metadata sees one: a folder on the path with its entry points."""
    home = tmp_path / "site"
    (home / "shades-1.0.dist-info").mkdir(parents=True)
    (home / "shades-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: shades\nVersion: 1.0\n")
    points = {f"{world} {what}": f"{world}_brings:{name}" for what, name in NAMES.items()}
    lines = "\n".join(f"{key} = {value}" for key, value in points.items())
    (home / "shades-1.0.dist-info" / "entry_points.txt").write_text(f"[frmdn.worlds]\n{lines}\n")
    (home / f"{world}.py").write_text(MODULE.replace("NAME", world))
    (home / f"{world}_brings.py").write_text(BRINGS.replace("NAME", world))
    monkeypatch.syspath_prepend(str(home))
    return world


NAMES = {"plain": "plain", "made": "offers", "wrong": "other", "none": "broken", "gone": "no_such_name"}


def test_a_package_brings_the_description_of_its_world(package: str) -> None:
    spec = get_spec(f"{package} plain")
    assert (spec.max_steps, spec.repeat, spec.idle_reward) == (10, 2, 1.0)
    other = get_spec(f"{package} plain", world=WorldConfig(repeat=4, max_steps=3, sticky=0.5))
    assert (other.max_steps, other.repeat, other.idle_reward, other.world.sticky) == (3, 4, 2.0, 0.5)
    assert get_spec(f"{package} plain", repeat=1).max_steps == 20
    with pytest.raises(ValueError, match="does not offer the option actions"):
        check_world(f"{package} plain", WorldConfig(actions="few"))
    with pytest.raises(ValueError, match=f"did you mean {package} plain"):
        get_spec(f"{package} plian")


def test_a_package_may_make_it_of_the_options(package: str) -> None:
    assert get_spec(f"{package} made").max_steps == 9
    short = get_spec(f"{package} made", world=WorldConfig(reward="short"))
    assert (short.max_steps, short.world.reward) == (7, "short")
    with pytest.raises(ValueError, match=f"{package} made does not offer the option render"):
        check_world(f"{package} made", WorldConfig(render=True))


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("wrong", "of the package shades is the EnvSpec of 'Another-v0': its entry point must lead to"),
        ("none", "of the package shades is a int: its entry point must lead to an EnvSpec"),
        ("gone", r"of the package shades cannot be loaded \(AttributeError"),
    ],
)
def test_an_entry_point_that_leads_astray_names_its_package(package: str, what: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        get_spec(f"{package} {what}")
