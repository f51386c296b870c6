"""A trained agent as one file: it acts as its run does, to the bit, where nothing of the world is installed."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch

import frmdn
from frmdn.envs.worlds.counting import counting_spec
from frmdn.pipeline.commands.main import main
from frmdn.pipeline.dreams.film import Shot, film_agent
from frmdn.pipeline.session import open_session
from frmdn.pipeline.trained import container
from frmdn.pipeline.trained.file import AgentFile, pack
from frmdn.pipeline.trained.header import Header, World
from frmdn.pipeline.workspace import Workspace

ABSENT = ("gymnasium", "ray", "cma", "h5py", "hdf5plugin", "rich", "matplotlib", "tensorboard", "PIL", "jinja2")
ALONE = """
    import sys

    class Absent:
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] in {absent}:
                raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

    sys.meta_path.insert(0, Absent())
    import numpy as np
    import frmdn

    player = frmdn.load({file!r})
    for number in range(2):
        frames = np.load({frames!r})
        np.save({actions!r} + f"-{{number}}.npy", np.stack([player.act(frame) for frame in frames]))
        player.reset()
    assert not {{name for name in sys.modules if name.split(".")[0] in {absent}}}
    try:
        player.spec.make()
    except ValueError as error:
        print(error)
"""


@pytest.fixture
def run(finished: Path) -> frmdn.Run:
    """A run whose controller looks at what it sees, as one of two generations hardly does."""
    run = frmdn.open(finished)
    theta = np.random.default_rng(0).normal(size=run.theta().shape).astype(np.float32)
    from frmdn.pipeline.weights import save_state

    save_state(finished / "controller" / "mean.safetensors", {"theta": theta})
    return run


@pytest.fixture
def file(run: frmdn.Run, tmp_path: Path) -> Path:
    return run.export(tmp_path / "agent.safetensors")


def test_it_acts_as_its_run_where_only_torch_numpy_safetensors_and_opencv_are(
    run: frmdn.Run, file: Path, tmp_path: Path
) -> None:
    frames, player = run.episodes().read(0).frames, run.player()
    expected = np.stack([player.act(frame) for frame in frames])
    assert len(np.unique(expected, axis=0)) == len(frames)  # the controller does look
    np.save(tmp_path / "frames.npy", frames)
    names = {"file": str(file), "frames": str(tmp_path / "frames.npy"), "actions": str(tmp_path / "actions")}
    program = textwrap.dedent(ALONE.format(absent=ABSENT, **names))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, timeout=200)
    assert done.returncode == 0, done.stderr
    for number in range(2):  # the second time after a reset
        assert np.array_equal(np.load(tmp_path / f"actions-{number}.npy"), expected)
    assert "Counting-v0 cannot be made here (No module named 'gymnasium'): pip install frmdn" in done.stdout


def test_what_goes_in_comes_out(run: frmdn.Run, file: Path) -> None:
    agent, held, session = run.agent(), AgentFile(file), run.session
    for mine, theirs in ((agent.vision, held.agent().vision), (agent.memory, held.agent().memory)):
        assert mine is not None and theirs is not None and mine.config == theirs.config
        own, kept = mine.state_dict(), theirs.state_dict()
        assert own.keys() == kept.keys() and all(torch.equal(own[name], kept[name]) for name in own)
    assert np.array_equal(held.theta(held.agent()), run.theta())
    assert torch.equal(held.first_latents(), run.starts())
    assert (held.root_seed, held.rules, held.header.episodes) == (0, session.rules, 2)
    assert held.evaluation == run.evaluation and frmdn.load(file).evaluation == run.evaluation
    assert replace(held.official, build=run.spec.build, hint=run.spec.hint) == run.spec
    assert held.header.versions["torch"] == version("torch")  # without the build that torch itself adds to it


@pytest.mark.parametrize("id", ["CarRacing-v3", "VizdoomTakeCover-v1"])
def test_a_world_keeps_all_that_acting_and_measuring_need(id: str) -> None:
    spec = frmdn.get_spec(id, world=frmdn.WorldConfig(repeat=3, max_steps=70))
    kept = World.of(spec).spec()
    assert replace(kept, build=spec.build) == spec and kept.pipe == spec.pipe
    picture = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    assert np.array_equal(kept.pipe(picture), spec.pipe(picture))


@pytest.mark.parametrize(
    "codec",
    [
        frmdn.ActionCodec("discrete", n=3, start=5, names=("wait", "right", "A")),
        frmdn.ActionCodec("box", (-0.1, 0.0), (0.3, 1.0), (0.1, 0.5), names=("steer", "gas")),
    ],
    ids=["discrete", "box"],
)
@pytest.mark.parametrize("features", ["z", "zh", "zhc"])
def test_every_kind_of_agent_acts_as_before(
    codec: frmdn.ActionCodec, features: str, run: frmdn.Run, tmp_path: Path
) -> None:
    memory = frmdn.Memory(frmdn.MemoryConfig(latent=8, action=codec.size, hidden=6, precision="semi_tied", blocks=1))
    vision = frmdn.ConvVAE(frmdn.VisionConfig(channels=1, latent=8, decoder="fast", frame_size=48))
    spec = frmdn.EnvSpec("Mine-v0", codec, counting_spec(5).build, 48, 1, rows=(10, 80), height=100)
    agent = frmdn.make_agent(vision, memory, spec, frmdn.AgentConfig(features))
    theta = np.random.default_rng(1).normal(size=agent.controller.size).astype(np.float32)
    whole = AgentFile(run.export(tmp_path / "whole.safetensors")).header
    made = replace(whole, world=World.of(spec), vision=vision.config, memory=memory.config, agent=agent.config)
    container.write(tmp_path / "mine.safetensors", pack(made, agent, theta, torch.zeros(1, 8)))
    first, second = frmdn.Player(agent, theta, spec), frmdn.load(tmp_path / "mine.safetensors")
    for frame in np.random.default_rng(2).integers(0, 256, (12, 200, 90), np.uint8):
        one, two = first.act(frame), second.act(frame)
        assert np.array_equal(one, two) and type(one) is type(two)


def test_frames_of_any_size_are_cut_as_in_training_and_others_refused(file: Path) -> None:
    player = frmdn.load(file)
    picture = np.random.default_rng(0).integers(0, 256, (150, 200, 3), np.uint8)
    seen = player.spec.pipe(picture)
    action = player.act(picture)
    player.reset()
    assert np.array_equal(player.act(seen), action)
    for wrong in (picture / 255, picture[..., :1], picture[None], np.zeros((64, 64, 4), np.uint8), None, "frame"):
        with pytest.raises(ValueError, match=r"frame is .*, but the agent sees uint8\[64, 64, 3\]"):
            player.act(wrong)
    with pytest.raises(ValueError, match=r"frame is uint8\[0, 5, 3\]"):
        player.act(picture[:0, :5])


def test_it_evaluates_to_the_returns_of_its_run(
    run: frmdn.Run, finished: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(file), "--workers", "0", "--json"]) == 0
    told = capsys.readouterr()
    report, again = json.loads(told.out), frmdn.evaluate(run)
    assert (report["returns"], report["seeds"]) == (again.returns, again.seeds) and report["policy"] == "agent"
    assert f"in its run: {run.evaluation['mean']:.0f} over 2" in told.err
    assert main(["evaluate", "--run", str(file), "--episodes", "3", "--workers", "0", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["returns"]) == 3
    assert frmdn.evaluate(frmdn.load(file), episodes=2).returns == again.returns


def test_it_dreams_as_its_run(finished: Path, run: frmdn.Run, file: Path, tmp_path: Path) -> None:
    shot = Shot(steps=6, seed=4)
    mine, theirs = film_agent(open_session(finished), shot), film_agent(AgentFile(file), shot)
    assert mine.summary == theirs.summary and np.array_equal(mine.panels[0][1], theirs.panels[0][1])
    for words in (["--in-dream"], ["--steps", "4"]):
        video = tmp_path / "dream.webm"
        assert main(["dream", str(file), "--video", str(video), *words]) == 0 and video.stat().st_size > 500
        video.unlink()


def failure(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    capsys.readouterr()
    assert main([str(word) for word in words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_what_a_file_does_not_hold_is_said(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video = tmp_path / "a.webm"
    assert "holds an agent but no episodes: use the run folder, with --run DIR" in failure(
        capsys, "dream", file, "--video", video, "--episode", 0
    )
    assert "--set and --replace go with --run DIR" in failure(capsys, "evaluate", file, "--set", "search.sigma=1")
    assert "is no run folder" in failure(capsys, "play", tmp_path / "nothing.safetensors")


def test_export_says_what_it_wrote_and_spares_what_is_there(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "agent.safetensors"
    words = ["export", "--run", str(finished), "--out", str(out)]
    assert main(words) == 0 and "MB; frmdn.load(" in capsys.readouterr().err
    first = out.read_bytes()
    assert main(words) == 0 and out.read_bytes() == first  # written anew, and the same
    out.write_bytes(b"somebody's thesis")
    assert "is there already and is no agent file: give another name" in failure(capsys, *words)
    assert out.read_bytes() == b"somebody's thesis"
    assert "is named *.safetensors, not thesis.tex" in failure(capsys, *words[:3], "--out", tmp_path / "thesis.tex")
    assert not (tmp_path / "thesis.tex").exists()


def test_an_agent_that_was_not_measured_goes_without_a_figure(finished: Path, tmp_path: Path) -> None:
    Workspace(finished).clear("evaluate")
    path = frmdn.open(finished).export(tmp_path / "agent.safetensors")
    assert frmdn.load(path).evaluation is None
    Workspace(finished).clear("evolve")
    with pytest.raises(ValueError, match=r"its stage, evolve, is missing: not started\): run frmdn run --out"):
        frmdn.open(finished).export(tmp_path / "other.safetensors")


def test_a_figure_of_an_older_agent_stays_at_home(finished: Path, tmp_path: Path) -> None:
    assert main(["evolve", "--run", str(finished), "--workers", "0", "--replace", "--set", "search.sigma=0.7"]) == 0
    assert frmdn.load(frmdn.open(finished).export(tmp_path / "agent.safetensors")).evaluation is None


def test_another_world_under_the_same_id_is_refused(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entry, discrete = "frmdn.envs.worlds.counting:CountingEnv", {"discrete": 3}
    del gymnasium.registry["Counting-v0"]
    gymnasium.register("Counting-v0", entry_point=entry, max_episode_steps=10, kwargs=discrete)
    assert "Counting-v0 is another world here than the agent was trained in" in failure(
        capsys, "evaluate", file, "--workers", 0
    )


def test_an_id_imports_no_module(file: Path, tmp_path: Path) -> None:
    """What stands before a colon of an id is imported elsewhere; a file of a stranger must not make it."""
    text, tensors = container.read(file)
    container.write(file, container.Content(text.replace('"Counting-v0"', '"evil_module:Counting-v0"', 1), tensors))
    with pytest.raises(ValueError, match="id must be a plain one, without a module before it, not 'evil_module:Count"):
        frmdn.load(file)


def test_modules_are_imported_only_where_the_user_names_them(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run names the module of its world, and so does the file; but a file may come from a stranger."""
    text, tensors = container.read(file)
    container.write(file, container.Content(text.replace('"imports": []', '"imports": ["registers_it"]', 1), tensors))
    (tmp_path / "registers_it.py").write_text(
        "import gymnasium\n"
        "gymnasium.register('Counting-v0', entry_point='frmdn.envs.worlds.counting:CountingEnv', max_episode_steps=10)"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    del gymnasium.registry["Counting-v0"]
    words = ["evaluate", file, "--workers", 0]
    said = failure(capsys, *words)
    assert "'Counting-v0' is unknown here" in said and "names the modules registers_it: if you trust them, add" in said
    assert frmdn.load(file).act(np.zeros((64, 64, 3), np.uint8)).shape == (2,)
    assert "registers_it" not in sys.modules
    assert main([str(word) for word in words] + ["--import", "registers_it"]) == 0
    assert "registers_it" in sys.modules


def test_loading_leaves_torchs_random_numbers_alone(file: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    frmdn.load(file)
    assert torch.equal(torch.rand(2), expected)


def test_the_header_reads_what_it_writes(file: Path) -> None:
    header = AgentFile(file).header
    assert Header.read(header.text) == header
