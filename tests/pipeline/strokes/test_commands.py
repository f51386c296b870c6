"""`frmdn density fit`, `compare`, `sample` and `measure` for strokes, with models and sets that take a second."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from frmdn.pipeline.commands.main import main
from frmdn.pipeline.density.data import open_source
from frmdn.pipeline.density.run import open_run
from frmdn.pipeline.strokes.sample import Wish, draw, half
from frmdn.rollouts.sources import Source
from frmdn.rollouts.sources.strokes import builtin
from frmdn.rollouts.sources.strokes.carrier import Strokes
from frmdn.rollouts.sources.strokes.source import split_drawings, stroke_source

SMALL = ["--hidden", "8", "--components", "2", "--set", "recipe.checks=2"]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("HersheyFonts")
    monkeypatch.setattr(builtin, "WORDS", {"train": 12, "validation": 3, "test": 6})
    monkeypatch.setattr(builtin, "TOUCHES", {"train": 12, "validation": 3, "test": 6})


@pytest.fixture
def shapes(monkeypatch: pytest.MonkeyPatch) -> Source:
    """Instead of kanji: boxes of several sizes."""

    def box(i: int) -> Strokes:
        side = np.array([[0.0, 0], [1, 0], [1, 1]]) * (10 + i)
        return Strokes.of_lines([side, side[:2] + (0, 10 + i)])

    found = stroke_source("kanji", split_drawings({str(i): box(i) for i in range(30)}), "units")
    monkeypatch.setattr(builtin, "kanji", lambda: found)
    return found


def fit(folder: Path, data: str, model: str, steps: int = 4, *more: str) -> Path:
    assert (
        main(
            [
                "density",
                "fit",
                "--data",
                data,
                "--model",
                model,
                "--steps",
                str(steps),
                *SMALL,
                "--out",
                str(folder),
                *more,
            ]
        )
        == 0
    )
    return folder


def sample(folder: Path, out: Path, *more: str) -> Path:
    assert main(["density", "sample", "--run", str(folder), "--out", str(out), "--count", "2", *more]) == 0
    return out


def test_handwriting_from_fit_to_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = fit(tmp_path / "writer", "handwriting", "synthesis")
    for name, more in (
        ("a.svg", []),
        ("b.svg", ["--animate"]),
        ("c.gif", []),
        ("d.svg", ["--prime", "1", "--bias", "1"]),
    ):
        out = sample(run, tmp_path / name, "--text", "go on", *more)
        assert out.stat().st_size > 300
    assert "animate" in (tmp_path / "b.svg").read_text() and "#3d5afe" in (tmp_path / "d.svg").read_text()
    capsys.readouterr()
    assert main(["density", "measure", "--run", str(run), "--count", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["words"] == 2 and found["characters_real"] > 0.8 and 0 <= found["characters_sampled"] <= 1


def test_a_killed_run_goes_on_to_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also the annealing, whose step is counted inside the model."""
    whole = fit(tmp_path / "whole", "handwriting", "synthesis", 6)
    from frmdn.pipeline.density import run as module

    real, calls = module._Training.check, []

    def dying(self: object, report: object) -> None:
        real(self, report)  # type: ignore[arg-type]
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(module._Training, "check", dying)
    words = [
        "density",
        "fit",
        "--data",
        "handwriting",
        "--model",
        "synthesis",
        "--steps",
        "6",
        *SMALL,
        "--out",
        str(tmp_path / "cut"),
    ]
    with pytest.raises(BaseException):  # noqa: B017  (whatever a kill becomes)
        raise SystemExit(main(words))
    monkeypatch.setattr(module._Training, "check", real)
    assert main(words) == 0
    weights = [(folder / "model.safetensors").read_bytes() for folder in (whole, tmp_path / "cut")]
    assert weights[0] == weights[1]


