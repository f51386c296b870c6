"""The layers that turn a trunk's features into the parameters of a mixture."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from .factorized import FactorizedMixture
from .mixture import GaussianMixture
from .precision import FACTOR_BOUND, LOG_BOUND, Diagonal, LowRank, bounded


class MixtureHead(nn.Module):
    """Linear layers from features [*B,F] to the parameters of a `GaussianMixture` over D = event dimensions.

    `rank` is read with precision "low_rank" only. For a semi-tied precision put `flows.Linear` behind "diagonal".
    Arguments are not checked at every step: what it makes is in range, and a NaN is for the training loop to notice.
    """

    def __init__(
        self,
        features: int,
        event: int,
        components: int = 5,
        precision: Literal["diagonal", "low_rank"] = "diagonal",
        rank: int = 4,
    ) -> None:
        super().__init__()
        if precision not in ("diagonal", "low_rank"):
            raise ValueError(f"precision must be diagonal or low_rank, not {precision!r}")
        if min(event, components, rank) < 1:
            raise ValueError(f"event {event}, components {components} and rank {rank} must be at least 1")
        self.event, self.components = event, components
        self.rank = rank if precision == "low_rank" else 0
        # Logits apart: with K more columns the rows of the large product lose their alignment, and it half its speed.
        self.logits = nn.Linear(features, components)
        self.linear = nn.Linear(features, components * event * (2 + self.rank))
        if self.rank:
            self._shrink_factor()

    def forward(self, features: Tensor) -> GaussianMixture:
        logits = self.logits(features)
        loc, log, *factor = self._split(self.linear(features))
        if not self.rank:
            return GaussianMixture(logits, loc, Diagonal.from_log(bounded(log)), validate_args=False)
        whitened = factor[0].clamp(-FACTOR_BOUND, FACTOR_BOUND)  # not tanh: many numbers, and far from the bound
        return GaussianMixture(logits, loc, LowRank.from_log(bounded(log), whitened), validate_args=False)

    def _split(self, raw: Tensor) -> list[Tensor]:
        """[*,outputs] -> loc [*,K,D], log precision [*,K,D] and, with a rank, factor [*,K,R,D]."""
        k, d, r = self.components, self.event, self.rank
        loc, log, *factor = raw.split([k * d, k * d] + ([k * r * d] if r else []), -1)
        parts = [loc.unflatten(-1, (k, d)), log.unflatten(-1, (k, d))]
        return parts + [part.unflatten(-1, (k, r, d)) for part in factor]

    def _shrink_factor(self) -> None:
        """Start almost diagonal; not at 0, where the gradient of the factor vanishes."""
        first = 2 * self.components * self.event
        with torch.no_grad():
            self.linear.weight[first:] *= 0.01
            self.linear.bias[first:] *= 0.1


class FactorizedHead(nn.Module):
    """One linear layer from features [*B,F] to the parameters of a `FactorizedMixture` over D = event dimensions."""

    def __init__(self, features: int, event: int, components: int = 5) -> None:
        super().__init__()
        if min(event, components) < 1:
            raise ValueError(f"event {event} and components {components} must be at least 1")
        self.event, self.components = event, components
        self.linear = nn.Linear(features, 3 * event * components)

    def forward(self, features: Tensor) -> FactorizedMixture:
        raw = self.linear(features).unflatten(-1, (3, self.event, self.components))
        logits, loc, log_scale = raw.unbind(-3)
        scale = bounded(log_scale, LOG_BOUND / 2).exp()  # the range of a Diagonal precision's deviations
        return FactorizedMixture(logits, loc, scale, validate_args=False)
