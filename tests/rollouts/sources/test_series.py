"""Series out of anybody's files: the same numbers from every format, honest splits, and a place for every mistake."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from frmdn.envs.errors import MissingExtra
from frmdn.rollouts.sources import SegmentBatches, whole_batches
from frmdn.rollouts.sources.series import WARM, series
from frmdn.rollouts.sources.tables import Choice, read_table

NAMES = ["hour", "load", "strain"]


def numbers(rows: int = 400) -> np.ndarray:
    """f64[rows,3] in very different units."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(rows, 2))
    return np.stack([np.arange(rows) % 24, 1e5 + 2e4 * noise[:, 0], 1e-5 * noise[:, 1]], 1)


def write_csv(path: Path, values: np.ndarray, delimiter: str = ",", header: bool = True) -> Path:
    lines = [delimiter.join(NAMES)] if header else []
    lines += [delimiter.join(repr(float(v)) for v in row) for row in values]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8-sig")
    return path


def write(path: Path, values: np.ndarray) -> Path:
    if path.suffix == ".csv":
        return write_csv(path, values)
    if path.suffix == ".npy":
        np.save(path, values)
    elif path.suffix == ".npz":
        np.savez(path, only=values)
    else:
        pyarrow = pytest.importorskip("pyarrow", reason="pip install 'frmdn[parquet]'")
        from pyarrow import parquet

        parquet.write_table(pyarrow.table(dict(zip(NAMES, values.T, strict=True))), path)
    return path


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".csv", ".parquet"])
def test_every_format_gives_the_same_numbers(suffix: str, tmp_path: Path) -> None:
    path, values = write(tmp_path / f"a{suffix}", numbers()), numbers()
    named = suffix in (".csv", ".parquet")
    target, context = (["strain", "load"], ["hour"]) if named else (["2", "1"], ["0"])
    table = read_table(path, Choice(target, context))
    (found,) = table.sequences.values()
    assert (table.target, table.context) == (target, context)
    np.testing.assert_array_equal(found, values[:, [2, 1, 0]])
    everything = read_table(path, Choice())
    assert everything.target == (NAMES if named else ["0", "1", "2"]) and not everything.context


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("header", [True, False])
def test_csv_of_any_separator_with_and_without_a_header(delimiter: str, header: bool, tmp_path: Path) -> None:
    table = read_table(write_csv(tmp_path / "a.csv", numbers(), delimiter, header), Choice())
    assert table.target == (NAMES if header else ["0", "1", "2"])
    np.testing.assert_array_equal(table.sequences[""], numbers())


def test_many_sequences_of_any_length(tmp_path: Path) -> None:
    parts = [numbers(n) for n in (5, 9, 2)]
    stacked, lengths = np.concatenate(parts), np.asarray([5, 9, 2])
    pad = np.zeros((3, 9, 3))
    for i, part in enumerate(parts):
        pad[i, : len(part)] = part
    np.savez(tmp_path / "each.npz", a=parts[0], b=parts[1], c=parts[2])
    np.savez(tmp_path / "flat.npz", y=stacked, lengths=lengths)
    np.savez(tmp_path / "padded.npz", y=pad, lengths=lengths)
    keys = np.repeat(["a", "b", "c"], lengths)
    order = np.argsort(np.concatenate([np.arange(n) for n in lengths]), kind="stable")  # rows of all mixed
    lines = ["who,hour,load,strain"] + [f"{keys[i]},{','.join(map(repr, stacked[i].tolist()))}" for i in order]
    (tmp_path / "named.csv").write_text("\n".join(lines))
    for name in ("each.npz", "flat.npz", "padded.npz", "named.csv"):
        table = read_table(tmp_path / name, Choice(sequence="who" if name == "named.csv" else None))
        assert len(table.sequences) == 3
        for found, part in zip(table.sequences.values(), parts, strict=True):
            np.testing.assert_array_equal(found, part)
    np.save(tmp_path / "cube.npy", np.stack([numbers(7)] * 4))
    assert len(read_table(tmp_path / "cube.npy", Choice()).sequences) == 4


