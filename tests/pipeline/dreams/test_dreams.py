"""`frmdn dream` on a tiny finished run: videos that play, a report that resumes, a section in the page."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from frmdn.agent.dream import Dream
from frmdn.agent.memory import Memory, MemoryConfig
from frmdn.agent.seeds import episode_seeds
from frmdn.agent.vision import ConvVAE, VisionConfig
from frmdn.pipeline.commands.main import main
from frmdn.pipeline.drawing.canvas import GAP, TRACK, Controls
from frmdn.pipeline.drawing.video import LIMIT, read_video
from frmdn.pipeline.dreams.fidelity import OpenLoopPlan, cut, measure_open_loop
from frmdn.pipeline.dreams.figures import rho_text
from frmdn.pipeline.dreams.film import Film
from frmdn.pipeline.dreams.reel import CHARTS, LEFT, column, compose_film, draw_charts, reveal, stacked
from frmdn.pipeline.dreams.runs import search_temperature
from frmdn.pipeline.dreams.section import BEGIN, END, dream_section
from frmdn.pipeline.files import write_json
from frmdn.rollouts.latents import Latents

REPORT = ("--controllers", "4", "--episodes", "1", "--dreams", "2", "--temperatures", "0.5,1.0", "--workers", "0")


def episode(steps: int = 12, seed: int = 0) -> Latents:
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((steps + 1, 4)).cumsum(0).astype(np.float32)
    actions, rewards = (rng.standard_normal(shape).astype(np.float32) for shape in ((steps, 2), (steps,)))
    return Latents(z, np.full_like(z, -6.0), actions, rewards, np.zeros(steps, np.float32))


class Oracle:
    """A world model that knows the windows: its point prediction is what really came next."""

    class Told:
        noise = 4

        def __init__(self, z: torch.Tensor) -> None:
            self.mode = z

        def sample(self, temperature: float = 1.0, generator: object = None) -> torch.Tensor:
            return self.mode + 100.0

    def __init__(self, latents: torch.Tensor) -> None:
        self.latents = latents

    def initial(self, batch: int, device: object = None):  # type: ignore[no-untyped-def]
        from frmdn.agent.memory import MemoryState

        return MemoryState(torch.zeros(batch, 1), torch.zeros(batch, 1))

    def step(self, z, a, state):  # type: ignore[no-untyped-def]
        return type(state)(state.h + 1, state.c)

    def predict(self, h: torch.Tensor):  # type: ignore[no-untyped-def]
        from frmdn.agent.memory import Prediction

        nothing = torch.zeros(len(h))
        return Prediction(self.Told(self.latents[:, int(h[0, 0])]), nothing, nothing)  # type: ignore[arg-type]


def test_an_oracle_is_true_to_the_end_and_a_liar_from_the_first_step() -> None:
    episodes, plan = [episode(seed=s) for s in range(3)], OpenLoopPlan(warmup=3, horizon=6, starts=2)
    windows = cut(episodes, plan)
    torch.manual_seed(0)
    vision = ConvVAE(VisionConfig(latent=4)).eval()
    found = measure_open_loop(Dream(Oracle(windows.latents)), vision, episodes, plan, seed=1)
    for part in ("latents", "frames"):
        assert max(found[part]["error"]["point"]) < 1e-6 < min(found[part]["error"]["still"])
        assert found[part]["better_than_still"]["point"] == {"since": 1, "steps": 6, "low": 6, "high": 6}
        assert found[part]["below_threshold"]["point"]["steps"] == 6
        assert found[part]["at"] == [1, 2, 3, 4, 5, 6]
    assert found["latents"]["better_than_still"]["drawn"]["steps"] == 0
    assert found["latents"]["below_threshold"]["drawn"] == {"steps": 0, "low": 0, "high": 0}
    assert (found["episodes"], found["sequences"]) == (3, 6)


@pytest.mark.parametrize("density", ["frmdn", "rmdn"])
def test_any_memory_is_measured(density: str) -> None:
    torch.manual_seed(0)
    memory = Memory(MemoryConfig(latent=4, action=2, hidden=8, density=density)).eval()  # type: ignore[arg-type]
    vision = ConvVAE(VisionConfig(latent=4)).eval()
    plan = OpenLoopPlan(warmup=2, horizon=5)
    first, again = (measure_open_loop(Dream(memory), vision, [episode(), episode(9, 1)], plan, 1) for _ in range(2))
    assert first == again and len(first["latents"]["error"]["drawn"]) == 5
    json.dumps(first, allow_nan=False)


def test_windows_are_cut_from_where_they_say() -> None:
    one = episode(12)
    windows = cut([one, episode(4)], OpenLoopPlan(warmup=2, horizon=4, starts=3))
    assert windows.episode.tolist() == [0, 0, 0] and windows.horizon == 4
    for row, start in enumerate((0, 3, 6)):
        assert np.array_equal(windows.latents[row], one.mean[start : start + 7])
        assert np.array_equal(windows.actions[row], one.actions[start : start + 6])
    short = cut([episode(6)], OpenLoopPlan(warmup=20, horizon=50))
    assert (short.warmup, short.horizon) == (2, 4)
    with pytest.raises(ValueError, match="held-out"):
        cut([], OpenLoopPlan())


def film(steps: int = 10) -> Film:
    pictures = np.random.default_rng(0).integers(0, 256, (3, steps + 1, 16, 16, 3), np.uint8)
    return Film(
        summary="a test",
        panels=tuple(zip(("reality", "reconstruction", "dream"), pictures, strict=True)),
        alone=4,
        actions=np.zeros((steps, 3), np.float32),
        controls=Controls("CarRacing-v3", np.array([-1, 0, 0], np.float32), np.ones(3, np.float32)),
        real=np.ones(steps, np.float32),
        dreamt=np.linspace(0, 1, steps, dtype=np.float32),
        ends=np.full(steps, 0.5, np.float32),
        weights=np.tile(np.array([0.25, 0.75], np.float32), (steps, 1)),
    )


def test_a_frame_shows_its_instant_and_nothing_of_the_future() -> None:
    shot = film()
    frames = list(compose_film(shot, stride=4))
    assert len(frames) == 4 and len({frame.shape for frame in frames}) == 1  # instants 0, 4, 8 and the last
    assert frames[0].shape[0] % 2 == frames[0].shape[1] % 2 == 0
    charts = draw_charts(shot)
    now = column(5, shot.steps)
    shown = reveal(charts, shot, 5)
    bottom = sum(height + GAP for _, height in CHARTS[:2]) + 5
    assert np.array_equal(shown[bottom, LEFT + 1 : now], charts[bottom, LEFT + 1 : now])
    assert (shown[bottom, now + 1 : now + 50] == np.array(TRACK)).all()


def test_actions_are_called_what_the_world_calls_them() -> None:
    bars, named = film(), replace(film(), controls=replace(film().controls, names=("left", "stay", "right")))
    other = replace(named, controls=replace(named.controls, names=("jump", "stay", "right")))
    pictures = [next(compose_film(each, stride=20)) for each in (bars, named, other)]
    assert not np.array_equal(pictures[0], pictures[1]) and not np.array_equal(pictures[1], pictures[2])


def test_weights_are_stacked_in_their_shares() -> None:
    sheet = stacked(film().weights, 40, 30)
    first = (sheet == sheet[0, 0]).all(-1).sum(0)
    assert (first == 10).all()  # a quarter of 40 rows, in every column


@pytest.mark.parametrize("more", [("--episode", "1"), (), ("--in-dream",)])
def test_a_video_is_written(finished: Path, tmp_path: Path, more: tuple[str, ...]) -> None:
    path = tmp_path / "dream.webm"
    words = ["dream", "--run", str(finished), "--video", str(path), "--steps", "5", "--warmup", "2", *more]
    assert main(words) == 0
    assert 2 <= len(read_video(path)) <= 8 and path.stat().st_size <= LIMIT


def test_the_users_mistakes_are_named(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = ("dream", "--run", str(finished))
    assert main([*run, "--video", str(tmp_path / "a.webm"), "--episode", "99"]) == 2
    assert "episodes 0 to 3" in capsys.readouterr().err
    assert main([*run, "--video", str(tmp_path / "a.mp4")]) == 2
    assert ".webm" in capsys.readouterr().err
    assert main(["dream", "--run", str(finished)]) == 2
    assert "--video" in capsys.readouterr().err
    (finished / "controller" / "done.json").unlink()
    assert main(["dream", "report", "--run", str(finished), *REPORT]) == 2
    assert "evolve" in capsys.readouterr().err


def test_a_report_is_made_once_and_shown(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dream", "report", "--run", str(finished), *REPORT, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result == json.loads((finished / "dream.json").read_text())
    assert [row["temperature"] for row in result["temperatures"]] == [0.5, 1.0]
    assert len(result["controllers"]) == 4 and result["controllers"][0]["kind"] == "mean"
    assert {path.name for path in (finished / "dream").glob("*.png")} == {
        "transfer.png",
        "temperatures.png",
        "open_loop.png",
    }
    (log,) = (finished / "dream").glob("real-*.jsonl")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    evaluated = set(json.loads((finished / "evaluation.json").read_text())["seeds"])
    assert len(lines) == 4 and {line["seed"] for line in lines} == set(episode_seeds(0, "transfer", 1))
    assert not evaluated & {line["seed"] for line in lines}

    html = (finished / "report.html").read_text()
    assert "<h2>Dream</h2>" in html.partition(BEGIN)[2].partition(END)[0] and html.count(BEGIN) == 1
    for i, row in enumerate(result["temperatures"]):  # so small a run scores the same everywhere: tell the cells apart
        for j, who in enumerate(("agent", "preferred")):
            for k, side in enumerate(("dream", "real")):
                row[who][side] |= {"mean": 1000.0 * i + 100 * j + 10 * k, "std": 1.0 + k}
        row["preferred"]["name"] = f"favourite {i}"
    edited = tmp_path / "edited"
    shutil.copytree(finished, edited)
    write_json(edited / "dream.json", result)
    words = " ".join(re.sub(r"<[^>]+>", " ", dream_section(edited)).split())
    assert "temperature Spearman (95 %) agent, dreamt agent, real favourite its dream its real" in words
    for i, row in enumerate(result["temperatures"]):
        cells = ["0 ± 1", "10 ± 2", f"favourite {i}", "100 ± 1", "110 ± 2"]
        cells = [cell if i == 0 or "±" not in cell else f"1,{int(cell.split()[0]):03d} {cell[-3:]}" for cell in cells]
        assert f"{row['temperature']:g} {rho_text(row['spearman'])} {' '.join(cells)}" in words
    result = json.loads((finished / "dream.json").read_text())
    log.write_text("".join(json.dumps(line) + "\n" for line in lines[:2]) + '{"cut sho')  # killed in the third
    assert main(["dream", "report", "--run", str(finished), *REPORT]) == 0
    again = json.loads((finished / "dream.json").read_text())
    assert again["temperatures"] == result["temperatures"] and again["open_loop"] == result["open_loop"]
    after = [json.loads(line) for line in log.read_text().splitlines()]
    assert after[:2] == lines[:2] and {line["theta"] for line in after} == {line["theta"] for line in lines}
    assert (finished / "report.html").read_text().count("<h2>Dream</h2>") == 1


def test_runs_are_tabulated(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dream", "report", "--runs", str(finished), "--json"]) == 0
    (record,) = json.loads(capsys.readouterr().out)["runs"]
    evaluation = json.loads((finished / "evaluation.json").read_text())
    assert record["real"]["mean"] == evaluation["mean"] and record["temperature"] is None and record["dream"] is None


def test_only_a_search_in_dreams_has_a_temperature() -> None:
    assert search_temperature({"dream": {"world": "dream", "temperature": 1.15}}) == 1.15
    assert search_temperature({"dream": {"world": "reality", "temperature": 1.15}}) is None
