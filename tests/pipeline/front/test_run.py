"""An opened run: what it gives is what the folder holds, and what is missing is said as well as on the command line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

import frmdn
from frmdn.pipeline.commands.main import main
from frmdn.pipeline.weights import load


@pytest.fixture
def run(finished: Path) -> frmdn.Run:
    return frmdn.open(finished)


def test_a_player_plays_the_episodes_of_the_evaluation(run: frmdn.Run) -> None:
    player, env, evaluation = run.player(), run.spec.make(), run.evaluation
    for seed, expected in zip(evaluation["seeds"], evaluation["returns"], strict=True):
        player.reset()
        (frame, _), total, over = env.reset(seed=seed), 0.0, False
        while not over:
            frame, reward, terminated, truncated, _ = env.step(player.act(frame))
            total, over = total + reward, terminated or truncated
        assert total == pytest.approx(expected, abs=0.05)  # a batch of one has other last digits than one of four


def test_a_player_forgets_at_reset_and_remembers_in_between(run: frmdn.Run) -> None:
    player = run.player(np.random.default_rng(0).normal(size=run.theta().shape))
    frames = np.random.default_rng(1).integers(0, 256, (2, 64, 64, 3), np.uint8)
    first, second = player.act(frames[0]), player.act(frames[1])
    player.reset()
    assert np.array_equal(player.act(frames[0]), first)
    player.reset()
    assert not np.array_equal(player.act(frames[1]), second)  # the same frame, but nothing before it


def test_a_player_sees_the_worlds_own_picture_as_its_frames() -> None:
    spec = frmdn.get_spec("CarRacing-v3")
    agent = frmdn.make_agent(frmdn.ConvVAE(), None, spec, frmdn.AgentConfig("z"))
    player = frmdn.Player(agent, np.random.default_rng(0).normal(size=agent.controller.size), spec)
    ours, official = spec.make(), gymnasium.make("CarRacing-v3")
    picture = official.reset(seed=3)[0]
    assert picture.shape == (96, 96, 3)
    assert np.array_equal(player.act(picture), player.act(ours.reset(seed=3)[0]))
    assert official.action_space.contains(player.act(picture))


@pytest.mark.parametrize(
    "frame", [np.zeros((64, 64, 3), np.float32), np.zeros((64, 64), np.uint8), np.zeros((1, 64, 64, 3), np.uint8)]
)
def test_a_player_refuses_what_is_no_frame(run: frmdn.Run, frame: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"frame is .* the agent sees uint8\[64, 64, 3\]: give it what env.reset"):
        run.player().act(frame)


def test_a_player_refuses_parameters_of_another_agent(run: frmdn.Run) -> None:
    with pytest.raises(ValueError, match=r"theta has shape \(3,\), the controller needs \(82,\)"):
        run.player([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="theta holds NaN"):
        run.player(np.full(82, np.nan))


def test_theta_is_what_the_search_left(run: frmdn.Run, finished: Path) -> None:
    for which in ("mean", "best"):
        stored = load(finished / "controller" / f"{which}.safetensors")["theta"]
        assert np.array_equal(run.theta(which), stored.numpy())
    with pytest.raises(ValueError, match="which must be mean or best, not 'last'"):
        run.theta("last")
    with pytest.raises(ValueError, match=r"member must lie in 0\.\.0, for this run has 1; not 1"):
        run.memory(1)


def test_dreams_are_those_of_the_runs_own_memory(run: frmdn.Run) -> None:
    dream, start = run.dream(temperature=0.5), run.starts()
    first = np.stack([run.latents().read(index).mean[0] for index in run.latents().indices()])
    assert np.array_equal(start.numpy(), first) and dream.temperature == 0.5
    own = run.memory()
    assert all(torch.equal(a, b) for a, b in zip(dream.memory.parameters(), own.parameters(), strict=True))
    env = run.dream_env(2, max_steps=3)
    env.reset(seed=0)
    steps = [env.step(env.action_space.sample()) for _ in range(3)]
    over = np.stack([terminated | truncated for _, _, terminated, truncated, _ in steps])
    assert over.any(axis=0).all() and env.action_space.shape == (2, 2)  # no dream is longer than three steps
    pictures = env.render()
    assert pictures is not None and pictures[0].dtype == np.uint8


def test_looking_at_a_run_changes_nothing(run: frmdn.Run, finished: Path) -> None:
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    run.status(), run.player(), run.dream_env(1), run.episodes(), run.latents(), run.history, repr(run)
    frmdn.evaluate(run, episodes=1)
    frmdn.evolve(run, search=frmdn.SearchConfig(population=4, generations=1, validate_every=0))
    assert {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()} == before


Ask = Callable[[frmdn.Run], Any]
ASKS: dict[str, tuple[str, Ask]] = {
    "episodes": ("collect", lambda run: run.episodes()),
    "vision": ("vision", lambda run: run.vision()),
    "latents": ("encode", lambda run: run.latents()),
    "starts": ("encode", lambda run: run.starts()),
    "memory": ("memory", lambda run: run.memory()),
    "dream": ("memory", lambda run: run.dream()),
    "agent": ("vision", lambda run: run.agent()),
    "dream_env": ("encode", lambda run: run.dream_env(2)),
    "theta": ("evolve", lambda run: run.theta()),
    "player": ("vision", lambda run: run.player()),
    "evaluate": ("vision", lambda run: frmdn.evaluate(run)),
    "evaluation": ("evaluate", lambda run: run.evaluation),
}


@pytest.mark.parametrize("ask", ASKS)
def test_what_is_not_there_yet_names_the_stage_and_the_command(finished: Path, ask: str) -> None:
    stage, call = ASKS[ask]
    for path in finished.iterdir():
        if path.name != "config.json":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    run = frmdn.open(finished)
    assert repr(run) == f"Run({str(finished)!r}, Counting-v0: no stage done)" and run.history == []
    with pytest.raises(ValueError, match=rf"stage, {stage}, is missing: not started\): run frmdn run --out {finished}"):
        call(run)
    assert [path.name for path in finished.iterdir()] == ["config.json"]  # asking made no folders


def test_a_run_without_its_episodes_still_plays(finished: Path) -> None:
    """Episodes are large: who gives a run away may leave them out."""
    shutil.rmtree(finished / "rollouts")
    assert frmdn.evaluate(frmdn.open(finished)).returns == frmdn.open(finished).evaluation["returns"]


def no_folder(path: Path) -> None:
    shutil.rmtree(path)


def no_config(path: Path) -> None:
    for lost in (path / "config.json", *path.glob("*/settings.json")):
        lost.unlink()


def half_a_config(path: Path) -> None:
    (path / "config.json").write_text('{"env": "Cou')


def unknown_setting(path: Path) -> None:
    config = json.loads((path / "config.json").read_text())
    config["search"]["populace"] = 3
    (path / "config.json").write_text(json.dumps(config))


def no_weights(path: Path) -> None:
    (path / "vision" / "model.json").unlink()


def damaged_weights(path: Path) -> None:
    (path / "memory" / "model.safetensors").write_bytes(b"nothing")


def no_theta(path: Path) -> None:
    (path / "controller" / "mean.safetensors").unlink()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (no_folder, "is no run folder (it has no config.json): make one with frmdn run --out"),
        (no_config, "is no run folder (it has no config.json): make one with frmdn run --out"),
        (half_a_config, "config.json"),
        (unknown_setting, "config.json: search.populace: no such setting; did you mean search.population"),
        (no_weights, "vision/model.json is missing: "),
        (damaged_weights, "memory/model.safetensors is no whole safetensors file"),
        (no_theta, "controller/mean.safetensors is missing: "),
    ],
)
def test_a_spoilt_folder_is_said_alike_in_python_and_on_the_command_line(
    finished: Path, capsys: pytest.CaptureFixture[str], spoil: Callable[[Path], None], says: str
) -> None:
    spoil(finished)
    with pytest.raises(ValueError) as caught:
        frmdn.open(finished).player()
    text = " ".join(str(caught.value).split())
    assert says in text and str(finished) in text
    if spoil not in (no_weights, no_theta):  # the command would make these again, or asks for its stage first
        assert main(["dream", "--run", str(finished), "--video", str(finished / "dream.webm")]) == 2
        assert capsys.readouterr().err.strip().splitlines()[-1] == f"frmdn: {text}"
