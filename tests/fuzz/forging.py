"""Changes below the surface: what is packed is unpacked, changed and packed again, so that the wrapping is whole."""

from __future__ import annotations

import copy
import gzip
import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

import numpy as np

from .mutator import NUMBERS, WORDS, mutated, text

ODD: tuple[Any, ...] = (
    *(None, [], {}, "", -1, 0, 1, 2, 0.5, True, False, 10**400, 1e308, float("nan"), float("inf"), 10**9, 2**31, 2**63),
    *([[[]]], {"a": 1}, [None], [0], ["x"], "x\x1b[31m", "x" * 3000),
)
Forge = Callable[[Random, bytes, Sequence[bytes], Sequence[str]], bytes]


class Runs:
    """Unpickled, it makes a folder: whoever unpickles it has run what a stranger wrote."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch ran",)


def forged(name: str, rng: Random, data: bytes, others: Sequence[bytes], words: Sequence[str]) -> bytes:
    """The file under `name` changed inside, where its ending has an inside that we know; otherwise changed as bytes."""
    forge = FORGES.get(name.rpartition(".")[2].lower())
    try:
        return forge(rng, data, others, words) if forge else mutated(rng, data, others, words)
    except Exception:  # h5py, NumPy and PyArrow refuse to write some of it, each in its own way
        return mutated(rng, data, others, words)


# JSON


def nodes(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value inside a JSON value, and to itself."""
    yield way
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from nodes(inner, (*way, key))


def other_value(rng: Random, value: Any, words: Sequence[str] = ()) -> Any:
    """A JSON value with something odd in one place or more, a key that is gone, or one of another name."""
    value = copy.deepcopy(value)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        way = rng.choice(list(nodes(value)))
        if not way:
            if rng.random() < 0.9:
                continue
            return copy.deepcopy(rng.choice(ODD))
        place = value
        for key in way[:-1]:
            place = place[key]
        kind, old = rng.random(), place[way[-1]]
        if isinstance(old, str) and kind < 0.5:
            place[way[-1]] = text(rng, old, words)
        elif kind < 0.7 or isinstance(place, list):
            place[way[-1]] = copy.deepcopy(rng.choice((*ODD, rng.choice((*WORDS, *words)))))
        else:
            place.pop(way[-1])
            if kind < 0.85:
                place[rng.choice((f"{way[-1]}s", *words, "", "\x1b[31m"))] = old
    return value


def _json(rng: Random, data: bytes, others: Sequence[bytes], words: Sequence[str]) -> bytes:
    return json.dumps(other_value(rng, json.loads(data), words)).encode()


def _lines(rng: Random, data: bytes, others: Sequence[bytes], words: Sequence[str]) -> bytes:
    lines = [json.loads(line) for line in data.splitlines() if line.strip()]
    found = other_value(rng, lines, words)
    found = found if isinstance(found, list) else [found]
    return "\n".join(map(json.dumps, found)).encode()


# Arrays and archives


