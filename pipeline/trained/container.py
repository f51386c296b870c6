"""The bytes of an agent file: safetensors with a description in its header, a format number and a checksum.

A file may come from a stranger. It is data: nothing of it is run, and whatever is wrong with it ends in a ValueError of
one line. Its size, its header and its numbers are looked at before memory is spent on them.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from ..files import write_bytes

FORMAT, VERSION = "frmdn-agent", 1  # the number goes up whenever an older frmdn could not read a file rightly
SUFFIX = ".safetensors"
MOST_HEADER, MOST_BYTES = 2**24, 2**32
REMEDY = "copy it once more, or export it again with frmdn export --run DIR --out FILE"


class Content(NamedTuple):
    """What stands in the file: the description as JSON text, and the tensors by name."""

    description: str
    tensors: dict[str, Tensor]


def write(path: Path, content: Content) -> None:
    """Write one file, whole or not at all. ValueError: `path` names something else than an agent file."""
    check_name(path)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(content.tensors.items())}
    about = {
        "format": FORMAT,
        "version": str(VERSION),
        "agent": content.description,
        "sha256": _checksum(content.description, tensors),
    }
    write_bytes(path, _ordered(save_tensors(tensors, about)))


def _ordered(data: bytes) -> bytes:
    """The same file with a header in order, so that equal agents are equal files. Its length stays a multiple of 8."""
    length = int.from_bytes(data[:8], "little")
    words = json.dumps(json.loads(data[8 : 8 + length]), sort_keys=True, separators=(",", ":")).encode()
    words += b" " * (-len(words) % 8)
    return len(words).to_bytes(8, "little") + words + data[8 + length :]


def check_name(path: Path) -> None:
    """Raise ValueError unless an agent may be written there: what else is there stays."""
    if path.suffix != SUFFIX:
        raise ValueError(f"an agent file is named *{SUFFIX}, not {path.name}: give such a name")
    if path.exists() and not _is_agent(path):
        raise ValueError(f"{path} is there already and is no agent file: give another name")


def _is_agent(path: Path) -> bool:
    """Whether a file says of itself that it is an agent file, of whatever version."""
    try:
        return _about(path).get("format") == FORMAT
    except ValueError:
        return False


def read(path: Path) -> Content:
    """Read a file that `write` made; ValueError for anything else."""
    about = _about(path)
    if about.get("format") != FORMAT:
        raise ValueError(f"{path} is no agent file of frmdn: make one with frmdn export --run DIR --out FILE")
    if about.get("version") != str(VERSION):
        raise ValueError(
            f"{path} has format {str(about.get('version'))[:20]}, but this frmdn reads format {VERSION}: install the "
            "frmdn that wrote it, or export it again with this one"
        )
    try:
        tensors: dict[str, Tensor] = load_tensors(path.read_bytes())
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path} is no whole agent file ({_short(error)}): {REMEDY}") from None
    description = about.get("agent", "")
    if about.get("sha256") != _checksum(description, tensors):
        raise ValueError(f"{path} is damaged (its checksum is another): {REMEDY}")
    return Content(description, tensors)


def _about(path: Path) -> dict[str, str]:
    """What the header says beside the tensors: words by name."""
    if path.is_dir():
        raise ValueError(f"{path} is a folder, not an agent file: frmdn.open reads a run folder, and --run takes one")
    if not path.is_file():
        raise ValueError(f"there is no file {path}: make one with frmdn export --run DIR --out FILE")
    try:
        header: Any = json.loads(_header(path))
    except (ValueError, RecursionError):
        raise ValueError(f"{path} is no agent file of frmdn, or not a whole one: {REMEDY}") from None
    except PermissionError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}): give yourself the right to") from None
    about = header.get("__metadata__") if isinstance(header, dict) else None
    if not isinstance(about, dict) or not all(isinstance(word, str) for word in about.values()):
        raise ValueError(f"{path} is no agent file of frmdn: make one with frmdn export --run DIR --out FILE")
    return about


def _header(path: Path) -> bytes:
    """The bytes of the header; ValueError where its length cannot be meant."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if size > MOST_BYTES or length > min(size - 8, MOST_HEADER):
            raise ValueError(f"a header of {length} bytes in a file of {size}")
        return file.read(length)


def _checksum(description: str, tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of the description and of every tensor with its name, type and shape."""
    total = hashlib.sha256(description.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        total.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        total.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return total.hexdigest()


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
