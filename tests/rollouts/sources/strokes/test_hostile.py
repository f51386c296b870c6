"""Drawings from anybody: what a fuzzer found, each in one line that names the file."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from frmdn.rollouts.sources.strokes.files import read_drawings
from frmdn.rollouts.sources.strokes.svg import svg_lines


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.svg", "<svg><path d='M0 0L1e308 1e308l1e308 0'/></svg>", "offsets hold NaN or infinity"),
        ("a.inkml", "<ink><trace>0 0,nan 2</trace></ink>", "offsets hold NaN or infinity"),
        (
            "a.xml",
            "<a><Stroke><Point x='0' y='0' time='nan'/><Point x='0' y='0' time='1'/></Stroke></a>",
            "waits must be above 0 seconds",
        ),
        ("a.xml", "<?xml version='1.0' encoding='ISO1000000000-1'?><a/>", "unknown encoding"),
        ("a.ndjson", '{"drawing": [[[1' + "0" * 400 + "], [0]]]}", "too large"),
        ("a.ndjson", '{"drawing": ' + "[" * 100_000, "recursion"),
    ],
)
def test_one_line_names_the_file(name: str, content: str, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=says) as caught:
        read_drawings(tmp_path)
    assert str(tmp_path / name) in str(caught.value) and len(str(caught.value)) < 600


def test_groups_within_groups(tmp_path: Path) -> None:
    path = tmp_path / "a.svg"
    path.write_text("<svg>" + "<g>" * 20_000 + "<path d='M0 0L1 1'/>" + "</g>" * 20_000 + "<path d='M2 2L3 3'/></svg>")
    assert [line.tolist() for line in svg_lines(path)] == [[[0, 0], [1, 1]], [[2, 2], [3, 3]]]


class Words:
    """Pickled, it calls one of the words that an array may be pickled with, in another way than NumPy."""

    def __init__(self, word: object, *arguments: object) -> None:
        self.word, self.arguments = word, arguments

    def __reduce__(self) -> tuple:
        return self.word, self.arguments


@pytest.mark.parametrize(
    ("word", "says"),
    [
        (Words(np.ndarray, (1 << 40,), "i1"), "__new__|out of nothing"),
        (Words(np.empty(0).__reduce__()[0], np.ndarray, (1 << 40,), b"b"), "it begins an array"),
        (Words(__import__("_codecs").encode, "x", "rot13"), "it holds text in 'rot13'"),
        ({"a": 1}, r"drawing 1 is \[\]|no array of numbers"),
    ],
)
def test_an_array_made_of_nothing(word: object, says: str, tmp_path: Path) -> None:
    """The words of a pickled array could ask for any memory."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "|O", "fortran_order": False, "shape": (1,)})
    stream.write(pickle.dumps([word], protocol=2))
    path = tmp_path / "cat.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("train", "valid", "test"):
            archive.writestr(f"{name}.npy", stream.getvalue())
    with pytest.raises(ValueError, match=says) as caught:
        read_drawings(path)
    assert str(path) in str(caught.value)


def test_a_packing_that_is_damaged(tmp_path: Path) -> None:
    box = np.empty(1, object)
    box[0] = np.ones((2000, 3), np.int16)
    path = tmp_path / "cat.npz"
    for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA):
        stream = io.BytesIO()
        np.save(stream, box, allow_pickle=True)
        with zipfile.ZipFile(path, "w", method) as archive:
            for name in ("train", "valid", "test"):
                archive.writestr(f"{name}.npy", stream.getvalue())
        data = bytearray(path.read_bytes())
        data[50:70] = bytes(20)
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"cat\.npz is no npz of SketchRNN"):
            read_drawings(path)
