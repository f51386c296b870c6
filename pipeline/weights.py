"""Weights and checkpoints on disk: safetensors beside a JSON file that says what they are. No pickle anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import save as save_arrays
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from frmdn.agent.training import TrainingState

from .files import read_json, write_bytes, write_json
from .settings import to_json

FORMAT, VERSION = "frmdn-weights", 1
REMEDY = "delete the folder and run the same command again, or copy the file once more from where it came"
Model = TypeVar("Model", bound=nn.Module)


def save_model(folder: Path, model: nn.Module) -> None:
    """Write `model.safetensors` and `model.json` {format, version, class, config} of a module with a `.config`."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    write_bytes(folder / "model.safetensors", save_tensors(tensors))
    header = {"format": FORMAT, "version": VERSION, "class": type(model).__name__, "config": to_json(model.config)}
    write_json(folder / "model.json", header)


def load_model(folder: Path, model: Model) -> Model:
    """Fill `model` with the weights of a folder; raises ValueError for foreign, damaged or non-finite weights."""
    header_path, path = folder / "model.json", folder / "model.safetensors"
    try:
        header = read_json(header_path)
    except FileNotFoundError:
        raise ValueError(f"{header_path} is missing: {REMEDY}") from None
    if header.get("format") != FORMAT:
        raise ValueError(f"{header_path} does not describe weights of frmdn: {REMEDY}")
    if header.get("version") != VERSION:
        raise ValueError(
            f"{header_path} has version {header.get('version')}, but this frmdn reads version {VERSION}: install the "
            "frmdn that wrote it, or train again"
        )
    for what, wanted in (("class", type(model).__name__), ("config", to_json(model.config))):
        if header.get(what) != wanted:
            raise ValueError(f"{header_path} has {what} {header.get(what)}, but this run needs {wanted}: {REMEDY}")
    _fill(model, load(path), path)
    return model.eval()


def load(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; ValueError names a file that is missing, damaged or not finite."""
    tensors = _read(path)
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{path} holds NaN or infinity in {name}: {REMEDY}")
    return tensors


def _read(path: Path) -> dict[str, Tensor]:
    try:
        tensors: dict[str, Tensor] = load_tensors(path.read_bytes())
    except FileNotFoundError:
        raise ValueError(f"{path} is missing: {REMEDY}") from None
    except SafetensorError as error:
        raise ValueError(f"{path} is no whole safetensors file ({error}): {REMEDY}") from None
    return tensors


def save_checkpoint(path: Path, state: TrainingState) -> None:
    """Write a training state as one file: its tensors, and `step` as one of them."""
    write_bytes(path, save_tensors({"step": torch.tensor(state.step, dtype=torch.int64), **state.tensors}))


def load_checkpoint(path: Path) -> TrainingState | None:
    """The training state that was saved there, or None where there is none yet."""
    if not path.exists():
        return None
    tensors = load(path)
    if "step" not in tensors:
        raise ValueError(f"{path} is no checkpoint of frmdn (no step in it): {REMEDY}")
    return TrainingState(int(tensors.pop("step")), tensors)


def save_state(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays, e.g. the state of a search or one parameter vector."""
    write_bytes(path, save_arrays({name: np.ascontiguousarray(array) for name, array in arrays.items()}))


def load_state(path: Path) -> dict[str, np.ndarray]:
    """The named arrays of a file written by `save_state`; NaN may be among them, e.g. where nothing was validated."""
    return {name: tensor.numpy() for name, tensor in _read(path).items()}


def load_theta(path: Path, size: int) -> np.ndarray:
    """A controller's parameters f32[N]; raises ValueError unless there are exactly `size` of them."""
    theta = load(path).get("theta")
    if theta is None or theta.shape != (size,):
        found = "no theta" if theta is None else f"theta of shape {tuple(theta.shape)}"
        raise ValueError(f"{path} holds {found}, but this agent's controller has {size} parameters: {REMEDY}")
    return theta.numpy().astype(np.float32)


def _fill(model: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if wanted != found:
        odd = sorted({name for name, _ in wanted.items() ^ found.items()})
        raise ValueError(f"{path} does not fit {type(model).__name__} (differs in {', '.join(odd[:3])}): {REMEDY}")
    model.load_state_dict(dict(tensors))
