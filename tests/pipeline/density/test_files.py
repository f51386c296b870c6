"""`frmdn density` on a file of one's own: fit, sample, compare, go on, and one line for each mistake."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from frmdn.pipeline.commands.main import main
from frmdn.pipeline.density.data import Columns, Data, choose
from frmdn.pipeline.density.names import FILES
from frmdn.pipeline.files import read_json, write_json
from frmdn.rollouts.sources.tables import SUFFIXES

SMALL = ["--components", "2", "--hidden", "8", "--steps", "4"]


@pytest.fixture
def sines(tmp_path: Path) -> Path:
    """Two sines of 1e5 and 1e-5 by the hour, 300 rows."""
    t, noise = np.arange(300), np.random.default_rng(0).normal(size=(300, 2))
    load, strain = 1e5 + 2e4 * (np.sin(t / 8) + 0.1 * noise[:, 0]), 1e-5 * (np.sin(t / 5) + 0.1 * noise[:, 1])
    path = tmp_path / "sines.csv"
    lines = [
        "hour,load,strain",
        *(f"{h % 24},{a!r},{b!r}" for h, a, b in zip(t, load.tolist(), strain.tolist(), strict=True)),
    ]
    path.write_text("\n".join(lines))
    return path


def fit(path: Path, out: Path, *words: str) -> int:
    return main(["density", "fit", "--data", str(path), "--context", "hour", "--out", str(out), *SMALL, *words])


def test_fit_and_sample_in_the_units_of_the_file(
    sines: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert fit(sines, run, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["data"] == "sines.csv" and "units of the file" in report["unit"]
    words = ["density", "sample", "--run", str(run), "--count", "5", "--length", "7"]
    for name in ("a.png", "a.csv", "a.npz"):
        assert main([*words, "--out", str(tmp_path / name)]) == 0
    assert (tmp_path / "a.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    with np.load(tmp_path / "a.npz") as kept:
        samples, recorded, columns = kept["samples"], kept["recorded"], list(kept["columns"])
    assert samples.shape == (5, 7, 2) and columns == ["load", "strain"]
    assert 5e4 < samples[..., 0].mean() < 1.5e5 and 1e-8 < samples[..., 1].std() < 1e-4
    rows = list(csv.DictReader((tmp_path / "a.csv").open()))
    assert len(rows) == len(recorded) + 5 * 7
    np.testing.assert_allclose([float(r["load"]) for r in rows if r["sample"] == "0"], recorded[:, 0], rtol=1e-6)
    np.testing.assert_allclose([float(r["strain"]) for r in rows if r["sample"] == "5"], samples[4, :, 1], rtol=1e-6)
    assert main([*words[:4], "--length", "1000", "--out", str(tmp_path / "b.png")]) == 2
    assert "--length 1000 is more than" in capsys.readouterr().err
    assert main([*words, "--out", str(tmp_path / "b.wav")]) == 2


def test_a_run_goes_on_and_another_file_is_refused(
    sines: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit(sines, tmp_path / "run") == 0 and fit(sines, tmp_path / "run") == 0
    assert "done already" in capsys.readouterr().err
    assert fit(sines, tmp_path / "run", "--held-out", "0.2") == 2
    sines.write_text(sines.read_text() + "\n3,1.5e5,0.001")
    assert fit(sines, tmp_path / "run") == 2
    assert "another" in capsys.readouterr().err.splitlines()[-1]


def test_compare_draws_every_model(sines: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["density", "compare", "--data", str(sines), "--out", str(tmp_path / "out"), "--seeds", "1", "--json"]
    assert main([*words, "--models", "rmdn", "frmdn-spline", *SMALL]) == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert record["data"] == "sines.csv" and set(record["models"]) == {"rmdn", "frmdn-spline"}
    for name in ("learning.png", "samples.png"):
        assert (tmp_path / "out" / "sines.csv" / name).stat().st_size > 10_000


def test_run_folders_older_than_files_are_still_theirs(tmp_path: Path) -> None:
    data = Data("speech", None, "40-frames")
    assert data.settings() == {"name": "speech", "path": None, "protocol": "40-frames"}
    (file,) = choose("a.csv", None, "40-frames", Columns(["y"], held_out=0.2))
    write_json(tmp_path / "a.json", file.settings())
    assert Data.of_settings(read_json(tmp_path / "a.json")) == file and set(SUFFIXES) <= set(FILES)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--data", "{file}", "--path", "x"], "leave --path out"),
        (["--data", "{file}", "--target", "speed"], "has no column speed: its columns are hour, load, strain"),
        (["--data", "{file}", "--held-out", "0.7"], "held_out 0.7 must be above 0 and below 0.5"),
        (["--data", "nowhere.csv"], "nowhere.csv is not there"),
        (["--data", "inverse-sine", "--target", "y"], "are for a file, not for inverse-sine"),
    ],
)
def test_mistakes_end_in_one_line(
    words: list[str], named: str, sines: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = [word.format(file=sines) for word in words]
    assert main(["density", "fit", *said, "--out", str(tmp_path / "out"), *SMALL]) == 2
    assert named in capsys.readouterr().err.splitlines()[-1]
