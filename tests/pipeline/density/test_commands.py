"""`frmdn density` from the command line: results, resuming, samples, and one line for each mistake."""

from __future__ import annotations

import json
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

from frmdn.pipeline.commands.main import main
from frmdn.pipeline.density import run as run_module
from frmdn.pipeline.density.names import COMPARED, DATA, MODELS, SLIDES
from frmdn.pipeline.files import read_json, write_json
from frmdn.pipeline.settings import FORMAT
from frmdn.rollouts.sources import Source

SMALL = ["--components", "2", "--hidden", "4"]


def png_size(path: Path) -> tuple[int, int]:
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


def failure(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["density", *words]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.splitlines()[-1].startswith("frmdn: ")
    return captured.err.splitlines()[-1]


def test_compare_leaves_results_and_pictures_and_grows(
    toy: Source, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "frmdn.pipeline.density.study.slides_recipe", lambda epoch: run_module.Recipe(None, 4, checks=2)
    )
    words = ["density", "compare", "--data", "inverse-sine", "--steps", "4", "--out", str(tmp_path), "--json", *SMALL]
    assert main([*words, "--models", "rmdn", "mdn", "--seeds", "2"]) == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert record["data"] == "inverse-sine" and list(record["models"]) == ["mdn", "rmdn"]
    model = record["models"]["mdn"]
    assert {"nll_per_dim", "mean", "std", "parameters", "seconds"} <= set(model) and model["parameters"] == 510
    assert len(model["nll_per_dim"]) == 2 and record["floor"] == toy.floor
    for name in ("learning.png", "samples.png"):
        assert min(png_size(tmp_path / "inverse-sine" / name)) > 300
    with monkeypatch.context() as patch:
        patch.setattr(run_module, "fit", None)  # what is done is not trained again
        assert main([*words, "--models", "rmdn", "mdn", "--seeds", "1"]) == 0
    assert json.loads(capsys.readouterr().out) == [record]
    assert main([*words, "--models", "factorized", "--seeds", "1"]) == 0
    (grown,) = json.loads((tmp_path / "density.json").read_text())
    assert list(grown["models"]) == ["mdn", "factorized", "rmdn"]
    assert grown["models"]["rmdn"] == {**record["models"]["rmdn"], "gap_closed": 0}


def test_latents_give_two_objects(latent_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["density", "compare", "--data", "latents", "--path", str(latent_folder), "--steps", "2", "--seeds", "1"]
    assert main([*words, "--models", "rmdn", "--out", str(tmp_path / "out"), "--json", *SMALL]) == 0
    records = json.loads(capsys.readouterr().out)
    assert [record["data"] for record in records] == ["latents-sampled", "latents-mean"]
    assert records[0]["floor"] == pytest.approx(0.5 * (np.log(2 * np.pi * np.e) - 2)) and "floor" not in records[1]
    assert str(tmp_path) not in (tmp_path / "out" / "density.json").read_text()


def test_other_settings_in_the_same_folder_are_refused(
    toy: Source, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["density", "compare", "--data", "inverse-sine", "--models", "rmdn", "--seeds", "1", *SMALL]
    assert main([*words, "--out", str(tmp_path), "--steps", "2"]) == 0
    capsys.readouterr()
    line = failure(capsys, *words[1:], "--out", str(tmp_path), "--steps", "3")
    assert "recipe.steps: 2 there, 3 asked for" in line and "rmdn/seed-0" in line


def test_set_and_the_options_are_one_way(tmp_path: Path) -> None:
    words = ["density", "fit", "--data", "inverse-sine", "--out", str(tmp_path), "--steps", "2", *SMALL]
    assert main([*words, "--set", "recipe.clip=none", "--set", "recipe.checks=1"]) == 0
    stored = read_json(tmp_path / "run.json")
    assert (stored["format"], stored["model"]["hidden"], stored["recipe"]["budget"]) == (FORMAT, 4, None)
    assert (stored["recipe"]["steps"], stored["recipe"]["clip"], stored["recipe"]["checks"]) == (2, None, 1)


def test_a_run_of_another_version_is_refused_with_a_remedy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["fit", "--data", "inverse-sine", "--out", str(tmp_path), "--steps", "2", *SMALL]
    assert main(["density", *words]) == 0
    write_json(tmp_path / "run.json", {**read_json(tmp_path / "run.json"), "format": 1})
    capsys.readouterr()
    for command in (words, ["sample", "--run", str(tmp_path), "--out", "x.png"]):
        line = failure(capsys, *command)
        assert "its format is 1" in line and "make it anew with frmdn density fit --out NEW" in line


def test_fit_and_hear(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from frmdn.rollouts.sources.synthesis import synthetic_speech

    monkeypatch.setattr("frmdn.rollouts.sources.speech.synthetic_speech", lambda: synthetic_speech(4, 0.6))
    run, voice = str(tmp_path / "run"), tmp_path / "out" / "voice.wav"
    words = ["density", "fit", "--data", "speech", "--model", "frmdn-diagonal", "--steps", "2", "--out", run, "--json"]
    assert main([*words, *SMALL]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["data"] == "speech" and {"nll_per_dim", "bits_per_sample", "parameters"} <= set(report)
    assert main(["density", "sample", "--run", run, "--out", str(voice), "--seconds", "0.5"]) == 0
    with wave.open(str(voice)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
        sound = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    assert len(sound) == 8000 and sound.std() > 0
    assert "must end with .wav" in failure(capsys, "sample", "--run", run, "--out", "x.png")


def test_fit_and_see_pictures(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    run = str(tmp_path / "run")
    assert main(["density", "fit", "--data", "images", "--steps", "1", "--out", run, *SMALL]) == 0
    assert main(["density", "sample", "--run", run, "--out", str(tmp_path / "a.png"), "--count", "3"]) == 0
    assert main(["density", "sample", "--run", run, "--out", str(tmp_path / "b.png"), "--count", "3"]) == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()  # the seed decides
    assert min(png_size(tmp_path / "a.png")) > 100


def test_sampling_the_toy_shows_its_density(toy: Source, tmp_path: Path) -> None:
    run = str(tmp_path / "run")
    assert main(["density", "fit", "--data", "inverse-sine", "--steps", "1", "--out", run, *SMALL]) == 0
    assert main(["density", "sample", "--run", run, "--out", str(tmp_path / "a.png")]) == 0
    assert min(png_size(tmp_path / "a.png")) > 300


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["compare", "--data", "latents"], "--path"),
        (["compare", "--data", "latents", "--path", "nowhere"], "nowhere"),
        (["compare", "--data", "speech", "--path", "nowhere"], "nowhere"),
        (["compare", "--data", "images", "--path", "nowhere"], "nowhere"),
        (["compare", "--data", "inverse-sine", "--path", "x"], "leave --path out"),
        (["fit", "--data", "images", "--model", "mdn"], "inverse-sine only"),
        (["fit", "--data", "images", "--budget", "0"], "recipe: budget must be a positive number, not 0"),
        (["fit", "--data", "images", "--hidden", "many"], "model.hidden must be of type int, not 'many'"),
        (["compare", "--data", "images", "--set", "recipe.clib=1"], "did you mean recipe.clip"),
        (["compare", "--data", "images", "--set", "model.components=0"], "model: components must be at least 1"),
        (["fit", "--data", "images", "--steps", "5", "--set", "recipe.budget=5"], "give budget or steps"),
    ],
)
def test_mistakes_end_in_one_line(
    words: list[str], named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert named in failure(capsys, *words, "--out", str(tmp_path / "out"))


@pytest.mark.parametrize(
    "words",
    [
        ["compare", "--data", "poems"],
        ["compare", "--data", "speech", "--models", "gan"],
        ["compare", "--data", "speech", "--budget", "5", "--steps", "5"],
        ["fit", "--data", "latents"],
        [],
    ],
)
def test_a_wrong_command_line_exits_with_2(words: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["density", *words, *(["--out", "x"] if words else [])])
    assert stop.value.code == 2


def test_help_names_all_data_and_models_and_loads_nothing_heavy() -> None:
    program = (
        "import sys\nfrom frmdn.pipeline.commands.main import main\n"
        "try: main(['density', 'compare', '--help'])\n"
        "finally: assert not {'torch', 'numpy', 'matplotlib', 'rich'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for word in (*COMPARED, *SLIDES, "rmdn", "factorized", "examples:"):
        assert word in done.stdout


def test_the_words_are_those_of_the_catalogue() -> None:
    from frmdn.agent.density.catalogue import MODELS as CATALOGUE

    assert tuple(CATALOGUE) == MODELS and set(COMPARED) < set(DATA)
