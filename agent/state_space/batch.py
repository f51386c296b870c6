"""The carrier of the state-space models: whole trajectories of one length."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Trajectories(NamedTuple):
    """B trajectories of T steps. Transition t: observation t, control t -> reward t, observation t+1."""

    observations: Tensor  # f32[B,T+1,D]
    controls: Tensor  # f32[B,T,A]
    rewards: Tensor  # f32[B,T]
    kl_weight: float = 1.0  # of the KL in the loss: other than 1 while the bound is annealed

    def to(self, device: torch.device) -> Trajectories:
        observations, controls, rewards = (part.to(device) for part in self[:3])
        return Trajectories(observations, controls, rewards, self.kl_weight)

    def rows(self, rows: Tensor | slice) -> Trajectories:
        """Some of the trajectories: rows i64[N] or a slice."""
        return Trajectories(self.observations[rows], self.controls[rows], self.rewards[rows], self.kl_weight)
