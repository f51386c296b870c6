"""`frmdn play` on a tiny finished run, with keys that a script presses and a window that nobody sees."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

import frmdn
from frmdn.agent.seeds import episode_seeds
from frmdn.envs.catalogue import get_spec
from frmdn.envs.worlds.counting import read_frame
from frmdn.pipeline.commands.main import main
from frmdn.pipeline.play import game as games
from frmdn.pipeline.play.game import dream_game, pace, real_game
from frmdn.pipeline.play.window import Window
from frmdn.pipeline.session import open_session
from frmdn.pipeline.weights import save_state
from frmdn.pipeline.workspace import Workspace

pygame = pytest.importorskip("pygame")
KEYS = {"escape": pygame.K_ESCAPE, "space": pygame.K_SPACE, "left": pygame.K_LEFT, "right": pygame.K_RIGHT}
Script = Callable[[dict[int, Iterable[str]]], "Seen"]


class Seen(list[tuple[list[np.ndarray], list[str]]]):
    """Pictures and lines of every time that the window was drawn."""

    @property
    def status(self) -> list[str]:
        return [lines[0] for _, lines in self]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    """Presses keys (or, with a minus, releases them) after so many drawings of the window, and notes what it draws."""
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")

    def prepare(keys: dict[int, Iterable[str]]) -> Seen:
        seen = Seen()
        show = Window.show

        def watch(self: Window, pictures: list[np.ndarray], lines: list[str]) -> None:
            show(self, pictures, lines)
            seen.append((list(pictures), list(lines)))
            for key in keys.get(len(seen), ()):
                name = key.lstrip("-")
                kind = pygame.KEYUP if key.startswith("-") else pygame.KEYDOWN
                pygame.event.post(pygame.event.Event(kind, key=KEYS.get(name) or ord(name)))
            assert len(seen) < 100, "the script has no escape"

        monkeypatch.setattr(Window, "show", watch)
        return seen

    return prepare


@pytest.fixture
def endless(finished: Path) -> Path:
    """A run whose memory never sees an end: an untrained one tosses a coin."""
    path = finished / "memory" / "model.safetensors"
    weights = load_file(path)
    weights["outcome.bias"][1] = -5.0
    save_state(path, weights)
    return finished


def steps(seen: Seen) -> list[int]:
    return [int(line.split()[1]) for line in seen.status]


def words(folder: Path, *more: str) -> list[str]:
    return ["play", "--run", str(folder), "--scale", "1", "--fps", "1000", *more]


def test_the_dream_obeys_its_keys(endless: Path, script: Script, capsys: pytest.CaptureFixture[str]) -> None:
    seen = script({2: ["space"], 4: ["space"], 5: ["a"], 6: ["a"], 7: ["r"], 9: ["escape"]})
    assert main(words(endless)) == 0
    assert steps(seen) == [1, 2, 2, 2, 3, 4, 5, 0, 1]
    assert ["paused" in line for line in seen.status].index(True) == 2 and "paused" not in seen.status[4]
    assert ["agent drives" in line for line in seen.status] == [False] * 5 + [True] + [False] * 3
    assert all("chance of the end 0." in line for line in seen.status if not line.startswith("step 0"))
    assert {picture.shape for pictures, _ in seen for picture in pictures} == {(64, 64, 3)}
    told = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in told] == ["episode 1: 5 steps", "episode 2: 1 steps"]
    assert told[0].endswith("left early (you and agent)") and told[1].endswith("(you)")


def test_reality_gets_the_actions_of_the_keys(finished: Path, script: Script) -> None:
    """The spy's reward at step t is t and half of the first number of the action."""
    seen = script({2: ["right"], 5: ["-right"], 6: ["left", "-left"], 13: ["r"], 14: ["escape"]})
    assert main(words(finished, "--in", "reality", "--seed", "4")) == 0
    played = [0, 0, 1, 1, 1, 0, -1, 0, 0, 0]
    expected = np.cumsum([t + 0.5 * first for t, first in enumerate(played)])
    assert [float(line.split()[3]) for line in seen.status[:10]] == [round(x, 1) for x in expected.tolist()]
    assert steps(seen) == [*range(1, 11), 10, 10, 10, 0]  # after its end it waits for R
    assert "it ended: R begins anew" in seen.status[9] and "chance" not in seen.status[9]
    shown, frame = seen[0][0]
    assert np.array_equal(shown, frame)  # the picture of the spy is its frame
    seeds = episode_seeds(0, "transfer", 2, 4)
    assert read_frame(frame) == (seeds[0], 1) and read_frame(seen[13][0][1]) == (seeds[1], 0)


def test_the_agent_can_begin(finished: Path, script: Script) -> None:
    seen = script({12: ["escape"]})
    assert main(words(finished, "--agent", "--in", "reality")) == 0
    assert "the agent drives" in seen.status[0]
    session = open_session(finished)
    world = real_game(session)
    scene = world.begin(episode_seeds(0, "transfer", 1)[0])
    while not scene.over:
        scene = world.step(None)
    assert f"reward {scene.total:.1f} " in seen.status[-1]


