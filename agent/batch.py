"""The carriers that every model consumes and produces: a batch of sequences in, a loss with named parts out."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True)
class SequenceBatch:
    """Latent sequences, right-padded to one length. Transition t: latent t, action t -> reward t, end t, latent t+1."""

    latents: Tensor  # f32[B,T+1,Z]
    actions: Tensor  # f32[B,T,A]
    rewards: Tensor  # f32[B,T]
    ends: Tensor  # f32[B,T], 1 where the transition terminated the episode (truncation is not an end)
    mask: Tensor  # bool[B,T], False where the transition is padding

    def __post_init__(self) -> None:
        b, t = self.mask.shape
        for name, tensor, shape in (
            ("latents", self.latents, (b, t + 1)),
            ("actions", self.actions, (b, t)),
            ("rewards", self.rewards, (b, t)),
            ("ends", self.ends, (b, t)),
        ):
            if tuple(tensor.shape[:2]) != shape:
                raise ValueError(f"{name} has shape {tuple(tensor.shape)}, but mask {(b, t)} asks for {shape} in front")

    def to(self, device: torch.device | str) -> SequenceBatch:
        return SequenceBatch(*(getattr(self, field.name).to(device) for field in fields(self)))


@dataclass(frozen=True)
class Loss:
    """A scalar to minimise, and its parts for people to read."""

    total: Tensor  # f32[], with gradient
    parts: dict[str, float | Tensor]  # detached scalars, in the order in which they should be shown