def test_figures_are_in_the_units_of_the_file(tmp_path: Path) -> None:
    """The right density of standardised numbers, with the Jacobian, is the right one of the file's."""
    source = series(write(tmp_path / "a.csv", numbers(4000)), Choice(context=["hour"]))
    (batch,) = whole_batches(source, "test", 0)
    assert (source.inputs, source.outputs) == (3, 2) and batch.context.shape[-1] == 3
    log_prob = -0.5 * (batch.target.square() + math.log(2 * math.pi)).sum(-1) + batch.log_jacobian
    entropy = math.log(2 * math.pi * math.e) + math.log(2e4) + math.log(1e-5)
    assert -log_prob[batch.mask].mean().item() == pytest.approx(entropy, abs=0.1)
    native = source.scale.native(batch.target)[batch.mask.numpy()]
    np.testing.assert_allclose(native, numbers(4000)[-400:, 1:], rtol=1e-4, atol=1e-9)


def test_the_context_is_the_row_before_and_what_is_known_of_this_one(tmp_path: Path) -> None:
    source = series(write(tmp_path / "a.csv", numbers()), Choice(context=["hour"]))
    batch = SegmentBatches(source, 0)(3)
    hours = batch.context[..., 2] * source.scale.std[2] + source.scale.mean[2]
    for b in range(len(batch.target)):
        rows = int(batch.mask[b].sum())
        torch.testing.assert_close(batch.context[b, 1:rows, :2], batch.target[b, : rows - 1])
        assert ((hours[b, 1:rows] - hours[b, : rows - 1]).round() % 24 == 1).all()


def test_one_series_is_held_out_by_time_and_the_past_is_known(tmp_path: Path) -> None:
    source = series(write(tmp_path / "a.csv", numbers()), held_out=0.2)
    assert source.about["held out by"] == "time"
    assert source.about["rows"] == {"train": 240, "validation": 80, "test": 80}
    (batch,) = whole_batches(source, "test", 0)
    assert batch.mask.sum() == 80 and not batch.mask[0, :WARM].any() and batch.mask[0, WARM:].all()
    found = source.scale.native(batch.target)[0, WARM:, 1:]
    np.testing.assert_allclose(found, numbers()[320:, 1:], rtol=1e-4, atol=1e-9)


def test_many_sequences_are_held_out_whole(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **{f"s{i}": numbers(20 + i) + 1e3 * i for i in range(20)})
    source = series(tmp_path / "a.npz")
    assert source.about["held out by"] == "sequence"
    assert {name: len(split.lengths) for name, split in source.splits.items()} == {
        "train": 16,
        "validation": 2,
        "test": 2,
    }
    few = series(tmp_path / "a.npz", held_out=0.04)
    assert few.about["held out by"] == "time" and all(len(split.lengths) == 20 for split in few.splits.values())


def test_a_missing_number_is_refused_or_skipped(tmp_path: Path) -> None:
    values = numbers()
    values[[7, 8, 390], [1, 1, 2]] = np.nan
    path = write(tmp_path / "a.csv", values)
    with pytest.raises(ValueError, match=r"a.csv, column load, row 8: a number is missing.*--missing skip"):
        series(path)
    source = series(path, skip=True)
    assert sum(source.about["rows"].values()) == 397
    for split in ("train", "test"):
        for batch in whole_batches(source, split, 0):
            assert torch.isfinite(batch.context).all() and torch.isfinite(batch.target).all()
    (train,) = whole_batches(source, "train", 0)
    assert not train.mask[0, 7:9].any() and train.mask[0, 9]
    torch.testing.assert_close(train.context[0, 9, 1], train.context[0, 7, 1])  # the last that was known


def test_a_split_without_a_whole_row_is_named_and_a_gap_as_long_as_a_batch_is_learnt_from(tmp_path: Path) -> None:
    from frmdn.pipeline.density.model import config_for, new_model

    values = numbers()
    values[-40:] = np.nan
    with pytest.raises(ValueError, match=r"a.csv: no row for test is whole"):
        series(write(tmp_path / "a.csv", values), skip=True)
    values = numbers()
    values[10:310] = np.nan
    source = series(write(tmp_path / "a.csv", values), skip=True)
    source = replace(source, batch=1, length=50)
    model = new_model(config_for("rmdn", source, 2, 8), 0)
    batches = [SegmentBatches(source, 0)(step) for step in range(6)]
    assert not all(bool(batch.mask.any()) for batch in batches)
    assert all(bool(torch.isfinite(model.loss(batch).total)) for batch in batches)


def _text(text: str) -> Any:
    return lambda path: path.write_text(text)