def test_the_memory_is_told_what_a_person_did(finished: Path) -> None:
    session = open_session(finished)
    world, agent = real_game(session), session.agent()
    assert agent.memory is not None
    world.begin(7)
    state = agent.initial(1)
    theta = torch.from_numpy(session.theta(agent))[None]
    for action in ([1.0, -1.0], [-0.5, 0.0]):
        frame = torch.from_numpy(np.asarray(world._seen))
        hand = np.array(action, np.float32)
        z = agent.vision.encode_mean(frame)
        world.step(hand)
        with torch.inference_mode():
            state = state._replace(z=z, memory=agent.memory.step(z, torch.from_numpy(hand)[None], state.memory))
    theirs, _ = agent.act(torch.from_numpy(np.asarray(world._seen)), state, theta)
    before = world._total
    scene = world.step(None)  # decides from what the person did
    assert scene.total - before == pytest.approx(2 + 0.5 * float(theirs[0, 0]))
    assert world.policy is not None


def test_a_dream_differs_by_its_temperature_and_by_the_hand(endless: Path) -> None:
    session = open_session(endless)

    def picture(temperature: float, hand: list[float]) -> bytes:
        dream = dream_game(session, temperature)
        dream.begin(3)
        for _ in range(4):
            scene = dream.step(np.array(hand, np.float32))
        return scene.panels[0][1].tobytes()

    one = picture(1.0, [1, 1])
    assert picture(1.0, [1, 1]) == one
    assert picture(3.0, [1, 1]) != one and picture(1.0, [-1, -1]) != one


def test_without_an_agent_a_person_can_play(endless: Path, script: Script, capsys: pytest.CaptureFixture[str]) -> None:
    Workspace(endless).clear("evolve")
    for world in ("dream", "reality"):
        seen = script({1: ["a"], 3: ["escape"]})
        assert main(words(endless, "--in", world)) == 0
        assert steps(seen) == [1, 2, 3] and "you drive" in seen.status[2]
        assert "no agent is evolved yet" in seen[0][1][2]
    capsys.readouterr()
    assert main(words(endless, "--agent")) == 2
    assert "frmdn evolve" in capsys.readouterr().err


def test_mistakes_end_in_one_line(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def failure(*arguments: str) -> str:
        assert main(arguments) == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    monkeypatch.setenv("SDL_VIDEODRIVER", "nothing-like-it")
    assert "needs a desktop" in failure(*words(finished))
    for name in ("SDL_VIDEODRIVER", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    if sys.platform == "linux":
        assert "(no display)" in failure(*words(finished))
        monkeypatch.setattr("frmdn.pipeline.play.window._has_display", lambda: True)  # SDL looks, and falls back
        assert "(no display)" in failure(*words(finished))
    monkeypatch.setitem(sys.modules, "pygame", None)
    assert "pip install 'gymnasium[box2d]'" in failure(*words(finished, "--in", "reality"))
    assert "is no run folder" in failure(*words(tmp_path / "nowhere"))
    Workspace(finished).clear("memory")
    assert "memory (missing)" in failure(*words(finished))


def test_the_agent_of_the_round_that_counts_plays(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`kept.json` of a finished run in rounds decides whose controller drives."""
    opened = []

    def refuse(session: object, temperature: float) -> None:
        opened.append(session)
        raise ValueError("enough")

    monkeypatch.setattr(games, "dream_game", refuse)
    kept = object()
    monkeypatch.setattr("frmdn.pipeline.session.Session.kept", property(lambda self: kept))
    assert main(words(finished)) == 2 and opened == [kept]


def test_the_pace_is_that_of_the_world(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pace(get_spec("CarRacing-v3")) == 50
    assert pace(get_spec("CarRacing-v3", repeat=4)) == 12.5

    spec = get_spec("CarRacing-v3")
    # not installed, and the world of a file that nobody has here: its dream can be played all the same
    for error in (games.MissingExtra("x", "y", "z"), ValueError("Dot-v0 is unknown here")):

        def missing(*_: object, error: Exception = error, **__: object) -> None:
            raise error

        monkeypatch.setattr("frmdn.envs.spec.EnvSpec.make", missing)
        assert pace(spec) == games.FPS


def test_help_teaches_the_keys(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["play", "--help"])
    told = capsys.readouterr().out
    assert all(word in told for word in ("SPACE", "ESC", "hands the wheel to the agent", "left and right steer"))


def test_the_controller_is_the_evolved_one(finished: Path) -> None:
    session = open_session(finished)
    dream = dream_game(session, 1.0)
    theta = load_file(finished / "controller" / "mean.safetensors")["theta"]
    seen = torch.from_numpy(np.asarray(dream.world.start(0, 5)))[None]
    assert dream.policy is not None
    dream.begin(5)
    dream.wheel.hand = None
    agent = session.agent()
    expected = agent.squash(agent.controller.act(torch.from_numpy(theta)[None], seen)).numpy()
    assert np.allclose(dream.policy.act(games.SLOT, seen.numpy()), expected)


@pytest.mark.parametrize("world", ["dream", "reality"])
def test_an_agent_file_plays_as_its_run(endless: Path, script: Script, tmp_path: Path, world: str) -> None:
    file = frmdn.open(endless).export(tmp_path / "agent.safetensors")
    more = ["--scale", "1", "--fps", "1000", "--agent", "--seed", "2", "--in", world]
    played = []
    for agent in (["--run", str(endless)], [str(file)]):
        seen = script({4: ["a"], 6: ["escape"]})
        assert main(["play", *agent, *more]) == 0
        played.append([(lines, [picture.tobytes() for picture in pictures]) for pictures, lines in seen])
    assert len(played[0]) == 6 and played[0] == played[1]
