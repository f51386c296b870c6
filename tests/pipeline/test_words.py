"""What people type, however long or odd: one line that says what is wrong, and no value that no file can hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from frmdn.agent.errors import first_line, shortened
from frmdn.pipeline import config, settings
from frmdn.pipeline.commands.main import main
from frmdn.pipeline.density.run import choose_settings
from frmdn.pipeline.statespace.settings import StateSpaceSettings
from frmdn.pipeline.weights import FORMAT, load_model, load_state
from frmdn.rollouts.latents import LatentStore


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("search.sigma=1" + "0" * 400, "search.sigma holds a number that is too large, of 401 digits"),
        ("search.sigma=" + "1" * 5000, "search.sigma must be of type float, not '1111"),
        ("search.sigma=NaN", "search.sigma must be a finite number, not nan"),
        ("search.sigma=1e400", "search.sigma must be a finite number, not inf"),
        ("search.population=" + "[" * 100_000, "search.population must be of type int, not '[[["),
        ("x" * 100_000 + "=1", "--set xxx"),
        ("x" * 100_000, "has no '='"),
        ("collect.policy=" + "y" * 100_000, "policy must be one of"),
    ],
)
def test_a_setting_that_cannot_be(word: str, says: str, plain: dict[str, Any]) -> None:
    with pytest.raises(ValueError) as caught:
        config.override(plain, [word])
    assert says in str(caught.value) and len(str(caught.value)) < 600


def test_other_settings_are_read_by_the_same_hand() -> None:
    for change in (choose_settings, lambda words: settings.override(StateSpaceSettings(), words)):
        with pytest.raises(ValueError) as caught:
            change(["z" * 50_000 + "=1"])
        assert len(str(caught.value)) < 600


def test_numbers_of_a_folder_that_no_float_can_hold(plain: dict[str, Any]) -> None:
    for value in (10**400, float("inf"), float("nan")):
        with pytest.raises(ValueError, match=r"search\.sigma"):
            config.from_json(plain | {"search": plain["search"] | {"sigma": value}})


@pytest.mark.parametrize("words", [["density" + "x" * 5000], ["statespace", "--out", "x", "\n", "\x1b[31m"], ["\n"]])
def test_words_of_any_kind_are_refused_in_one_line(
    words: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(words)
    told = capsys.readouterr().err
    last = told.rstrip("\n").split("\n")[-1]
    assert stop.value.code == 2 and last.startswith("frmdn") and ": error: " in last
    assert len(last) < 1200 and "\x1b" not in told


def test_an_error_as_long_as_a_file_is_cut_in_its_middle(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = tmp_path.joinpath(*(letter * 200 for letter in "vwxyz"))
    assert main(["status", "--run", str(folder)]) == 2
    told = capsys.readouterr().err
    assert told.startswith("frmdn: /") and len(told) < 1100
    assert shortened("abcdefghij", 10) == "abcdefghij"
    assert shortened("a" * 50 + "b" * 50, 30) == "a" * 17 + " … " + "b" * 10
    assert len(first_line(ValueError("x" * 5000))) == 300 and first_line(KeyError()) == "KeyError"


def test_no_error_quotes_a_whole_file(tmp_path: Path) -> None:
    """A damaged header stands in what safetensors says of it, and a version in what we say."""
    for name, read in (("a.safetensors", lambda path: load_state(path)), ("000000.safetensors", read_latents)):
        header = json.dumps({"mean": "x" * 5000}).encode()
        (tmp_path / name).write_bytes(len(header).to_bytes(8, "little") + header)
        with pytest.raises(ValueError, match=name) as caught:
            read(tmp_path / name)
        assert len(str(caught.value)) < 900
    net = torch.nn.Linear(2, 2)
    (tmp_path / "model.json").write_text(json.dumps({"format": FORMAT, "version": "x" * 5000}))
    with pytest.raises(ValueError, match="has version xxx") as caught:
        load_model(tmp_path, net)
    assert len(str(caught.value)) < 900


def read_latents(path: Path) -> Any:
    return LatentStore(path.parent).read(0)