WRONG: dict[str, tuple[str, Any, Choice, str]] = {
    "text": ("a.csv", _text("t,y\n1,2\n3,high\n"), Choice(), r"a.csv, column y, row 2: 'high' is no number"),
    "comma": ("a.csv", _text("t;y\n1;2\n3;4,5\n"), Choice(), "row 2: '4,5' is no number: write decimals with a point"),
    "infinite": ("a.csv", _text("y\n1\ninf\n"), Choice(), "column y, row 2: 'inf'"),
    "ragged": ("a.csv", _text("t,y\n1,2\n\n3\n"), Choice(), r"a.csv, row 2 \(line 4\) has 1 cells"),
    "no column": ("a.csv", _text("t,y\n1,2\n"), Choice(["z"]), "has no column z: its columns are t, y"),
    "two parts": ("a.csv", _text("t,y\n1,2\n"), Choice(["y"], ["y"]), "column y: it can be target, context"),
    "none left": ("a.csv", _text("y\n1\n"), Choice([], ["y"]), "no column left"),
    "twice": ("a.csv", _text("y,y\n1,2\n"), Choice(), "column 'y' 2 times"),
    "empty": ("a.csv", _text(""), Choice(), "a.csv has no rows"),
    "header only": ("a.csv", _text("t,y\n"), Choice(), "a.csv has no rows"),
    "who": ("a.csv", _text("who,y\na,2\n,3\n"), Choice(sequence="who"), "column who, row 2: empty"),
    "binary": ("a.csv", lambda p: p.write_bytes(b"\xff\xfe\x00x"), Choice(), "a.csv is no text of columns"),
    "constant": ("a.csv", _text("t,y\n" + "".join(f"{i},5\n" for i in range(50))), Choice(), "column y: 5 in every"),
    "short": ("a.csv", _text("y\n1\n2\n"), Choice(), "has 2 rows: give at least"),
    "broken npz": ("a.npz", lambda p: p.write_bytes(b"PK nothing"), Choice(), "a.npz is no whole .npz file"),
    "broken npy": ("a.npy", lambda p: p.write_bytes(b""), Choice(), "a.npy is no whole .npy file"),
    "objects": ("a.npy", lambda p: np.save(p, np.array([{}], object), True), Choice(), "a.npy is no whole .npy"),
    "words": ("a.npy", lambda p: np.save(p, np.array(["a", "b"])), Choice(), "a.npy holds <U1, not numbers"),
    "axes": ("a.npy", lambda p: np.save(p, np.zeros((2, 2, 2, 2))), Choice(), r"\[2, 2, 2, 2\], but must be"),
    "array nan": ("a.npy", lambda p: np.save(p, [[1.0, 2], [3, np.nan]]), Choice(), "column 1, row 2: a number is"),
    "array inf": ("a.npy", lambda p: np.save(p, [[1.0, 2], [3, np.inf]]), Choice(), "column 1, row 2: infinity"),
    "lengths": (
        "a.npz",
        lambda p: np.savez(p, y=np.zeros((9, 2)), lengths=np.array([4, 4])),
        Choice(),
        r"array y is \[9, 2\], which 2 lengths of 8 rows do not fit",
    ),
    "widths": ("a.npz", lambda p: np.savez(p, a=np.zeros((9, 2)), b=np.zeros((9, 3))), Choice(), "different numbers"),
    "sequence": ("a.npy", lambda p: np.save(p, np.zeros((9, 2))), Choice(sequence="0"), "--sequence is for csv"),
    "parquet": ("a.parquet", lambda p: p.write_bytes(b"PAR1"), Choice(), "a.parquet is no whole parquet file"),
    "missing": ("a.csv", lambda p: None, Choice(), "a.csv is not there"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_file_is_named_with_its_column_and_row(wrong: str, tmp_path: Path) -> None:
    if wrong == "parquet":
        pytest.importorskip("pyarrow", reason="pip install 'frmdn[parquet]'")
    name, make, choice, named = WRONG[wrong]
    make(tmp_path / name)
    with pytest.raises(ValueError, match=named):
        series(tmp_path / name, choice)


def test_a_parquet_column_of_words_and_gaps(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="pip install 'frmdn[parquet]'")
    from pyarrow import parquet

    table = pyarrow.table({"who": ["a", "a", "b"], "y": [1, None, 3], "note": ["x", "y", "z"]})
    parquet.write_table(table, tmp_path / "a.parquet")
    found = read_table(tmp_path / "a.parquet", Choice(["y"], sequence="who"))
    assert list(found.sequences) == ["a", "b"] and "sequence a, column y, row 2" in str(found.gap())
    with pytest.raises(ValueError, match="column note, row 1: 'x' is no number"):
        read_table(tmp_path / "a.parquet", Choice(["note"]))


def test_parquet_without_its_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"pip install 'frmdn\[parquet\]'"):
        read_table(tmp_path / "a.parquet", Choice())
