"""A folder of recordings becomes a run folder that trains, dreams and reports; with an environment it is played too."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

import frmdn
from frmdn.envs.worlds.counting import CountingEnv
from frmdn.pipeline.commands.main import main
from frmdn.pipeline.play.game import dream_game
from frmdn.pipeline.session import open_session
from frmdn.rollouts.episodes.store import EpisodeStore

SETTINGS = {
    "vision_fit.steps": 2,
    "vision_fit.log_every": 1,
    "vision_data.batch": 4,
    "memory.hidden": 8,
    "memory_fit.steps": 2,
    "memory_fit.log_every": 1,
    "memory_data.batch": 2,
    "memory_data.length": 5,
    "search.generations": 1,
    "search.slots": 2,
    "evaluate.episodes": 1,
}
TINY = ["--preset", "smoke", *(word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}"))]


def record(folder: Path, count: int = 3, steps: int = 12, acted: bool = True) -> Path:
    """Videos of a bright square that moves to the right, and how fast it does."""
    folder.mkdir(exist_ok=True)
    for n in range(count):
        writer = cv2.VideoWriter(str(folder / f"clip{n}.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 30, (96, 64))
        for t in range(steps + 1):
            picture = np.full((64, 96, 3), 30, np.uint8)
            picture[20:40, 2 * t + n : 2 * t + n + 20] = 220
            writer.write(picture)
        writer.release()
        if acted:
            np.savetxt(folder / f"clip{n}.csv", np.full((steps, 2), [0.5, n]), "%g", ",", header="a,b", comments="")
    return folder


def stores(run: Path) -> list[bytes]:
    store = EpisodeStore(run / "rollouts" / "episodes")
    return [store.path(index).read_bytes() for index in store.indices()]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of videos and, beside it, the finished runs of it, with and without actions."""
    root = tmp_path_factory.mktemp("recorded")
    record(root / "videos")
    for name, more in (("acted", []), ("watched", ["--actions", "none"])):
        assert main(["import", str(root / "videos"), "--out", str(root / name), *TINY, *more]) == 0
        assert main(["run", "--out", str(root / name), "--workers", "0"]) == 0
    return root


