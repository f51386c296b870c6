"""How states become observations: p(x | z) = N(g(z), s^2)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..density.networks import MLP

FLOOR = 1e-3  # least standard deviation: without one, a number that never changes would have an infinite density
START = 0.2  # standard deviation before training
PACE = 10.0  # one number's share of the log scale: Adam moves every parameter alike, and this one has far to go


class Emission(nn.Module):
    """A network for the mean, and a learned standard deviation of every observed number, or one for them all."""

    def __init__(self, latent: int, observation: int, hidden: int, shared: bool = False) -> None:
        super().__init__()
        self.mean = MLP(latent, observation, (hidden, hidden) if hidden else ())
        self.raw = nn.Parameter(torch.zeros(1 if shared else observation))

    @property
    def scale(self) -> Tensor:
        """s [D], or [1] where it is shared."""
        return FLOOR + START * torch.exp(PACE * self.raw)

    def forward(self, z: Tensor) -> Tensor:
        """The mean observation [*,D] of states [*,Z]."""
        mean: Tensor = self.mean(z)
        return mean

    def log_prob(self, z: Tensor, x: Tensor) -> Tensor:
        """log p(x | z) [*], nats per observation, of states [*,Z] and observations [*,D]."""
        error = (x - self(z)) / self.scale
        log_scale = self.scale.log().expand(x.shape[-1])
        return -0.5 * (error.square().sum(-1) + x.shape[-1] * math.log(2 * math.pi)) - log_scale.sum()