def test_sketches(tmp_path: Path, shapes: Source, capsys: pytest.CaptureFixture[str]) -> None:
    run = fit(
        tmp_path / "kanji", "kanji", "sketch-vae", 4, "--set", "model.latent=3", "--set", "model.end=frmdn-diagonal"
    )
    settings, model = open_run(run)
    assert settings["model"]["latent"] == 3 and settings["model"]["end"] == "frmdn-diagonal"
    assert int(model.density.steps) in (2, 4)  # of the best check
    sample(run, tmp_path / "grid.svg", "--temperature", "0.2", "1")
    assert (tmp_path / "grid.svg").read_text().count("<text") == 2
    sample(run, tmp_path / "way.svg", "--between", "0", "1")
    sample(run, tmp_path / "begun.svg", "--prime", "0")
    capsys.readouterr()
    assert main(["density", "measure", "--run", str(run), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    longest = max(max(split.lengths) for split in shapes.splits.values())
    assert found["L_R"] == pytest.approx(found["per_point"] * 5 / longest) and found["L_KL"] >= 0


def test_touches_answer_a_call(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = fit(tmp_path / "touch", "touch", "rmdn-low-rank")
    call = tmp_path / "call.csv"
    call.write_text("time,x,y,moving\n0.1,0.5,0.5,0\n0.2,0.6,0.6,1\n")
    sample(run, tmp_path / "answer.svg", "--prime", str(call), "--animate")
    _, model = open_run(run)
    source = builtin.touch()
    (cell,) = draw(
        model, source.scale, Wish(count=1, prime=source.scale.native(source.splits["test"].rows(0, 0, 10**6)))
    )
    drawn = cell.drawing
    np.testing.assert_allclose(
        drawn.offsets[: cell.given], source.splits["test"].rows(0, 0, 10**6)[:, :2] * source.scale.size, atol=1e-5
    )
    assert drawn.waits is not None and (drawn.waits > 0).all() and len(drawn) > cell.given
    capsys.readouterr()
    assert main(["density", "measure", "--run", str(run), "--count", "3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["real"]) == set(found["sampled"]) >= {"seconds", "speed while touching", "wait between touches"}
    assert found["real"]["seconds"][2] < 5.01


def test_models_are_compared_in_seconds_of_the_processor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "density",
        "compare",
        "--data",
        "touch",
        "--models",
        "rmdn",
        "frmdn-diagonal",
        "--seeds",
        "1",
        "--budget",
        "0.2",
    ]
    assert main([*words, *SMALL, "--set", "recipe.clock=cpu", "--out", str(tmp_path), "--json"]) == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert record["clock"] == "cpu" and record["data"] == "touch"
    for found in record["models"].values():
        assert found["cpu_seconds"][0] >= 0.2 and found["nll_per_point"] == pytest.approx(4 * found["mean"])


def test_the_sketch_vae_is_compared_with_the_others(tmp_path: Path, shapes: Source) -> None:
    words = ["density", "compare", "--data", "kanji", "--models", "rmdn", "sketch-vae", "--seeds", "1", "--steps", "2"]
    assert main([*words, *SMALL, "--out", str(tmp_path)]) == 0
    (record,) = json.loads((tmp_path / "density.json").read_text())
    assert set(record["models"]) == {"rmdn", "sketch-vae"}
    # in training as in validation the figures are in the units of the data: only the noise of z lies between them
    (path,) = [path for path in tmp_path.rglob("*.jsonl") if "sketch-vae" in str(path)]
    line = json.loads(path.read_text().splitlines()[-1])
    assert line["nll_per_dim"] == pytest.approx(line["validation_nll_per_dim"], abs=0.5)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["fit", "--data", "kanji", "--model", "synthesis"], "kanji has none"),
        (["fit", "--data", "touch", "--model", "sketch-vae"], "touch has them"),
        (["fit", "--data", "inverse-sine", "--model", "sketch-vae"], "sketch-vae is for drawings"),
        (["fit", "--data", "drawings", "--model", "rmdn"], "--data drawings needs --path"),
        (["fit", "--data", "kanji", "--model", "rmdn", "--set", "model.end=flat"], "end must be one of"),
        (
            ["fit", "--data", "touch", "--model", "rmdn", "--set", "recipe.clock=sun"],
            "recipe.clock must be one of wall, cpu",
        ),
    ],
)
def test_what_does_not_belong_together_is_one_line(
    words: list[str], says: str, tmp_path: Path, shapes: Source, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["density", *words, "--steps", "2", *SMALL, "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert says in said[-1]


def test_samples_that_do_not_belong_together_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = fit(tmp_path / "touch", "touch", "rmdn")
    for more, says in (
        (["--text", "word"], "--text is for synthesis"),
        (["--between", "0", "1"], "--between is for sketch-vae"),
        (["--prime", "999"], "--prime 999 is not there"),
        (["--out", str(tmp_path / "a.wav")], "must end with .svg"),
        (["--bias", "-1"], "bias must be 0 or more"),
        (["--device", "cuda"], "--device cuda: drawings are sampled on the CPU"),
    ):
        assert main(["density", "sample", "--run", str(run), "--out", str(tmp_path / "a.svg"), *more]) == 2
        assert says in capsys.readouterr().err.strip().splitlines()[-1]


def test_half_of_a_drawing() -> None:
    lines = [np.array([[float(i), 0], [i, 1]]) for i in range(4)]
    begun = half(Strokes.of_lines(lines))
    assert len(begun.lines) == 2 and begun.pen[-1] == 2
    one = half(Strokes.of_lines([np.array([[0.0, 0], [1, 0], [2, 0]])]))
    assert len(one) == 2


def test_what_is_drawn_depends_on_the_seed_alone(tmp_path: Path) -> None:
    run = fit(tmp_path / "touch", "touch", "rmdn")
    _, model = open_run(run)
    scale = builtin.touch().scale
    torch.manual_seed(1)
    first = draw(model, scale, Wish(count=2, seed=3))
    torch.manual_seed(2)
    again, other = draw(model, scale, Wish(count=2, seed=3)), draw(model, scale, Wish(count=2, seed=4))
    assert (first[0].drawing.offsets == again[0].drawing.offsets).all()
    assert (
        len(other[0].drawing) != len(first[0].drawing) or (other[0].drawing.offsets != first[0].drawing.offsets).any()
    )


def test_a_file_of_drawings_is_data(tmp_path: Path) -> None:
    path = tmp_path / "cat.ndjson"
    lines = [{"key_id": str(i), "recognized": True, "drawing": [[[0, i + 1], [0, 5]]]} for i in range(9)]
    path.write_text("\n".join(map(json.dumps, lines)))
    run = fit(tmp_path / "run", str(path), "rmdn")
    settings, _ = open_run(run)
    assert settings["data"]["name"] == "drawings"
    from frmdn.pipeline.density.data import Data

    assert sum(open_source(Data.of_settings(settings["data"])).about["drawings"].values()) == 9
    sample(run, tmp_path / "out.png")