def _npy(rng: Random, data: bytes, others: Sequence[bytes], words: Sequence[str]) -> bytes:
    kind = rng.randrange(4)
    if kind == 0:
        return mutated(rng, data, others, words)
    if kind == 1:
        return odd_array(rng)
    stream = io.BytesIO(data)
    np.lib.format.read_magic(stream)
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    rest = stream.read()
    about = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": fortran, "shape": shape}
    key = rng.choice(list(about))
    dtypes = (
        "<f8",
        "|O",
        "<U9",
        "<c16",
        "<M8[s]",
        "|V0",
        "<f2",
        "|b1",
        ">i8",
        "x",
        [("a", "<f4")],
        ("<f4", (1000, 1000)),
    )
    sizes = (-1, 0, 1, 2, 7, 10**6, 2**31, 2**33, 2**63, 10**30, None, 1.5)
    if key == "shape":
        about["shape"] = tuple(
            rng.choice((*shape, rng.choice(sizes))) for _ in range(rng.choice((0, 1, len(shape), 5)))
        )
    else:
        about[key] = rng.choice(dtypes if key == "descr" else (True, None, 3))
    words_ = repr(about).encode() + b" " * rng.randrange(64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(words_).to_bytes(2, "little") + words_ + rest


def odd_array(rng: Random) -> bytes:
    """An array of a kind that nobody expects, or one that runs something when it is unpickled."""
    boxed = np.empty(1, object)
    boxed[0] = Runs() if rng.random() < 0.5 else {"a": [1]}
    values: Sequence[Any] = (
        *(
            boxed,
            np.zeros((0, 3)),
            np.zeros(()),
            np.full((20, 2), np.nan),
            np.full((20, 2), np.inf),
            np.array(["x"] * 20),
        ),
        *(np.zeros((20, 2), complex), np.zeros(20, "M8[s]"), np.zeros((2, 2, 2, 2, 2, 2)), np.full((20, 2), 1e308)),
        *(np.full((20, 2), 1e-320), np.full(20, 2**63, np.uint64), np.zeros((20, 2), [("a", "f4")]), np.zeros(3, "V8")),
        *(np.full(4, -(2**63)), np.zeros((1, 200_000)), np.zeros((20, 2), np.float16)),
    )
    stream = io.BytesIO()
    np.save(stream, rng.choice(values), allow_pickle=True)
    return stream.getvalue()


def _zip(rng: Random, data: bytes, others: Sequence[bytes], words: Sequence[str]) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {item.filename: archive.read(item) for item in archive.infolist()}
    name = rng.choice(list(members))
    kind = rng.randrange(8)
    if kind == 0:
        members[text(rng, name, (*words, "../out.npy"))] = members.pop(name)
    elif kind == 1:
        members.pop(name)
    elif kind == 2:
        members[rng.choice((*words, "lengths.npy", "new.npy"))] = odd_array(rng)
    elif kind == 3:
        members[name] = pickle.dumps(Runs())
    elif kind == 4:
        members[name] = members[name] + bytes(rng.choice((1, 1000, 3 << 20)))
    else:
        members[name] = _npy(rng, members[name], (*others, *members.values()), words)
    stream = io.BytesIO()
    method = rng.choice(
        (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    )
    with zipfile.ZipFile(stream, "w", method) as archive:
        for key, member in members.items():
            archive.writestr(key.replace("\0", ""), member)
    return stream.getvalue() if rng.random() < 0.8 else mutated(rng, stream.getvalue(), others, words)


def _gzip(rng: Random, data: bytes, others: Sequence[bytes], words: Sequence[str]) -> bytes:
    inner = gzip.decompress(data)
    if rng.random() < 0.05:
        return gzip.compress(inner + bytes(64 << 20), 1)
    return gzip.compress(mutated(rng, inner, others, words), 1)


def _safetensors(rng: Random, data: bytes, others: Sequence[bytes], words: Sequence[str]) -> bytes:
    length = int.from_bytes(data[:8], "little")
    header, rest = json.loads(data[8 : 8 + length]), data[8 + length :]
    about = header.get("__metadata__", {})
    nested = [key for key, value in about.items() if isinstance(value, str) and value[:1] == "{"]
    if nested and rng.random() < 0.5:
        about[nested[0]] = json.dumps(other_value(rng, json.loads(about[nested[0]]), words))
    else:
        header = other_value(rng, header, words)
    packed = json.dumps(header).encode()
    return len(packed).to_bytes(8, "little") + packed + rest


# XML and tables


def _xml(rng: Random, data: bytes, others: Sequence[bytes], words: Sequence[str]) -> bytes:
    value, kind = data.decode("utf-8", "replace"), rng.randrange(6)
    if kind == 0:
        deep = rng.choice((10, 900, 1100, 5000, 100_000))
        place = value.find(">", value.find("?>") + 2) + 1
        end = value.rfind("</")
        return (value[:place] + "<g>" * deep + value[place:end] + "</g>" * deep + value[end:]).encode()
    if kind == 1:
        bomb = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, rng.choice((3, 10))))
        kinds = (
            f'<!ENTITY e0 "lol">{bomb}',
            '<!ENTITY e2 SYSTEM "../canary/secret">',
            '<!ENTITY % e2 SYSTEM "file:///etc/hosts">',
        )
        head, _, tail = value.partition("?>") if value.startswith("<?xml") else ("", "", value)
        place = tail.find(">") + 1
        prolog = f"{head}?>" if head else ""
        return f"{prolog}<!DOCTYPE x [{rng.choice(kinds)}]>{tail[:place]}&e2;{tail[place:]}".encode()
    if kind == 2:
        value = value.replace(
            rng.choice(("x", "y", "time", "d", "points", "X", "trace", "Stroke")), rng.choice(("x", "z", "T", "")), 1
        )
        return value.encode()
    if kind == 3:
        return text(rng, value, words).encode("utf-8", "surrogatepass")
    return mutated(rng, data, others, words)


def _csv(rng: Random, data: bytes, others: Sequence[bytes], words: Sequence[str]) -> bytes:
    rows = [line.split(",") for line in data.decode().splitlines()]
    for _ in range(rng.choice((1, 1, 3))):
        row = rng.choice(rows)
        if not row:
            continue
        kind, place = rng.randrange(5), rng.randrange(len(row))
        if kind == 0:
            row[place] = rng.choice((*NUMBERS, *WORDS, *words))
        elif kind == 1:
            row.pop()
        elif kind == 2:
            row += row
        elif kind == 3:
            rows.remove(row)
            if not rows:
                break
        else:
            row[place] = text(rng, row[place], words)
    end = rng.choice(("\n", "\n", "\r\n", "\r"))
    value = end.join(rng.choice((",", ",", ",", ";", "\t")).join(row) for row in rows)
    coding = rng.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16"))
    return value.encode(coding, "replace")


