"""Archives of arrays from anybody: what a fuzzer found, each in one line that names the file."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from frmdn.rollouts.recordings.arrays import Archive
from frmdn.rollouts.sources.packed import read_arrays
from frmdn.rollouts.sources.tables import Choice, read_table


def packed(path: Path, data: bytes, name: str = "rows.npy", method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr(name, data)
    return path


def saved(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def promising(shape: str, descr: str = "'<f8'") -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(64)


def refused(path: Path) -> str:
    with pytest.raises(ValueError, match=path.name) as caught:
        read_table(path, Choice())
    if path.suffix == ".npz":
        with pytest.raises(ValueError, match=path.name):
            Archive(path).read(["rows"])
    return str(caught.value)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damage_inside_a_packing(method: int, tmp_path: Path) -> None:
    """zlib, bz2 and LZMA each raise an error of their own."""
    data = bytearray(packed(tmp_path / "a.npz", saved(np.arange(4000.0)), method=method).read_bytes())
    for place in range(60, 400):
        data[place] ^= 0x55
    (tmp_path / "a.npz").write_bytes(data)
    assert "is no whole .npz file" in refused(tmp_path / "a.npz")


@pytest.mark.parametrize(
    "data",
    [
        b"\x93NUMPY\x01\x00\x0a\x00{'descr': (",  # a header that ends too early: TokenError
        promising("(1000000000000,)"),
        promising("(10000000000000000000000000000,)"),
        promising("(-1,)"),
        promising("(2, 3)", "'|O'"),
        b"PK\x05\x06" + bytes(18),  # an empty zip, which NumPy opens as one
        b"",
    ],
)
def test_headers_that_promise_what_is_not_there(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(data)
    assert "is no whole .npy file" in refused(tmp_path / "a.npy")
    assert "is no whole .npz file" in refused(packed(tmp_path / "b.npz", data))


def test_a_member_that_is_no_array(tmp_path: Path) -> None:
    assert "is no whole .npz file" in refused(packed(tmp_path / "a.npz", b"words", name="rows"))


def test_an_array_without_rows(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(0))
    assert refused(tmp_path / "a.npy") == f"{tmp_path / 'a.npy'} has no rows"


def test_a_small_file_that_unpacks_to_far_more(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.npz", saved(np.zeros(10_000_000)), method=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 100_000
    assert "over 200 times its own size" in refused(path)


def test_all_that_numpy_writes_is_read(tmp_path: Path) -> None:
    arrays = {
        "a": np.arange(6.0).reshape(2, 3),
        "b": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "c": np.zeros((0, 3), np.float32),
        "d": np.array(7, np.int16),
        "e": np.array(["x", "yy"]),
        "f": np.array([True, False]),
    }
    np.savez(tmp_path / "a.npz", **arrays)
    found = read_arrays(tmp_path / "a.npz")
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype and found[name].shape == array.shape and (found[name] == array).all()
    assert set(read_arrays(tmp_path / "a.npz", {"b"})) == {"b"}


def test_a_header_of_very_many_columns_is_read_at_once(tmp_path: Path) -> None:
    """Counting every name among all names took minutes."""
    import time

    names = ",".join(f"c{i}" for i in range(60_000))
    (tmp_path / "a.csv").write_text(f"{names}\n" + ",".join("1" * 60_000) + "\n")
    begun = time.process_time()
    assert len(read_table(tmp_path / "a.csv", Choice()).target) == 60_000
    (tmp_path / "a.csv").write_text(f"{names},c7\n")
    assert "names column 'c7' 2 times" in refused(tmp_path / "a.csv")
    assert time.process_time() - begun < 10


def test_a_gzip_that_promises_what_it_cannot_hold(tmp_path: Path) -> None:
    import gzip

    from frmdn.rollouts.sources.pictures import read_idx

    head = b"".join(n.to_bytes(4, "big") for n in (0x803, 500_000, 30, 30))
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(head + bytes(1000)))
    with pytest.raises(ValueError, match=r"promises 450000016 bytes of pictures, which \d+ cannot hold"):
        read_idx(path)


def test_a_zip_that_lies_about_what_its_entries_take(tmp_path: Path) -> None:
    """The ratio is that of the file's own size, whatever its directory says."""
    path = packed(tmp_path / "a.npz", saved(np.zeros(10_000_000)), method=zipfile.ZIP_DEFLATED)
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\x01\x02")
    data[entry + 20 : entry + 24] = (1 << 30).to_bytes(4, "little")
    path.write_bytes(data)
    assert "over 200 times its own size" in refused(path)


def test_no_memory_is_no_fault_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = packed(tmp_path / "a.npz", saved(np.arange(4.0)))

    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("frmdn.rollouts.sources.packed.check_packed", full)
    with pytest.raises(MemoryError):
        read_table(path, Choice())
    with pytest.raises(MemoryError):
        Archive(path).read(["rows"])
