"""What every source hands over: sequences of (context, target) in three splits that share no file and no episode."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from frmdn.agent.seeds import derive

TRAIN, VALIDATION, TEST = "train", "validation", "test"


@dataclass(frozen=True)
class Steps:
    """A batch of sequences, right-padded to one length: target t is to be predicted from the contexts 0 to t."""

    context: Tensor  # f32[B,T,C]
    target: Tensor  # f32[B,T,D], as the models see it: normalised
    mask: Tensor  # bool[B,T], False where a step is padding
    log_jacobian: Tensor  # f32[B,T]; log p(reported) = log p(target) + log_jacobian

    def to(self, device: torch.device | str) -> Self:
        return type(self)(*(getattr(self, each.name).to(device) for each in fields(self)))


class Split(Protocol):
    """The raw sequences of one split; raw means before noise and transform, so that each visit draws new noise."""

    @property
    def lengths(self) -> Sequence[int]:
        """Rows of each sequence."""
        ...

    def rows(self, index: int, start: int, stop: int) -> Tensor:
        """Rows start to stop-1 of one sequence, f32[stop-start,R]."""
        ...


class Held:
    """A split whose sequences [S,R] lie in memory, in whatever type keeps them small."""

    def __init__(self, sequences: Sequence[Tensor]) -> None:
        self.sequences = sequences
        self.lengths: Sequence[int] = [len(sequence) for sequence in sequences]

    def rows(self, index: int, start: int, stop: int) -> Tensor:
        return self.sequences[index][start:stop].float()


Prepare = Callable[[Tensor, Tensor, torch.Generator], Steps]  # raw f32[B,S,R], mask bool[B,S], noise


@dataclass(frozen=True)
class Source:
    """Sequences to model: what they are, their splits, and how the figures are to be read."""

    name: str  # as in the results, e.g. "speech"
    inputs: int  # C, of the context
    outputs: int  # D, of the target
    unit: str  # of nll_per_dim, in words
    splits: Mapping[str, Split]  # train, validation, test
    prepare: Prepare
    scale: Any  # a frozen dataclass of numbers that turns targets back into the native form
    batch: int  # sequences (or segments) of a training step
    length: int | None = None  # rows of a training segment; None: whole sequences
    overlap: int = 0  # rows that neighbouring segments share
    alike: int = 1  # so many batches of an epoch are sorted by length among themselves: less padding, as much chance
    floor: float | None = None  # nll_per_dim below which no model can go, where it is known
    about: Mapping[str, Any] = field(default_factory=dict)  # counts and settings, for the record
    figures: Callable[[float], dict[str, float]] = lambda nll: {}  # nll_per_dim in the other units of the field


def shifted(target: Tensor) -> Tensor:
    """The previous target as context (teacher forcing), zeros before the first: f32[B,T,D] -> f32[B,T,D]."""
    return torch.cat([torch.zeros_like(target[:, :1]), target[:, :-1]], 1)


def split_names(names: Sequence[str], shares: tuple[float, float] = (0.1, 0.1)) -> dict[str, list[int]]:
    """Places of the names of train, validation and test, each ascending: the same for the same names, always.

    Every name is ranked by a hash of its own, so that the order of a directory plays no part. Validation and test get
    their shares, one name at least; raises ValueError for fewer than three names.
    """
    if len(names) < 3:
        raise ValueError(f"{len(names)} files or episodes cannot make train, validation and test: give at least 3")
    ranked = sorted(range(len(names)), key=lambda i: (derive(0, "split", names[i]), names[i]))
    held, test = (max(1, round(share * len(names))) for share in shares)
    parts = {TEST: ranked[:test], VALIDATION: ranked[test : test + held], TRAIN: ranked[test + held :]}
    return {name: sorted(parts[name]) for name in (TRAIN, VALIDATION, TEST)}
