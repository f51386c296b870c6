"""What is fuzzed: a folder of valid files, how they are read, and how what was read is compared."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch

from .forging import forged
from .mutator import mutated

Read = Callable[[Path], Any]


@dataclass(frozen=True)
class Subject:
    """One kind of input, and its reader.

    Args:
        name: as the results name it.
        make: writes valid files into a folder.
        read: reads the folder as users' commands do; what comes back is compared by `digest`.
        sealed: a checksum covers all of it, so that what is read at all must be what was written. Forged insides, which
            may have a right checksum, are left out then: flips and cuts remain.
        change: in place of `forged`: (generator, name, bytes, words) -> bytes.
        words: more that mean something in these files.
        files: the names of the files that are changed; empty: all of the folder.
        named: whether an error must name one of the files.
        share: of the inputs; less where one takes long.
    """

    name: str
    make: Callable[[Path], None]
    read: Read
    sealed: bool = False
    change: Callable[[Random, str, bytes, Sequence[str]], bytes] | None = None
    words: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    named: bool = True
    share: float = 1.0

    def changed(self, rng: Random, valid: Mapping[str, bytes], others: Sequence[bytes]) -> tuple[str, bytes]:
        """The name of one file, and what shall stand in it."""
        name = rng.choice(self.files or sorted(valid))
        data = valid[name]
        if self.change is not None:
            return name, self.change(rng, name, data, self.words)
        if not self.sealed and rng.random() < 0.5:
            return name, forged(name, rng, data, others, self.words)
        return name, mutated(rng, data, others, self.words)


def digest(value: Any) -> str:
    """A name for any value that a reader returns."""
    total = hashlib.sha256()
    _feed(total, value)
    return total.hexdigest()


def _feed(total: Any, value: Any) -> None:
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray):
        total.update(f"{value.dtype}{value.shape}".encode())
        total.update(np.ascontiguousarray(value).tobytes() if value.dtype != object else repr(value.tolist()).encode())
    elif is_dataclass(value) and not isinstance(value, type):
        for item in fields(value):
            total.update(item.name.encode())
            _feed(total, getattr(value, item.name))
    elif isinstance(value, Mapping):
        for key, inner in sorted(value.items(), key=repr):
            total.update(repr(key).encode())
            _feed(total, inner)
    elif isinstance(value, list | tuple):
        total.update(f"[{len(value)}]".encode())
        for inner in value:
            _feed(total, inner)
    else:
        total.update(repr(value).encode("utf-8", "surrogatepass"))


def quiet() -> None:
    """Warnings of numbers that overflow are no faults; what comes of them is looked at."""
    warnings.simplefilter("ignore")
