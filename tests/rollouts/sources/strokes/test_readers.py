"""What people have: each format read point by point, and each damaged file named with the place of the damage."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest

from frmdn.rollouts.sources.strokes.builtin import strokes
from frmdn.rollouts.sources.strokes.files import read_drawings
from frmdn.rollouts.sources.strokes.ink import read_iam, read_inkml
from frmdn.rollouts.sources.strokes.microjam import read_microjam
from frmdn.rollouts.sources.strokes.quickdraw import read_ndjson, read_sketches
from frmdn.rollouts.sources.strokes.svg import path_lines, svg_lines

IAM = """<?xml version="1.0" encoding="ISO-8859-1"?>
<WhiteboardCaptureSession><StrokeSet>
<Stroke colour="black" start_time="10.0" end_time="10.2">
<Point x="100" y="50" time="10.00"/><Point x="110" y="60" time="10.05"/></Stroke>
<Stroke colour="black" start_time="11.0" end_time="11.0"><Point x="120" y="70" time="11.00"/></Stroke>
</StrokeSet></WhiteboardCaptureSession>"""


def test_iam_with_the_text_of_its_line(tmp_path: Path) -> None:
    folder = tmp_path / "lineStrokes" / "a01" / "a01-000"
    folder.mkdir(parents=True)
    (folder / "a01-000u-02.xml").write_text(IAM)
    texts = tmp_path / "ascii" / "a01" / "a01-000"
    texts.mkdir(parents=True)
    (texts / "a01-000u.txt").write_text("OCR:\n\nA MOVE\nto stop\n\nCSR:\n\nA move\nto stop\n")
    found = read_iam(folder / "a01-000u-02.xml")
    assert found.text == "to stop"
    assert [line.tolist() for line in found.lines] == [[[0, -10], [10, 0]], [[20, 10]]]
    assert found.waits is not None
    np.testing.assert_allclose(found.waits[1:], [0.05, 0.95], atol=1e-6)
    (folder / "a01-000u-03.xml").write_text(IAM)
    with pytest.raises(ValueError, match=r"a01-000u\.txt has 2 lines behind CSR:, but a01-000u-03\.xml is line 3"):
        read_iam(folder / "a01-000u-03.xml")


def test_inkml_with_times_and_without(tmp_path: Path) -> None:
    plain, timed = tmp_path / "a.inkml", tmp_path / "b.inkml"
    plain.write_text("<ink xmlns='http://www.w3.org/2003/InkML'><annotation type='truth'>x+1</annotation>"
                     "<trace>0 0, 4 2</trace><trace> 8 2 </trace></ink>")  # fmt: skip
    timed.write_text("<ink><traceFormat><channel name='X'/><channel name='Y'/><channel name='T' units='s'/>"
                     "</traceFormat><trace>0 0 1.5,4 2 1.75</trace></ink>")  # fmt: skip
    found = read_inkml(plain)
    assert found.text == "x+1" and found.waits is None
    assert [line.tolist() for line in found.lines] == [[[0, -1], [4, 1]], [[8, 1]]]
    waits = read_inkml(timed).waits
    assert waits is not None and abs(waits[1] - 0.25) < 1e-6


def test_quick_draw(tmp_path: Path) -> None:
    path = tmp_path / "cat.ndjson"
    lines = [
        {"word": "cat", "key_id": "7", "recognized": True, "drawing": [[[0, 255], [128, 128]], [[3], [4]]]},
        {"word": "cat", "key_id": "8", "recognized": False, "drawing": [[[0], [0]]]},
        {"word": "cat", "key_id": "9", "recognized": True, "drawing": [[[0, 1], [0, 1], [0, 40]]]},
    ]
    path.write_text("\n".join(map(json.dumps, lines)))
    found = read_ndjson(path)
    assert list(found) == ["7", "9"]
    assert [line.tolist() for line in found["7"].lines] == [[[-128, 0], [127, 0]], [[-125, -124]]]
    waits = found["9"].waits
    assert waits is not None and abs(waits[1] - 0.04) < 1e-6


def test_sketches_keep_their_splits_and_run_nothing(tmp_path: Path) -> None:
    def pack(*drawings: list) -> np.ndarray:
        box = np.empty(len(drawings), object)
        box[:] = [np.array(each, np.int16) for each in drawings]
        return box

    path = tmp_path / "cat.npz"
    cat, dog = [[1, 2, 0], [3, 4, 1], [5, 6, 0]], [[7, 8, 1]]
    np.savez(path, train=pack(cat, dog), valid=pack(dog), test=pack(cat))
    found = read_sketches(path)
    assert [len(found[split]) for split in ("train", "validation", "test")] == [2, 1, 1]
    assert found["train"][0].pen.tolist() == [0, 1, 2]
    assert found["train"][0].offsets.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert strokes("drawings", path).about["drawings"] == {"train": 2, "validation": 1, "test": 1}

    class Evil:
        def __reduce__(self) -> tuple:
            return os.mkdir, (str(tmp_path / "owned"),)

    bad = np.empty(1, object)
    bad[0] = Evil()
    np.savez(tmp_path / "evil.npz", train=bad, valid=pack(dog), test=pack(cat))
    with pytest.raises(ValueError, match=r"evil\.npz, train: it holds .*mkdir"):
        read_sketches(tmp_path / "evil.npz")
    assert not (tmp_path / "owned").exists()


def test_microjam(tmp_path: Path) -> None:
    path = tmp_path / "jam.csv"
    path.write_text("time, x, y, z, moving\n0.1, 0.5, 0.5, 38, 0\n0.15, 0.6, 0.5, 38, 1\n0.9, 0.2, 0.75, 38, 0\n")
    found = read_microjam(path)
    assert found.pen.tolist() == [0, 1, 2]
    np.testing.assert_allclose(found.points, [[0, 0], [0.1, 0], [-0.3, 0.25]], atol=1e-6)
    assert found.waits is not None
    np.testing.assert_allclose(found.waits, [0.1, 0.05, 0.75], atol=1e-6)


def test_every_command_of_a_path() -> None:
    def ends(text: str) -> list[list[float]]:
        return [line[[0, -1]].round(6).ravel().tolist() for line in path_lines(text)]

    assert ends("M1 2L3-4") == [[1, 2, 3, -4]]
    assert ends("m1,2 3,4 h5v-6z l1 0") == [[1, 2, 1, 2], [1, 2, 2, 2]]
    assert ends("M0 0 H4 V3") == [[0, 0, 4, 3]]
    assert ends("M0,0c1,0 2,1 2,2s1,2 2,2") == [[0, 0, 4, 4]]
    assert ends("M0 0Q1 2 2 0T4 0t2 0") == [[0, 0, 6, 0]]
    assert ends("M.5.5l1e1-.5") == [[0.5, 0.5, 10.5, 0]]
    assert path_lines("M0 0Q1 2 2 0T4 0")[0][:, 1].min() < -0.9  # the mirrored control point lies below
    smooth = path_lines("M0 0C0 1 1 1 1 0S2-1 2 0")[0]
    np.testing.assert_allclose(smooth[:13] * [1, -1] + [1, 0], smooth[12:], atol=1e-9)  # and a half turn


def test_arcs_are_circles() -> None:
    for large, sweep, centre, length in (
        (0, 1, (0, 0), 0.5),
        (1, 1, (1, 1), 1.5),
        (0, 0, (1, 1), 0.5),
        (1, 0, (0, 0), 1.5),
    ):
        (arc,) = path_lines(f"M0 1A1 1 0 {large} {sweep} 1 0", steps=200)
        # SVG's y points down: from (0,1) to (1,0), a quarter or three of them
        np.testing.assert_allclose(np.hypot(*(arc - centre_of(arc, centre)).T), 1, atol=1e-9)
        assert abs(np.hypot(*np.diff(arc, axis=0).T).sum() - math.pi * length) < 1e-2
        np.testing.assert_allclose(arc[-1], [1, 0])


def centre_of(arc: np.ndarray, guess: tuple[float, float]) -> np.ndarray:
    """Of the two circles through both ends, the one whose points these are."""
    options = [np.array(each) for each in ((0.0, 0.0), (1.0, 1.0))]
    return min(options, key=lambda centre: float(np.abs(np.hypot(*(arc - centre).T) - 1).max()))


def test_shapes_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.svg"
    path.write_text("<svg xmlns='http://www.w3.org/2000/svg'><g><path d='M0 0L1 1'/><polygon points='0,0 2,0 2,2'/></g>"
                    "<line x1='1' y1='2' x2='3' y2='4'/><defs><path d='M9 9L8 8'/></defs></svg>")  # fmt: skip
    assert [len(line) for line in svg_lines(path)] == [2, 4, 2]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.xml", IAM[:-40], r"a\.xml is no whole IAM-OnDB's XML"),
        ("a.xml", IAM.replace('x="110"', 'x="?"'), r"a\.xml, stroke 1: a Point needs numbers"),
        ("a.xml", "<a/>", r"a\.xml has no Stroke with a Point"),
        ("a.inkml", "<ink><trace>0 0, 1</trace></ink>", r"a\.inkml, trace 1: a point needs 2 numbers"),
        ("a.inkml", "<ink><trace>0 0, '1 2</trace></ink>", r"a\.inkml, trace 1: points as differences"),
        ("a.inkml", "<ink><traceFormat><channel name='F'/></traceFormat></ink>", r"a\.inkml: .* must have X and Y"),
        ("a.ndjson", '{"drawing": [[[0], [0]]]}\n{"drawing": 3}', r"a\.ndjson, line 2 is no drawing"),
        ("a.ndjson", '{"drawing": [[[0], [0]]]', r"a\.ndjson, line 1 is no drawing"),
        ("a.npz", "PK no", r"a\.npz is no npz of SketchRNN"),
        ("a.csv", "time,x,y\n0,0,0\n", r"a\.csv has no column moving"),
        ("a.csv", "time,x,y,moving\n0,0,0,0\n1,zero,0,0\n", r"a\.csv, row 3, column x: 'zero' is no number"),
        ("a.csv", "time,x,y,moving\n1,0,0,0\n0,0,0,0\n", r"a\.csv, row 3: its time is before"),
        ("a.svg", "<svg><path d='M0 0L1'/></svg>", r"a\.svg: a path's L needs 2 numbers, but has 1"),
        ("a.svg", "<svg><path d='L0 0'/></svg>", r"a\.svg: a path begins with L"),
        ("a.svg", "<svg><path d='M0 0K1 1'/></svg>", r"a\.svg: a path has 'K1 1'"),
        ("a.svg", "<svg><g transform='scale(2)'><path d='M0 0L1 1'/></g></svg>", r"a\.svg: a `transform`"),
        ("a.svg", "<svg/>", r"a\.svg has no path"),
        ("a.txt", "", r"a\.txt ends with \.txt"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, name: str, content: str, says: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=says):
        read_drawings(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "says"), [("a.ndjson", r"a\.ndjson, line 1 is no drawing"), ("a.csv", r"a\.csv is no whole CSV")]
)
def test_bytes_that_are_no_text_are_named_with_their_file(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / name).write_bytes(b"\xff\xfe\x00time")
    with pytest.raises(ValueError, match=says):
        read_drawings(tmp_path / name)


def test_a_small_npz_does_not_unpack_beyond_all_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("frmdn.rollouts.sources.packed.MOST", 10**6)
    path = tmp_path / "a.npz"
    np.savez_compressed(path, train=np.zeros((9, 10**5, 3), np.int16), valid=np.zeros(1), test=np.zeros(1))
    with pytest.raises(ValueError, match=r"a\.npz is no npz of SketchRNN .*it unpacks to"):
        read_sketches(path)


def test_folders_and_what_is_not_there(tmp_path: Path) -> None:
    for i in range(3):
        (tmp_path / f"{i}.csv").write_text("time,x,y,moving\n0.1,0.5,0.5,0\n0.2,0.6,0.6,1\n")
    assert list(read_drawings(tmp_path)) == ["0.csv", "1.csv", "2.csv"]
    source = strokes("touch", tmp_path)
    assert source.outputs == 4 and strokes("drawings", tmp_path).outputs == 3
    with pytest.raises(ValueError, match="does not exist"):
        read_drawings(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="has no file that ends with"):
        read_drawings(tmp_path / "empty")
