"""Picture files of our own making, read back; the logit and its Jacobian; damaged files are named."""

from __future__ import annotations

import gzip
import math
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from frmdn.envs.errors import MissingExtra
from frmdn.rollouts.sources import SegmentBatches, whole_batches
from frmdn.rollouts.sources.images import images
from frmdn.rollouts.sources.pictures import read_cifar, read_idx, read_pictures


def pictures(count: int, height: int, width: int, channels: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, channels), np.uint8)


def idx(frames: np.ndarray) -> bytes:
    n, height, width, _ = frames.shape
    return struct.pack(">IIII", 0x803, n, height, width) + frames.tobytes()


def cifar(frames: np.ndarray) -> bytes:
    planes = frames.transpose(0, 3, 1, 2).reshape(len(frames), -1)
    labels = np.arange(len(frames), dtype=np.uint8)[:, None] % 10
    return np.concatenate([labels, planes], 1).tobytes()


def test_idx_plain_and_packed(tmp_path: Path) -> None:
    frames = pictures(5, 6, 4, 1)
    (tmp_path / "a").write_bytes(idx(frames))
    (tmp_path / "b.gz").write_bytes(gzip.compress(idx(frames)))
    for name in ("a", "b.gz"):
        np.testing.assert_array_equal(read_idx(tmp_path / name), frames)


def test_cifar_planes_become_pixels(tmp_path: Path) -> None:
    frames = pictures(4, 32, 32, 3)
    (tmp_path / "data_batch_1.bin").write_bytes(cifar(frames))
    np.testing.assert_array_equal(read_cifar(tmp_path / "data_batch_1.bin"), frames)


def test_mnist_folder_keeps_its_test_set(tmp_path: Path) -> None:
    train, test = pictures(30, 6, 4, 1), pictures(7, 6, 4, 1, seed=1)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(train)))
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx(test))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(b"labels are not read")
    source = images(tmp_path)
    assert source.about["pictures"] == {"train": 27, "validation": 3, "test": 7} and source.outputs == 4
    (batch,) = whole_batches(source, "test", 0)
    np.testing.assert_array_equal(source.scale.native(batch.target), test)  # dequantised, and back


def test_cifar_folder_is_gathered(tmp_path: Path) -> None:
    parts = [pictures(5, 32, 32, 3, seed=i) for i in range(3)]
    for i, part in enumerate(parts[:2]):
        (tmp_path / f"data_batch_{i + 1}.bin").write_bytes(cifar(part))
    (tmp_path / "test_batch.bin").write_bytes(cifar(parts[2]))
    found = read_pictures(tmp_path)
    np.testing.assert_array_equal(found["train"], np.concatenate(parts[:2]))
    np.testing.assert_array_equal(found["test"], parts[2])
    assert images(tmp_path).outputs == 96


def test_a_single_file_is_split_in_three(tmp_path: Path) -> None:
    (tmp_path / "some-images.idx3").write_bytes(idx(pictures(20, 3, 3, 1)))
    counts = images(tmp_path / "some-images.idx3").about["pictures"]
    assert counts == {"train": 16, "validation": 2, "test": 2}


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("train-images-idx3-ubyte", lambda frames: idx(frames)[:-1]),
        ("train-images-idx3-ubyte", lambda frames: idx(frames) + b"x"),
        ("train-images-idx3-ubyte", lambda frames: b"\0\0\x08\x01" + idx(frames)[4:]),
        ("train-images-idx3-ubyte", lambda frames: b""),
        ("train-images-idx3-ubyte.gz", lambda frames: gzip.compress(idx(frames))[:-20]),
        ("train-images-idx3-ubyte.gz", lambda frames: gzip.compress(idx(frames))[:9] + b"rubbish" * 9),
        ("data_batch_1.bin", lambda frames: cifar(pictures(2, 32, 32, 3))[:-1]),
        ("data_batch_1.bin", lambda frames: b"\xff" * 3073),
        ("data_batch_1.bin", lambda frames: b""),
    ],
)
def test_a_damaged_file_is_named(name: str, damage: Callable[[np.ndarray], bytes], tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(damage(pictures(6, 4, 4, 1)))
    with pytest.raises(ValueError, match=name):
        images(tmp_path)


def test_a_packed_file_that_swells_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of five megabytes that unpack to five gigabytes no more is unpacked than the header promises."""
    path, frames = tmp_path / "train-images-idx3-ubyte.gz", pictures(5, 6, 4, 1)
    with gzip.open(path, "wb") as file:
        file.write(struct.pack(">IIII", 0x803, 60_000, 10_000, 10_000))
    with pytest.raises(ValueError, match="promises 6000000000016 bytes of pictures"):
        read_idx(path)
    path.write_bytes(gzip.compress(idx(frames) + bytes(50_000_000)))
    with pytest.raises(ValueError, match="5 pictures of 6 x 4, 120 bytes, but holds 121"):
        read_idx(path)
    monkeypatch.setattr("frmdn.rollouts.sources.pictures.MOST", 10_000)
    path.write_bytes(gzip.compress(bytes(50_000)))
    with pytest.raises(ValueError, match="unpacks to more than 10000 bytes"):
        read_cifar(path)


def test_folders_without_pictures_are_named(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ValueError, match=str(path)):
            images(path)


def test_two_sets_in_one_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(pictures(3, 4, 4, 1)))
    (tmp_path / "data_batch_1.bin").write_bytes(cifar(pictures(3, 32, 32, 3)))
    with pytest.raises(ValueError, match="mixes"):
        images(tmp_path)


def test_the_jacobian_is_autograds(tmp_path: Path) -> None:
    (tmp_path / "x-images.idx3").write_bytes(idx(pictures(20, 3, 3, 1)))
    scale = images(tmp_path / "x-images.idx3").scale
    value = (torch.rand(50, dtype=torch.float64) * 256).requires_grad_()
    target, slope = scale.forward(value)
    (gradient,) = torch.autograd.grad(target.sum(), value)
    torch.testing.assert_close(slope.detach(), gradient.log(), rtol=1e-10, atol=1e-10)


def test_uniform_noise_is_found_to_take_eight_bits(tmp_path: Path) -> None:
    """The exact density of uniformly random levels, pushed through transform and Jacobian, is 8 bits a dimension."""
    (tmp_path / "x-images.idx3").write_bytes(idx(pictures(20, 3, 3, 1)))
    source = images(tmp_path / "x-images.idx3")
    (batch,) = whole_batches(source, "test", 0)
    q = torch.sigmoid(batch.target.double() * source.scale.std + source.scale.mean)
    value = (q - source.scale.alpha) / (1 - 2 * source.scale.alpha) * 256
    _, slope = source.scale.forward(value)
    model = -math.log(256) - slope  # log density of the target if the value is uniform on 0 ... 256
    nll = -(model.sum(-1) + batch.log_jacobian).mean() / 3
    assert source.figures(float(nll))["bits_per_dim"] == pytest.approx(8, abs=1e-4)


def test_the_built_in_digits() -> None:
    pytest.importorskip("sklearn")
    source = images()
    assert source.about["pictures"] == {"train": 1437, "validation": 180, "test": 180} and source.outputs == 8
    batch = SegmentBatches(source, 0)(0)
    assert batch.target.shape == (64, 8, 8) and batch.mask.all()
    shown = source.scale.native(batch.target)
    assert shown.shape == (64, 8, 8, 1) and shown.min() == 0 and shown.max() == 255


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(MissingExtra, match=r"pip install 'frmdn\[images\]'"):
        images()
