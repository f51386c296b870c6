"""Files are whole or absent, whatever interrupts their writing."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from frmdn.pipeline.files import History, read_json, write_bytes, write_json


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a" / "x.json"
    write_json(path, {"n": 1})

    def power_cut(handle: int) -> None:
        raise OSError("power cut")

    monkeypatch.setattr("os.fsync", power_cut)
    with pytest.raises(OSError, match="power cut"):
        write_json(path, {"n": 2})
    assert read_json(path) == {"n": 1}


def test_nothing_stays_beside_a_written_file(tmp_path: Path) -> None:
    write_bytes(tmp_path / "x", b"data")
    assert [path.name for path in tmp_path.iterdir()] == ["x"] and (tmp_path / "x").read_bytes() == b"data"


def test_nan_is_no_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        write_json(tmp_path / "x.json", {"loss": math.nan})
    assert not (tmp_path / "x.json").exists()


@pytest.mark.parametrize("text", ["{", "", "[1]", "\xff"])
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"x\.json .*: delete it"):
        read_json(path)


def test_a_history_is_cut_back_to_a_checkpoint(tmp_path: Path) -> None:
    history = History(tmp_path / "history.jsonl", "step")
    for step in (2, 4, 6):
        history.append({"step": step, "loss": step / 2})
    with history.path.open("a") as file:
        file.write('{"step": 8, "lo')  # killed in the middle of a line
    assert [line["step"] for line in history.read()] == [2, 4, 6]
    assert history.cut(4) == [{"step": 2, "loss": 1.0}, {"step": 4, "loss": 2.0}]
    history.append({"step": 6, "loss": 9.0})
    assert [line["loss"] for line in history.read()] == [1.0, 2.0, 9.0]


def test_the_history_of_a_new_stage_is_empty(tmp_path: Path) -> None:
    history = History(tmp_path / "new" / "history.jsonl", "step")
    assert history.read() == [] and history.cut(0) == []
