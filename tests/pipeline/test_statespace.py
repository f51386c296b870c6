"""`frmdn statespace`: one JSON object, exit codes, and resuming per seed and within a seed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from frmdn.agent.dream import Dream, Noise
from frmdn.agent.seeds import derive, generator
from frmdn.agent.state_space import StateSpace, StateSpaceAgent, StateSpaceConfig, StateSpaceWorld, Trajectories
from frmdn.controller.fitness import RealFitness
from frmdn.controller.hidden import HiddenController
from frmdn.envs.worlds.pendulum import pendulum_spec
from frmdn.pipeline.commands.main import main
from frmdn.pipeline.files import History, read_json, write_json
from frmdn.pipeline.settings import FORMAT, override
from frmdn.pipeline.statespace import control, seed
from frmdn.pipeline.statespace.seed import r_squared
from frmdn.pipeline.statespace.settings import StateSpaceSettings
from frmdn.pipeline.weights import load
from frmdn.rollouts.workers import SerialPool

SMALL = ["updates=6", "train=12", "validation=4", "test=6", "length=8", "batch=6"]


def words(out: Path, *more: str, settings: list[str] = SMALL) -> list[str]:
    sets = [word for setting in settings for word in ("--set", setting)]
    return ["statespace", "--out", str(out), "--seeds", "1", *sets, *more]


def run(capsys: pytest.CaptureFixture[str], out: Path, *more: str, settings: list[str] = SMALL) -> dict[str, Any]:
    assert main(words(out, *more, "--json", settings=settings)) == 0
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("statespace") / "run"
    assert main(words(folder)) == 0
    return folder


@pytest.fixture
def finished(template: Path, tmp_path: Path) -> Path:
    """The folder of a finished small study of one seed: each test gets a copy, with its times."""
    return Path(shutil.copytree(template, tmp_path / "run"))


@pytest.mark.parametrize("variant", ["dvbf", "gaussian", "iaf-step", "iaf-trajectory"])
def test_it_prints_the_figures_and_draws(variant: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run(capsys, tmp_path, "--variant", variant)
    assert found["variant"] == variant and found["mean"] == found["generation_mae"][0]
    for name in ("generation_mae", "generation_mae_sampled", "reconstruction_mae", "kl", "bound"):
        assert len(found[name]) == 1 and isinstance(found[name][0], float)
    assert found["bound"][0] == pytest.approx(found["reconstruction"][0] - found["kl"][0], rel=1e-5)
    assert set(found["r2"]) == {"sin", "cos", "velocity"} and found["seconds"] > 0
    assert found["cpu_seconds"] > 0
    assert found["meaning"]["generation_mae"] != found["meaning"]["generation_mae_sampled"]
    assert json.loads((tmp_path / "result.json").read_text()) == found
    for name in ("training.png", "seed-0/generated.png", "seed-0/latent.png", "seed-0/model.safetensors"):
        assert (tmp_path / name).stat().st_size > 1000


def test_a_second_seed_leaves_the_first_alone(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = read_json(finished / "result.json")
    weights = (finished / "seed-0" / "model.safetensors").stat().st_mtime_ns
    both = run(capsys, finished, "--seeds", "2")
    assert both["generation_mae"][0] == first["generation_mae"][0] and len(both["bound"]) == 2
    assert both["generation_mae"][1] != both["generation_mae"][0]
    assert (finished / "seed-0" / "model.safetensors").stat().st_mtime_ns == weights


def test_killed_within_a_seed_it_goes_on_to_the_same_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("LOG_EVERY", 1), ("CHECKPOINT_EVERY", 2), ("VALIDATE_EVERY", 2)):
        monkeypatch.setattr(seed, name, value)
    whole = run(capsys, tmp_path / "whole")
    append = History.append

    def killed(self: History, record: Any) -> None:
        if record["step"] == 5:
            raise KeyboardInterrupt
        append(self, record)

    with monkeypatch.context() as patch:
        patch.setattr(History, "append", killed)
        assert main(words(tmp_path / "cut")) == 130
    assert not (tmp_path / "cut" / "seed-0" / "result.json").exists()
    resumed = run(capsys, tmp_path / "cut")
    a, b = (load(tmp_path / name / "seed-0" / "model.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(a[name], b[name]) for name in a)
    steps = [line["step"] for line in History(tmp_path / "cut" / "seed-0" / "history.jsonl", "step").read()]
    assert steps == [1, 2, 3, 4, 5, 6]
    for name in ("generation_mae", "generation_mae_sampled", "bound", "kl"):
        assert resumed[name] == whole[name]


def test_pixels_make_a_filmstrip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run(capsys, tmp_path, "--observation", "pixels")
    assert found["settings"]["latent"] == 3 and found["settings"]["lookahead"] == 4
    assert (tmp_path / "seed-0" / "filmstrip.png").stat().st_size > 1000


def test_a_controller_is_evolved_in_the_dream_and_played(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    small = control.SearchConfig(population=4, episodes=2, generations=2, sigma=0.5, validate_every=0)
    monkeypatch.setattr(control, "SEARCH", small)
    monkeypatch.setattr(control, "EPISODES", 4)
    monkeypatch.setattr(control, "SHOWN", 2)
    found = run(capsys, tmp_path, "--control")["control"]
    assert found["real"]["dreamt"]["episodes"] == 4 and found["real"]["random"]["mean"] < -300
    assert (tmp_path / "control" / "control.png").stat().st_size > 1000


def test_a_generation_is_dreamt_as_one_batch_from_where_the_trajectories_began(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "SEARCH", control.SearchConfig(population=4, episodes=2))
    torch.manual_seed(0)
    model = StateSpace(StateSpaceConfig(matrices=3, hidden=8, width=8))
    train, spec = Trajectories(torch.randn(5, 9, 3), torch.randn(5, 8, 1), torch.zeros(5, 8)), pendulum_spec("state", 6)
    data = seed.Data(train, train, train, train.observations, train.observations)
    agent = StateSpaceAgent(model, HiddenController(4, 1, 3), spec.action.squash)
    theta = np.random.default_rng(1).standard_normal((4, agent.controller.size))
    rows: list[int] = []
    step = model.step
    monkeypatch.setattr(model, "step", lambda z, u: rows.append(len(z)) or step(z, u))
    with SerialPool(lambda: control.dreamer(agent, data, spec)) as pool:
        rows.clear()
        found = RealFitness(pool)(theta, [7, 8])
    assert rows == [8] * 6 and (found.steps == 6).all()  # each transition of all eight dreams is one operation
    with torch.no_grad():
        begun = model.initial_state(train.observations, train.controls, torch.zeros(5, 4))
        state = Dream(StateSpaceWorld(model)).initial(begun[[derive(7, "dream", "start") % 5]])
        noise, total = generator(7, "dream", "noise"), 0.0
        uniform, normal = torch.rand(32, 2, generator=noise), torch.randn(32, 4, generator=noise)
        for t in range(6):
            action = agent.squash(agent.controller.act(torch.as_tensor(theta[2:3], dtype=torch.float32), state.z))
            luck = Noise(uniform[t : t + 1], normal[t : t + 1])
            state, reward, _ = Dream(StateSpaceWorld(model)).step(state, action, noise=luck)
            total += float(reward)
    assert found.total[2, 0] == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize(
    ("more", "settings", "said"),
    [
        ([], ["updates=none"], "updates must be of type int, not None"),
        ([], ["updates"], "has no '='"),
        ([], ["updates=1.5"], "updates must be of type int, not 1.5"),
        ([], ["lateral=3"], "--set lateral: no such setting; did you mean latent?"),
        ([], ["variant=dvfb"], "variant must be one of dvbf, gaussian, iaf-step, iaf-trajectory, not 'dvfb'"),
        ([], ["observation=sound"], "observation must be one of state, pixels, not 'sound'"),
        ([], ["batch=50", "train=20"], "batch"),
        (["--env", "CartPole-v1"], SMALL, "Pendulum-v1"),
        (["--observation", "pixels"], ["lookahead=20"], "lookahead"),
        (["--control", "--variant", "iaf-trajectory"], SMALL, "iaf-trajectory"),
        (["--control"], [*SMALL, "recognition=smooth"], "recognition"),
        ([], ["recognition=none"], "recognition must be one of filter, smooth"),
        ([], ["annealed=entropy"], "annealed must be one of kl, likelihood"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(
    more: list[str], settings: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(tmp_path / "x", *more, settings=settings)) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and len(captured.err.splitlines()) == 1 and said in captured.err
    assert not (tmp_path / "x").exists()


def test_other_settings_need_another_folder(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words(finished, "--variant", "gaussian")) == 2
    assert 'variant: "dvbf" there, "gaussian" asked for' in capsys.readouterr().err


def test_a_folder_of_another_version_is_refused_with_a_remedy(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = read_json(finished / "config.json")
    assert stored.pop("format") == FORMAT
    write_json(finished / "config.json", stored)
    assert main(words(finished)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "its format is no number" in line and "make it anew with frmdn statespace --out NEW" in line


def test_settings_keep_their_types() -> None:
    changed = override(StateSpaceSettings(), ["updates=7", "learning_rate=0.5", "variant=gaussian"])
    assert (changed.updates, changed.learning_rate, changed.variant) == (7, 0.5, "gaussian")


def test_r_squared_scores_data_that_was_not_fitted() -> None:
    torch.manual_seed(0)
    states, other, mix = torch.randn(40, 5, 4), torch.randn(40, 5, 4), torch.randn(4, 3)
    noise = torch.randn(40, 5) * 3
    truth, test = states @ mix + 2, other @ mix + 2
    truth[..., 2], test[..., 2] = noise, noise.flip(0)  # nothing to do with the states
    found = r_squared(states, truth, other, test)
    assert found[:2] == pytest.approx([1, 1]) and found[2] < 0.1
