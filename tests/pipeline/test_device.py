"""`--device`: refused in one line before anything is made, and named in what is left."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from frmdn.pipeline.commands.main import main, parser
from frmdn.pipeline.files import read_json
from frmdn.pipeline.session import Machine
from frmdn.pipeline.stages.table import STAGES

NO_GPU = pytest.mark.skipif(torch.cuda.is_available() or torch.backends.mps.is_available(), reason="there is a GPU")
COMMANDS = [
    ["run", "--out", "new"],
    ["density", "fit", "--data", "inverse-sine", "--out", "new"],
    ["density", "compare", "--data", "inverse-sine", "--out", "new"],
    ["statespace", "--out", "new"],
    ["vision", "--run", "new"],
    ["evaluate", "--run", "new"],
]


@NO_GPU
@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words[:2]))
@pytest.mark.parametrize("device", ["cuda", "cuda:1", "mps", "gpu"])
def test_a_device_that_is_not_there_is_one_line_and_no_folder(
    words: list[str], device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*words, "--device", device]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1 and said[0].startswith("frmdn: device ") and device in said[0]
    assert not list(tmp_path.iterdir())


def test_every_command_that_computes_takes_a_device_and_chooses_by_itself() -> None:
    top = parser()
    asked = [*COMMANDS, ["dream", "--run", "r"], ["dream", "report", "--run", "r"], ["play", "--run", "r"]]
    asked += [[stage.name, "--run", "r"] for stage in STAGES]
    asked += [["density", "sample", "--run", "r", "--out", "o"]]
    for words in asked:
        assert top.parse_args(words).device == "auto", words
        assert top.parse_args([*words, "--device", "cuda:1"]).device == "cuda:1", words


def test_a_run_says_what_computed(finished: Path) -> None:
    for stage in STAGES:
        assert read_json(finished / stage.folder / "done.json")["device"] == str(Machine(0, on="auto").device)
    assert read_json(finished / "evaluation.json")["device"] == "cpu"


def test_workers_of_a_cluster_and_several_of_one_machine_act_on_their_processors() -> None:
    assert Machine(1, on="cpu").acting == "cpu"
    for there in (Machine(1, address="auto", on="cuda"), Machine(2, on="cuda")):
        assert there.acting == "cpu"  # and nobody has looked for a GPU here
    with pytest.raises(ValueError, match="device cuda"):
        _ = Machine(1, on="cuda:99").acting  # one worker has the GPU to itself
    with pytest.raises(ValueError, match="device must be auto, cpu"):
        _ = Machine(0, on="nonsense").device
