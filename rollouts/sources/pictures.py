"""Readers of picture files: MNIST's IDX (plain or .gz), CIFAR-10's binary batches, and scikit-learn's digits."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from frmdn.agent.errors import MissingExtra, first_line

IDX_IMAGES = 0x00000803  # unsigned bytes, three axes
CIFAR_SIDE, CIFAR_RECORD = 32, 1 + 3 * 32 * 32  # one byte of label, then the planes red, green, blue
MOST = 1 << 30  # bytes of pictures in a file, unpacked: twice the largest set of EMNIST
TIGHTEST = 1100  # bytes that gzip makes of one, at most
BLOCK = 1 << 20  # bytes unpacked at once: what a header promises is not reserved before it is there
REMEDY = "download it again, or leave it out of the folder"


def read_idx(path: Path) -> np.ndarray:
    """The pictures u8[N,H,W,1] of an IDX file, unpacked if it is a gzip; ValueError names a wrong or cut file."""
    data = _bytes(path)
    magic = int.from_bytes(data[:4], "big")
    if len(data) < 16 or magic != IDX_IMAGES:
        raise ValueError(f"{path} is no IDX file of pictures (it begins with {data[:4].hex() or 'nothing'}): {REMEDY}")
    count, height, width = (int.from_bytes(data[i : i + 4], "big") for i in (4, 8, 12))
    found, wanted = len(data) - 16, math.prod((count, height, width))
    if found != wanted or not wanted:
        raise ValueError(
            f"{path} promises {count} pictures of {height} x {width}, {wanted} bytes, but holds {found}: {REMEDY}"
        )
    return np.frombuffer(data, np.uint8, offset=16).reshape(count, height, width, 1)


def read_cifar(path: Path) -> np.ndarray:
    """The pictures u8[N,32,32,3] of one binary batch of CIFAR-10; ValueError names a wrong or cut file."""
    data = np.frombuffer(_bytes(path), np.uint8)
    if not len(data) or len(data) % CIFAR_RECORD:
        raise ValueError(f"{path} has {len(data)} bytes, no multiple of CIFAR-10's {CIFAR_RECORD}: {REMEDY}")
    records = data.reshape(-1, CIFAR_RECORD)
    if records[:, 0].max() > 9:
        raise ValueError(f"{path} has labels above 9, so it is no binary batch of CIFAR-10: {REMEDY}")
    return records[:, 1:].reshape(-1, 3, CIFAR_SIDE, CIFAR_SIDE).transpose(0, 2, 3, 1)


def read_digits() -> np.ndarray:
    """The 1,797 handwritten digits that come with scikit-learn, u8[N,8,8,1], levels 0 to 16."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        purpose = "the built-in pictures (--path takes MNIST or CIFAR-10 without it)"
        raise MissingExtra("scikit-learn", "images", purpose) from None
    return np.asarray(load_digits().images, np.uint8)[..., None]


def read_pictures(path: Path) -> dict[str, np.ndarray]:
    """Pictures u8[N,H,W,C] by split: "train" and "test" where the files' names tell them apart, "all" otherwise.

    Args:
        path: an IDX or CIFAR-10 file, or a folder with such files (`train-images-idx3-ubyte.gz`, `data_batch_1.bin`).

    Raises:
        ValueError: there is no such file, or one is damaged; the message names it.
    """
    if not path.exists():
        raise ValueError(f"{path} does not exist: give --path MNIST's or CIFAR-10's files, or their folder")
    files = sorted(p for p in path.iterdir() if _is_picture_file(p.name)) if path.is_dir() else [path]
    if not files:
        raise ValueError(
            f"{path} has no pictures: put MNIST's *-images-idx3-ubyte[.gz] or CIFAR-10's data_batch_*.bin there"
        )
    parts: dict[str, list[np.ndarray]] = {}
    for file in files:
        pictures = read_cifar(file) if file.suffix == ".bin" else read_idx(file)
        parts.setdefault(_split_of(file.name), []).append(pictures)
    shapes = {pictures.shape[1:] for part in parts.values() for pictures in part}
    if len(shapes) > 1:
        raise ValueError(f"{path} mixes pictures of shapes {sorted(shapes)}: put each set into a folder of its own")
    if not {"train", "test"} <= set(parts):
        return {"all": np.concatenate([pictures for part in parts.values() for pictures in part])}
    return {name: np.concatenate(part) for name, part in parts.items()}


def _is_picture_file(name: str) -> bool:
    return ("images" in name and "idx3" in name) or (name.endswith(".bin") and "batch" in name)


def _split_of(name: str) -> str:
    return "test" if name.startswith(("t10k", "test")) else "train"


def _bytes(path: Path) -> bytes | bytearray:
    data = path.read_bytes()
    if data[:2] != b"\x1f\x8b":
        return data
    try:
        with gzip.open(path) as file:
            head = file.read(16)
            promised = 16 + math.prod(int.from_bytes(head[i : i + 4], "big") for i in (4, 8, 12))
            magic = int.from_bytes(head[:4], "big") == IDX_IMAGES
            limit = promised if magic else MOST
            if limit > MOST:
                raise ValueError(f"{path} promises {limit} bytes of pictures, and {MOST} is the most: {REMEDY}")
            if magic and limit > TIGHTEST * len(data):
                raise ValueError(f"{path} promises {limit} bytes of pictures, which {len(data)} cannot hold: {REMEDY}")
            unpacked = bytearray(head)
            while len(unpacked) <= limit and (block := file.read(min(BLOCK, limit + 1 - len(unpacked)))):
                unpacked += block
        if len(unpacked) > MOST:
            raise ValueError(f"{path} unpacks to more than {MOST} bytes: {REMEDY}")
        return unpacked
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is a damaged gzip ({first_line(error)}): {REMEDY}") from None
