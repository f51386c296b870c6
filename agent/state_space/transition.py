"""Where the next state comes from: z' = mean(z, u) + factor(z, u) w with noise w ~ N(0, I)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..density.networks import MLP
from ..density.precision import bounded

SCALE_BOUND = 3.0  # |log scale| of the Gaussian transition, around START
START = 0.1  # standard deviation of the noise in z before training


class Step(NamedTuple):
    """The next state as a function of the noise: z' = mean + factor w."""

    mean: Tensor  # [B,Z]
    factor: Tensor  # [B,Z,W], or [B,Z] where the noise is as large as the state and each number has its own

    def at(self, noise: Tensor) -> Tensor:
        """The state [B,Z] that noise [B,W] leads to."""
        if self.factor.ndim == noise.ndim:
            return torch.addcmul(self.mean, self.factor, noise)
        return torch.baddbmm(self.mean.unsqueeze(-1), self.factor, noise.unsqueeze(-1)).squeeze(-1)


class LocallyLinear(nn.Module):
    """z' = A z + B u + C w, with (A, B, C) = sum_i alpha_i(z, u) (A_i, B_i, C_i) and alpha = softmax(network(z, u)).

    Karl et al. 2017, Deep Variational Bayes Filters, equations 8 to 10. All A_i start near the identity. Whatever is
    multiplied by z stands in one matrix, so that a step of the walk through time takes one product for all of it: its
    first columns are the network's, the others A_1 .. A_M; those of u alike.
    """

    def __init__(self, latent: int, control: int, noise: int, matrices: int = 16, hidden: int = 64) -> None:
        super().__init__()
        self.latent, self.noise, self.inner = latent, noise, hidden or matrices
        first = nn.Linear(latent + control, self.inner)
        moves = 0.05 * torch.randn(matrices, latent + control, latent)
        moves[:, :latent] += torch.eye(latent)
        joint = torch.cat((first.weight.detach().T, moves.permute(1, 0, 2).flatten(1)), 1)  # [Z+A,inner+M*Z]
        self.of_state, self.of_control = (nn.Parameter(part.clone()) for part in joint.split((latent, control)))
        self.bias = nn.Parameter(first.bias.detach().clone())
        self.mix = nn.Sequential(nn.LeakyReLU(), nn.Linear(hidden, matrices)) if hidden else nn.Identity()
        stirs = START * torch.eye(latent, noise).expand(matrices, -1, -1) + 0.01 * torch.randn(matrices, latent, noise)
        self.stirs = nn.Parameter(stirs.reshape(matrices, latent * noise))  # C_i

    def steer(self, u: Tensor) -> Tensor:
        """What controls [*,A] do, whatever the state: [*,inner+M*Z], for all times at once."""
        return u @ self.of_control + functional.pad(self.bias, (0, self.of_control.shape[1] - self.inner))

    def forward(self, z: Tensor, steered: Tensor) -> Step:
        """States [B,Z] and steered controls -> the step that they make."""
        both = torch.addmm(steered, z, self.of_state)
        inner, ends = both.tensor_split((self.inner,), -1)
        alpha = torch.softmax(self.mix(inner), -1)  # [B,M]
        ends = ends.unflatten(-1, (-1, self.latent))  # [B,M,Z], where each matrix alone would lead
        mean = torch.bmm(alpha.unsqueeze(1), ends).squeeze(1)
        return Step(mean, (alpha @ self.stirs).view(len(z), self.latent, self.noise))


class GaussianTransition(nn.Module):
    """p(z' | z, u) = N(z + m(z, u), s(z, u)^2), one network for both: the transition of the plain baseline."""

    def __init__(self, latent: int, control: int, hidden: int = 64) -> None:
        super().__init__()
        self.steer = nn.Linear(control, hidden, bias=False)  # [*,A] -> [*,H], for all times at once
        self.network = MLP(latent, 2 * latent, (hidden, hidden))
        nn.init.zeros_(self.network.last.weight)
        nn.init.zeros_(self.network.last.bias)

    def forward(self, z: Tensor, steered: Tensor) -> Step:
        """States [B,Z] and steered controls [B,H] -> the step that they make."""
        move, scale = self.network(z, steered).chunk(2, -1)
        return Step(z + move, START * torch.exp(bounded(scale, SCALE_BOUND)))
