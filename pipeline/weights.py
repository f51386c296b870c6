"""Weights and checkpoints on disk: safetensors with a checksum, and for weights a JSON file that says what they are. No
pickle anywhere."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from frmdn.agent.errors import first_line
from frmdn.agent.training import TrainingState

from .files import read_json, write_bytes, write_json
from .settings import to_json

FORMAT, VERSION = "frmdn-weights", 2
CHECKSUM = "checksum"  # in the metadata of a file: safetensors has none of its own, and a flipped bit is a weight too
REMEDY = "delete this file and run the command that made it again, or copy it once more from where it came"
AGAIN = "run the command that made it again, or copy it once more from where it came"
Model = TypeVar("Model", bound=nn.Module)


def save_model(folder: Path, model: nn.Module) -> None:
    """Write `model.safetensors` and `model.json` {format, version, class, config} of a module with a `.config`."""
    save(folder / "model.safetensors", model.state_dict())
    header = {"format": FORMAT, "version": VERSION, "class": type(model).__name__, "config": to_json(model.config)}
    write_json(folder / "model.json", header)


def load_model(folder: Path, model: Model) -> Model:
    """Fill `model` with the weights of a folder; raises ValueError for foreign, damaged or non-finite weights."""
    header_path, path = folder / "model.json", folder / "model.safetensors"
    try:
        header = read_json(header_path)
    except FileNotFoundError:
        raise ValueError(f"{header_path} is missing: delete {path.name} beside it, and {AGAIN}") from None
    if header.get("format") != FORMAT:
        raise ValueError(f"{header_path} does not describe weights of frmdn: delete {path.name} beside it, and {AGAIN}")
    if header.get("version") != VERSION:
        raise ValueError(
            f"{header_path} has version {header.get('version')!s:.40}, but this frmdn reads version {VERSION}: install "
            "the frmdn that wrote it, or train again"
        )
    for what, wanted in (("class", type(model).__name__), ("config", to_json(model.config))):
        if header.get(what) != wanted:
            raise ValueError(
                f"{header_path} has {what} {header.get(what)!s:.200}, but this run needs {wanted}: delete {path.name} "
                f"beside it, and {AGAIN}"
            )
    _fill(model, load(path), path)
    return model.eval()


def load(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; ValueError names a file that is missing, damaged or not finite."""
    tensors = _read(path)
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{path} holds NaN or infinity in {name}: {REMEDY}")
    return tensors


def save(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write named tensors, with a checksum over all of them."""
    ready = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_bytes(path, save_tensors(ready, metadata={CHECKSUM: _checksum(ready)}))


def _read(path: Path) -> dict[str, Tensor]:
    try:
        data = path.read_bytes()
        tensors: dict[str, Tensor] = load_tensors(data)
        told = _metadata(data).get(CHECKSUM)
    except FileNotFoundError:
        raise ValueError(f"{path} is missing: {AGAIN}") from None
    except (SafetensorError, ValueError, KeyError, RecursionError) as error:
        raise ValueError(f"{path} is no whole safetensors file ({first_line(error)}): {REMEDY}") from None
    if told != _checksum(tensors):
        why = "its checksum does not match" if told else "it has no checksum, as files of another program have none"
        raise ValueError(f"{path} is damaged or foreign ({why}): {REMEDY}")
    return tensors


def _metadata(data: bytes) -> dict[str, Any]:
    """What stands beside the tensors in a file whose header `load_tensors` has read."""
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return dict(header.get("__metadata__") or {})


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def save_checkpoint(path: Path, state: TrainingState) -> None:
    """Write a training state as one file: its tensors, and `step` as one of them."""
    save(path, {"step": torch.tensor(state.step, dtype=torch.int64), **state.tensors})


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
    save(path, {name: torch.from_numpy(np.array(array, order="C")) for name, array in arrays.items()})


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
