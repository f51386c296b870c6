"""Weights survive the disk; foreign, damaged and NaN ones are refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from frmdn.agent.training import TrainingState
from frmdn.pipeline.weights import (
    load_checkpoint,
    load_model,
    load_state,
    load_theta,
    save,
    save_checkpoint,
    save_model,
    save_state,
)


@dataclass(frozen=True)
class NetConfig:
    size: int = 3
    shape: tuple[int, ...] = (1, 2)


class Net(nn.Module):
    def __init__(self, config: NetConfig | None = None) -> None:
        super().__init__()
        self.config = config or NetConfig()
        self.layer = nn.Linear(self.config.size, 2)


class Other(Net):
    pass


def test_weights_survive(tmp_path: Path) -> None:
    saved, loaded = Net(), Net()
    save_model(tmp_path, saved)
    load_model(tmp_path, loaded)
    assert all(torch.equal(a, b) for a, b in zip(saved.parameters(), loaded.parameters(), strict=True))
    assert not loaded.training


def nan(folder: Path) -> None:
    save(folder / "model.safetensors", {"layer.weight": torch.full((2, 3), torch.nan), "layer.bias": torch.zeros(2)})


def one_nan(folder: Path) -> None:
    weight = torch.ones(2, 3)
    weight[1, 2] = torch.nan
    save(folder / "model.safetensors", {"layer.weight": weight, "layer.bias": torch.zeros(2)})


def one_infinity(folder: Path) -> None:
    bias = torch.tensor([0.0, -torch.inf])
    save(folder / "model.safetensors", {"layer.weight": torch.ones(2, 3), "layer.bias": bias})


def cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-5])


def garbage(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\x80\x04K\x01.")  # a pickle


def gone(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def other_shape(folder: Path) -> None:
    save(folder / "model.safetensors", {"layer.weight": torch.zeros(2, 4), "layer.bias": torch.zeros(2)})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (nan, "holds NaN or infinity in layer.weight"),
        (one_nan, "holds NaN or infinity in layer.weight"),
        (one_infinity, "holds NaN or infinity in layer.bias"),
        (cut, "is no whole safetensors file"),
        (garbage, "is no whole safetensors file"),
        (gone, "is missing"),
        (other_shape, "does not fit Net"),
    ],
)
def test_bad_weights_are_named_with_a_remedy(tmp_path: Path, damage: Callable[[Path], None], message: str) -> None:
    save_model(tmp_path, Net())
    damage(tmp_path)
    with pytest.raises(ValueError, match=rf"model\.safetensors {message}.*once more from where it came"):
        load_model(tmp_path, Net())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "zip"}, "does not describe weights of frmdn"),
        ({"version": 99}, "has version 99, but this frmdn reads version 2"),
        ({"config": {"size": 4}}, "has config"),
    ],
)
def test_a_foreign_header_is_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    save_model(tmp_path, Net())
    path = tmp_path / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=message):
        load_model(tmp_path, Net())


def test_another_class_is_refused(tmp_path: Path) -> None:
    save_model(tmp_path, Net())
    with pytest.raises(ValueError, match="has class Net, but this run needs Other"):
        load_model(tmp_path, Other())


def test_a_checkpoint_survives(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    assert load_checkpoint(path) is None
    save_checkpoint(path, TrainingState(7, {"model.x": torch.arange(3.0)}))
    state = load_checkpoint(path)
    assert state is not None and state.step == 7
    assert list(state.tensors) == ["model.x"] and torch.equal(state.tensors["model.x"], torch.arange(3.0))


def test_a_file_without_a_step_is_no_checkpoint(tmp_path: Path) -> None:
    save(tmp_path / "c.safetensors", {"x": torch.zeros(1)})
    with pytest.raises(ValueError, match="is no checkpoint of frmdn"):
        load_checkpoint(tmp_path / "c.safetensors")


def test_theta_must_have_the_size_of_its_controller(tmp_path: Path) -> None:
    path = tmp_path / "mean.safetensors"
    save_state(path, {"theta": np.arange(4, dtype=np.float32)})
    assert load_theta(path, 4).tolist() == [0, 1, 2, 3]
    with pytest.raises(ValueError, match=r"mean\.safetensors holds theta of shape \(4,\), but .* has 5 parameters"):
        load_theta(path, 5)


def test_a_state_survives_with_its_types(tmp_path: Path) -> None:
    arrays = {"a": np.arange(6.0).reshape(2, 3).T, "key": np.array([2**62]), "v": np.array([1], np.uint8)}
    save_state(tmp_path / "s.safetensors", arrays)
    loaded = load_state(tmp_path / "s.safetensors")
    for name, array in arrays.items():
        assert loaded[name].dtype == array.dtype and np.array_equal(loaded[name], array)


def test_an_unvalidated_search_may_hold_nan(tmp_path: Path) -> None:
    """Validations are NaN where the mean was not played: a state is not weights."""
    save_state(tmp_path / "s.safetensors", {"validation": np.array([np.nan, 3.0])})
    assert np.isnan(load_state(tmp_path / "s.safetensors")["validation"][0])


@pytest.mark.parametrize("place", [0, 3])
def test_one_number_that_is_none_spoils_a_controller_and_a_checkpoint(tmp_path: Path, place: int) -> None:
    theta = np.zeros(4, np.float32)
    theta[place] = np.nan
    save_state(tmp_path / "mean.safetensors", {"theta": theta})
    with pytest.raises(ValueError, match=r"mean\.safetensors holds NaN or infinity in theta"):
        load_theta(tmp_path / "mean.safetensors", 4)
    tensors = {"model.x": torch.zeros(4), "optimizer.x.exp_avg": torch.from_numpy(theta)}
    save_checkpoint(tmp_path / "checkpoint.safetensors", TrainingState(7, tensors))
    with pytest.raises(ValueError, match=r"holds NaN or infinity in optimizer\.x\.exp_avg"):
        load_checkpoint(tmp_path / "checkpoint.safetensors")