@pytest.fixture
def made(kept: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change; times are kept, for they tell whether a recording has changed."""
    return Path(shutil.copytree(kept, tmp_path / "copy"))


@pytest.mark.parametrize(("name", "size"), [("acted", 2), ("watched", 0)])
def test_a_run_of_recordings_is_whole(
    kept: Path, tmp_path: Path, name: str, size: int, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = kept / name
    assert main(["status", "--run", str(folder), "--json"]) == 0
    stages = json.loads(capsys.readouterr().out)["stages"]
    assert [(stage["name"], stage["state"]) for stage in stages] == [
        (stage, "done") for stage in ("collect", "vision", "encode", "memory", "report")
    ]
    run = frmdn.open(folder)
    assert run.memory().config.action == size and run.spec.action.size == size
    assert [run.episodes().read(i).actions.shape for i in range(3)] == [(12, size)] * 3
    assert run.latents().read(0).actions.shape == (12, size)
    env = run.dream_env(2)
    env.reset(seed=0)
    features, *_ = env.step(np.zeros((2, size), np.float32))
    assert features.shape == (2, 32 + 8)
    page = (folder / "report.html").read_text()
    assert "<video" in page and "There is no agent" in page and "frmdn evaluate" not in page
    assert "frmdn import videos --out DIR" in page
    video = tmp_path / "dream.webm"
    assert main(["dream", "--run", str(folder), "--video", str(video), "--warmup", "4"]) == 0
    assert "dreamt alone" in capsys.readouterr().err and video.stat().st_size > 1000
    game = dream_game(open_session(folder), 1.0)
    game.begin(1)
    assert game.step(np.zeros(size, np.float32)).steps == 1


def test_run_says_what_it_leaves_out_and_prints_json(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--out", str(made / "acted"), "--json"]) == 0
    told = capsys.readouterr()
    assert told.err.count("no search, no evaluation: ") == 1 and "--env ID" in told.err
    assert json.loads(told.out)["evaluation"] is None and len(json.loads(told.out)["stages"]) == 5


@pytest.mark.parametrize(
    "words",
    [
        ["evolve", "--run", "RUN"],
        ["evaluate", "--run", "RUN"],
        ["dream", "--run", "RUN", "--video", "x.webm", "--in-dream"],
        ["dream", "report", "--run", "RUN"],
    ],
)
def test_what_needs_an_environment_says_so(kept: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([word.replace("RUN", str(kept / "acted")) for word in words]) == 2
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert told.startswith("frmdn: ") and "--env ID" in told


def test_the_front_door_says_so_too(kept: Path) -> None:
    with pytest.raises(ValueError, match=r"has no evolve: its episodes were imported.*--env ID"):
        frmdn.open(kept / "acted").player()
    with pytest.raises(ValueError, match="this run was imported, and has no environment to play"):
        frmdn.open(kept / "acted").spec.make()


def test_a_new_recording_is_added_and_makes_stale_what_knew_less(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = stores(made / "acted")
    words = ["import", str(made / "videos"), "--out", str(made / "acted")]
    assert main(words) == 0 and "done already" in capsys.readouterr().err
    assert {status.state for status in frmdn.open(made / "acted").status()} == {"done"}
    record(made / "more", 1, 20)
    for suffix in (".mp4", ".csv"):
        shutil.copy(made / "more" / f"clip0{suffix}", made / "videos" / f"later{suffix}")
    (made / "videos" / "later.csv").write_text("a,b\n" + "0.5,77\n" * 20)  # beyond the bounds so far
    assert main(words) == 0
    assert stores(made / "acted")[:3] == before and len(stores(made / "acted")) == 4
    run = frmdn.open(made / "acted")
    assert (run.config.collect.episodes, run.config.collect.max_steps, run.spec.action.high[1]) == (4, 20, 77.0)
    assert [status.state for status in run.status()] == ["done", "stale", "stale", "stale", "stale"]


def test_a_lost_episode_is_imported_again_and_nothing_else_is_touched(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, run = stores(made / "acted"), made / "acted"
    (run / "rollouts" / "episodes" / "000001.h5").unlink()
    assert main(["run", "--out", str(run)]) == 2
    assert "partial (1 of its 3 files are gone): they were imported, so call frmdn import" in capsys.readouterr().err
    assert main(["collect", "--run", str(run)]) == 2
    assert stores(run) == [before[0], before[2]]
    assert main(["import", str(made / "videos"), "--out", str(run)]) == 0
    assert stores(run) == before
    assert {status.state for status in frmdn.open(run).status()} == {"done"}  # it came back as it was


def test_an_episode_of_another_run_is_found(made: Path, finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = made / "acted"
    shutil.copy(finished / "rollouts" / "episodes" / "000001.h5", run / "rollouts" / "episodes" / "000001.h5")
    assert main(["run", "--out", str(run), "--set", "vision_fit.steps=3", "--replace", "--workers", "0"]) == 2
    assert "000001.h5 was not imported with the others, but is of Counting-v0" in capsys.readouterr().err


def test_other_choices_need_replace(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["import", str(made / "videos"), "--out", str(made / "acted"), "--every", "2"]
    assert main(words) == 2
    assert "recording.every: 1 there, 2 asked for" in capsys.readouterr().err
    assert main([*words, "--replace"]) == 0
    assert frmdn.open(made / "acted").episodes().read(0).steps == 6


def test_a_killed_import_goes_on(tmp_path: Path, kill: Callable[..., None]) -> None:
    folder = record(tmp_path / "videos", 30, 60)
    words = ["import", str(folder), "--length", "10", *TINY]
    program = [sys.executable, "-m", "frmdn", *words, "--out", str(tmp_path / "killed")]
    journal = tmp_path / "killed" / "rollouts" / "takes.jsonl"
    kill(program, tmp_path / "log", lambda: journal.exists() and len(journal.read_text().splitlines()) > 20)
    lines = journal.read_text().splitlines()
    times = {path: path.stat().st_mtime_ns for path in sorted(journal.parent.glob("episodes/*.h5"))[: len(lines) - 1]}
    assert len(lines) < 180, "it was over before the kill"
    assert frmdn.open(tmp_path / "killed").status()[0].state == "partial"
    assert main([*words, "--out", str(tmp_path / "killed")]) == 0
    assert {path: path.stat().st_mtime_ns for path in times} == times  # what was stored is kept
    assert main([*words, "--out", str(tmp_path / "whole")]) == 0
    assert stores(tmp_path / "killed") == stores(tmp_path / "whole") and len(stores(tmp_path / "whole")) == 180


def counted(path: Path, discrete: int = 0) -> Path:
    """Two episodes of the counting world, as an archive."""
    env, frames, actions, rewards = CountingEnv(discrete=discrete), [], [], []
    for seed in (1, 2):
        env.action_space.seed(seed)
        frames.append(env.reset(seed=seed)[0])
        ended = False
        while not ended:
            actions.append(env.action_space.sample())
            frame, reward, ended, _, _ = env.step(actions[-1])
            frames.append(frame)
            rewards.append(reward)
    arrays = {"frames": np.array(frames), "actions": np.array(actions), "rewards": np.array(rewards)}
    np.savez(path, **arrays, lengths=[11, 11], terminated=[True, True])
    return path


def test_an_environment_that_matches_is_played(
    tmp_path: Path, counting: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Named at the import, or later; what was recorded and trained before stays done."""
    source = counted(tmp_path / "games.npz")
    first, later = tmp_path / "first", tmp_path / "later"
    assert main(["import", str(source), "--out", str(first), "--env", counting, *TINY]) == 0
    assert main(["run", "--out", str(first), "--workers", "0"]) == 0
    assert frmdn.open(first).evaluation["episodes"] == 1 and len(frmdn.open(first).status()) == 7
    assert (frmdn.open(first).episodes().read(0).frames == np.load(source)["frames"][:11]).all()
    assert frmdn.open(first).episodes().read(1).terminated
    assert main(["import", str(source), "--out", str(later), *TINY]) == 0
    assert main(["run", "--out", str(later), "--workers", "0"]) == 0
    capsys.readouterr()
    assert main(["run", "--out", str(later), "--workers", "0", "--env", counting]) == 0
    told = capsys.readouterr().err
    assert all(f"{stage:<9} done already" in told for stage in ("collect", "vision", "encode", "memory"))
    assert frmdn.open(later).evaluation["returns"] == frmdn.open(first).evaluation["returns"]
    assert main(["import", str(source), "--out", str(later)]) == 0  # and may be imported again with it


def test_an_environment_that_does_not_match_is_refused(
    made: Path, tmp_path: Path, counting: str, capsys: pytest.CaptureFixture[str]
) -> None:
    videos, out = str(made / "videos"), str(tmp_path / "x")
    cases = [
        (["run", "--out", str(made / "watched"), "--env", counting], "takes actions of 2 numbers, but .* no actions"),
        (["import", videos, "--out", out, "--env", counting, "--size", "32"], "64, 64, 3"),
        (["import", videos, "--out", out, "--env", "CarRacing-v3"], "2 numbers, but"),
        (["run", "--out", str(made / "acted"), "--set", "vision.frame_size=80"], "imported frames have 64"),
        (["run", "--out", str(made / "acted"), "--rounds", "2"], "recordings have nothing to play"),
        (["run", "--out", str(made / "acted"), "--preset", "quick"], "chosen by frmdn import"),
    ]
    for words, text in cases:
        assert main(words) == 2, words
        assert re.search(text, capsys.readouterr().err), words


def test_a_folder_that_collects_takes_no_recordings(
    finished: Path, made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", str(made / "videos"), "--out", str(finished)]) == 2
    assert "collects by itself: give --out another" in capsys.readouterr().err


@pytest.mark.parametrize("discrete", [0, 3])
def test_minari_and_back(tmp_path: Path, discrete: int, capsys: pytest.CaptureFixture[str]) -> None:
    """A run, its episodes in a Minari data set, and a run of that: not a bit is lost."""
    minari = pytest.importorskip("minari")
    source = counted(tmp_path / "games.npz", discrete)
    first, again, data = tmp_path / "first", tmp_path / "again", tmp_path / "games"
    assert main(["import", str(source), "--out", str(first), *TINY]) == 0
    assert main(["export", "--run", str(first), "--minari", str(data), "--json"]) == 0
    capsys.readouterr()
    read = minari.MinariDataset(data / "data")
    assert (read.id, read.total_episodes, read.total_steps) == ("games-v0", 2, 20)
    assert next(iter(read.iterate_episodes())).observations.dtype == np.uint8
    assert main(["import", str(data), "--out", str(again), *TINY]) == 0
    one, two = frmdn.open(first).episodes(), frmdn.open(again).episodes()
    for index in (0, 1):
        a, b = one.read(index), two.read(index)
        assert all((getattr(a, name) == getattr(b, name)).all() for name in ("frames", "actions", "rewards"))
        assert (a.terminated, a.truncated) == (b.terminated, b.truncated) == (True, False)
    assert frmdn.open(again).spec.action == frmdn.open(first).spec.action
    assert main(["export", "--run", str(first), "--minari", str(data)]) == 2
    assert "is there already" in capsys.readouterr().err


def test_minari_by_its_id_and_without_actions(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    minari = pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    assert main(["export", "--run", str(kept / "watched"), "--minari", "dots/watched-v1"]) == 0
    assert minari.load_dataset("dots/watched-v1").total_episodes == 3
    assert main(["import", "dots/watched-v1", "--out", str(tmp_path / "again"), *TINY]) == 0
    assert frmdn.open(tmp_path / "again").spec.action.size == 0
    assert main(["import", "dots/absent-v1", "--out", str(tmp_path / "x")]) == 2
    assert "Minari has no data set dots/absent-v1 on this machine" in capsys.readouterr().err


def test_export_wants_to_know_what(kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "--run", str(kept / "acted")]) == 2
    assert "--minari NAME" in capsys.readouterr().err
