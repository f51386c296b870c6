"""What people have to model: tables and arrays, pictures, sound, drawings."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np

from frmdn.rollouts.sources.audio import read_audio
from frmdn.rollouts.sources.pictures import read_pictures
from frmdn.rollouts.sources.sequences import TRAIN
from frmdn.rollouts.sources.series import series
from frmdn.rollouts.sources.strokes.files import read_drawings
from frmdn.rollouts.sources.tables import Choice

from .mutator import WAYS_OUT
from .subject import Subject


def _rows() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(40, 3))


# Tables


def _table(name: str, choice: Choice | None = None, skip: bool = False) -> Any:
    def read(folder: Path) -> Any:
        source = series(folder / name, choice, skip=skip)
        split = source.splits[TRAIN]
        return source.scale, [split.rows(i, 0, split.lengths[i]) for i in range(min(3, len(split.lengths)))]

    return read


def _make_npy(folder: Path) -> None:
    np.save(folder / "a.npy", _rows())


def _make_npz(folder: Path) -> None:
    np.savez(folder / "a.npz", rows=_rows(), lengths=np.array([10, 20, 10]))


def _make_csv(folder: Path) -> None:
    rows = "\n".join(f"{'ab'[i % 2]},{a:.4f},{b:.4f},{c:.4f}" for i, (a, b, c) in enumerate(_rows()))
    (folder / "a.csv").write_text(f"who,load,price,hour\n{rows}\n")


def _make_parquet(folder: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    columns = dict(zip(("load", "price", "hour"), _rows().T, strict=True))
    parquet.write_table(pyarrow.table({**columns, "who": ["a", "b"] * 20}), folder / "a.parquet")


# Pictures and sound


def _idx() -> bytes:
    pictures = np.random.default_rng(0).integers(0, 256, (12, 6, 5), dtype=np.uint8)
    return b"".join(n.to_bytes(4, "big") for n in (0x803, 12, 6, 5)) + pictures.tobytes()


def _make_idx(folder: Path) -> None:
    (folder / "train-images-idx3-ubyte").write_bytes(_idx())


def _make_idx_gz(folder: Path) -> None:
    (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(_idx()))


def _make_cifar(folder: Path) -> None:
    rows = np.random.default_rng(0).integers(0, 10, (3, 3073), dtype=np.uint8)
    (folder / "data_batch_1.bin").write_bytes(rows.tobytes())


def _sound(ending: str) -> Any:
    def make(folder: Path) -> None:
        import soundfile

        wave = (np.sin(np.arange(3000) / 9) * 8000).astype(np.int16)
        path = folder / f"a.{ending}"
        if ending == "sph":
            soundfile.write(path, wave, 16_000, format="NIST", subtype="PCM_16")
        else:
            soundfile.write(
                path, wave if ending != "wav" else np.stack([wave, wave], 1), 16_000 if ending == "mp3" else 22_050
            )

    return make


def _hear(ending: str) -> Any:
    return lambda folder: read_audio(folder / f"a.{ending}")


# Drawings

_IAM = """<?xml version="1.0" encoding="ISO-8859-1"?>
<WhiteboardCaptureSession><StrokeSet>
<Stroke colour="black" start_time="10.0" end_time="10.2">
<Point x="100" y="50" time="10.00"/><Point x="110" y="60" time="10.05"/></Stroke>
<Stroke colour="black" start_time="11.0" end_time="11.0"><Point x="120" y="70" time="11.00"/></Stroke>
</StrokeSet></WhiteboardCaptureSession>"""
_INKML = """<ink xmlns="http://www.w3.org/2003/InkML"><annotation type="truth">x+1</annotation><traceFormat>
<channel name="X"/><channel name="Y"/><channel name="T" units="s"/></traceFormat>
<trace>0 0 1.5,4 2 1.75</trace><trace> 8 2 2.5 </trace></ink>"""
_SVG = """<svg xmlns="http://www.w3.org/2000/svg"><g>
<path d="M0,0c1,0 2,1 2,2s1,2 2,2Q1 2 2 0T4 0A1 2 30 0 1 1 0h4v3z l1 0"/>
<polygon points="0,0 2,0 2,2"/></g><line x1="1" y1="2" x2="3" y2="4"/><defs><path d="M9 9L8 8"/></defs></svg>"""
_QUICK = [
    {"word": "cat", "key_id": "7", "recognized": True, "drawing": [[[0, 255], [128, 128]], [[3], [4]]]},
    {"word": "cat", "key_id": "9", "recognized": True, "drawing": [[[0, 1], [0, 1], [0, 40]]]},
]
_JAM = "time, x, y, z, moving\n0.1, 0.5, 0.5, 38, 0\n0.15, 0.6, 0.5, 38, 1\n0.9, 0.2, 0.75, 38, 0\n"


def _drawn(name: str, content: str) -> Any:
    return lambda folder: (folder / name).write_text(content) and None


def _make_sketches(folder: Path) -> None:
    def pack(*drawings: list[list[int]]) -> np.ndarray:
        box = np.empty(len(drawings), object)
        box[:] = [np.array(each, np.int16) for each in drawings]
        return box

    cat, dog = [[1, 2, 0], [3, 4, 1], [5, 6, 0]], [[7, 8, 1]]
    np.savez(folder / "cat.npz", train=pack(cat, dog), valid=pack(dog), test=pack(cat))


def _draw(folder: Path) -> Any:
    return read_drawings(folder)


SERIES = (
    Subject("npy", _make_npy, _table("a.npy")),
    Subject("npz", _make_npz, _table("a.npz", skip=True)),
    Subject("csv", _make_csv, _table("a.csv", Choice(["load", "price"], ["hour"], "who"), skip=True)),
    Subject("csv, all columns", _make_csv, _table("a.csv", Choice(sequence="who"))),
    Subject("parquet", _make_parquet, _table("a.parquet", Choice(["load"], ["hour"], "who"), skip=True)),
    Subject("IDX", _make_idx, read_pictures),
    Subject("IDX in gzip", _make_idx_gz, read_pictures),
    Subject("CIFAR", _make_cifar, read_pictures),
    *(
        Subject(f"sound, {ending}", _sound(ending), _hear(ending), share=0.2 if ending == "mp3" else 1.0)
        for ending in ("wav", "flac", "mp3", "sph")
    ),
    Subject("IAM XML", _drawn("a.xml", _IAM), _draw, words=WAYS_OUT),
    Subject("InkML", _drawn("a.inkml", _INKML), _draw, words=("X", "Y", "T", "s", "ms", "'", "!")),
    Subject("SVG", _drawn("a.svg", _SVG), _draw, words=tuple("MmLlHhVvCcSsQqTtAaZz") + ("transform",)),
    Subject("Quick, Draw!", _drawn("a.ndjson", "\n".join(map(json.dumps, _QUICK))), _draw),
    Subject("SketchRNN npz", _make_sketches, _draw),
    Subject("MicroJam", _drawn("a.csv", _JAM), _draw),
)
