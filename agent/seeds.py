"""Random numbers by name: every seed of a run derives from its one root seed."""

from __future__ import annotations

import hashlib

import torch

PURPOSES = ("collect", "evolve", "validate", "evaluate", "transfer")  # new ones behind: a place is a range for ever
RANGE = 2**28  # episode seeds per purpose; eight ranges fill the 31 bits that every environment accepts


def derive(root: int, *names: str | int) -> int:
    """A 63-bit seed that depends on the root and on the names, and on nothing else."""
    text = "/".join([str(root), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(root: int, *names: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    return torch.Generator(device=device).manual_seed(derive(root, *names))


def episode_seeds(root: int, purpose: str, count: int, start: int = 0) -> list[int]:
    """Episode seeds `start` to `start + count` of one purpose.

    Each purpose owns a range of its own, so evaluation seeds never meet training seeds, whatever the root.
    """
    if purpose not in PURPOSES:
        raise ValueError(f"purpose must be one of {', '.join(PURPOSES)}, not {purpose!r}")
    base, first = PURPOSES.index(purpose) * RANGE, derive(root, purpose) % RANGE
    return [base + (first + start + i) % RANGE for i in range(count)]