def _parquet(rng: Random, data: bytes, others: Sequence[bytes], words: Sequence[str]) -> bytes:
    import pyarrow
    from pyarrow import parquet

    table = parquet.read_table(io.BytesIO(data))
    n, names = len(table), list(table.column_names)
    columns: Sequence[Any] = (
        *(
            [None] * n,
            ["x"] * n,
            [[1.0, 2.0]] * n,
            [[1.0] * (i % 3) for i in range(n)],
            [{"a": 1}] * n,
            [float("nan")] * n,
        ),
        *([float("inf")] * n, [10**18] * n, [b"\xff"] * n, [True] * n, [""] * n, [[[1]]] * n, [{"bytes": b"x"}] * n),
    )
    name, kind = rng.choice(names), rng.randrange(4)
    made: dict[str, Any] = {key: table.column(key) for key in names}
    if kind == 0:
        made.pop(name)
    elif kind == 1:
        made[text(rng, name, words).encode("utf-8", "replace").decode()] = made.pop(name)
    else:
        made[name] = pyarrow.array(rng.choice(columns))
    if rng.random() < 0.2:
        made = {key: column[: rng.randrange(n + 1)] for key, column in made.items()}
        shortest = min(map(len, made.values()), default=0)
        made = {key: column[:shortest] for key, column in made.items()}
    stream = io.BytesIO()
    parquet.write_table(pyarrow.table(made), stream)
    return stream.getvalue()


# HDF5


def _hdf5(rng: Random, data: bytes, others: Sequence[bytes], words: Sequence[str]) -> bytes:
    import h5py

    stream = io.BytesIO(data)
    with h5py.File(stream, "r+") as file:
        places: list[str] = []
        file.visit(places.append)
        name = rng.choice(places)
        kind, node = rng.randrange(8), file[name]
        if kind == 0:
            del file[name]
        elif kind == 1:
            del file[name]
            file[name] = h5py.ExternalLink("../canary/secret", "/x")
        elif kind == 2:
            del file[name]
            file[name] = h5py.SoftLink(rng.choice((f"/{name}", "/", "/none")))
        elif kind == 3:
            del file[name]
            file.create_dataset(name, (40,), "f4", external=[("../canary/secret", 0, 160)])
        elif kind == 4:
            del file[name]
            shape = rng.choice(((0,), (1, 2, 3, 4), (2**40,), (10, 4), (11, 4, 4, 3)))
            file.create_dataset(name, shape, rng.choice(("f4", "u1", "i8", "f8", "S5")), chunks=True)
        elif kind == 5:
            del file[name]
            values = (
                np.nan,
                "x",
                [1, 2],
                b"\xff",
                np.full((10, 2), np.nan, np.float32),
                np.full(10, np.inf, np.float32),
                2**63,
            )
            file[name] = rng.choice(values)
        elif kind == 6:
            target = rng.choice((file, node))
            key = rng.choice((*target.attrs, "format", "version", "steps"))
            values = (-1, 0, 2**62, np.nan, "x" * 3000, "", [1, 2], 1.5, np.inf, b"\xff", "\x1b[2J")
            target.attrs[key] = rng.choice(values)
        else:
            del file[name]
            file.create_group(name)
    return stream.getvalue()


# Sound and video: sizes at their places


def _sized(rng: Random, data: bytes, others: Sequence[bytes], words: Sequence[str]) -> bytes:
    """One of the first whole numbers of four bytes, or of two, is another."""
    width = rng.choice((2, 4))
    place = rng.randrange(0, min(len(data), 100), 2)
    value = rng.choice((0, 1, 2, 3, 8, 16, 64, 65535, 1000, 768_000, 10**6, 2**28, 2**31, 2**32 - 1)) % (1 << 8 * width)
    changed = data[:place] + value.to_bytes(width, rng.choice(("little", "little", "big"))) + data[place + width :]
    return changed if rng.random() < 0.7 else mutated(rng, changed, others, words)


FORGES: dict[str, Forge] = {
    "json": _json,
    "jsonl": _lines,
    "ndjson": _lines,
    "npy": _npy,
    "npz": _zip,
    "gz": _gzip,
    "safetensors": _safetensors,
    "xml": _xml,
    "svg": _xml,
    "inkml": _xml,
    "csv": _csv,
    "parquet": _parquet,
    "h5": _hdf5,
    "hdf5": _hdf5,
    "wav": _sized,
    "flac": _sized,
    "mp3": _sized,
    "sph": _sized,
    "mp4": _sized,
    "avi": _sized,
}
