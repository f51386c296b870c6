"""The layers that turn a trunk's features into the parameters of a mixture."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from .factorized import FactorizedMixture
from .low_rank import FACTOR_BOUND, LowRank
from .mixture import GaussianMixture
from .precision import LOG_BOUND, Diagonal, bounded

HeadPrecision = Literal["diagonal", "low_rank", "low_rank_free"]
LOG_STRENGTH_BOUND = 3.0  # strengths of e^-3 to e^3 times the directions
FREE_SCALE = 0.1


class MixtureHead(nn.Module):
    """Linear layers from features [*B,F] to the parameters of a `GaussianMixture` over D = event dimensions.

    Arguments are not checked at every step: what it makes is in range, and a NaN is for the training loop to notice.

    Args:
        features: F.
        event: D.
        components: K.
        precision: "diagonal"; "low_rank" (`Directions`: D + U U^T, the R directions of each component learned once, and
            how strongly each counts said by the features); or "low_rank_free", every number of U said by the features
            (`FreeFactor`). For a semi-tied precision put `flows.Linear` before "diagonal".
        rank: R, read with the low ranks only.

    >>> from frmdn.density import MixtureHead
    >>> head = MixtureHead(features=8, event=2, components=3, precision="low_rank", rank=1)
    >>> head(torch.zeros(4, 8)).sample().shape
    torch.Size([4, 2])
    """

    def __init__(
        self, features: int, event: int, components: int = 5, precision: HeadPrecision = "diagonal", rank: int = 4
    ) -> None:
        super().__init__()
        if precision not in ("diagonal", "low_rank", "low_rank_free"):
            raise ValueError(f"precision must be diagonal, low_rank or low_rank_free, not {precision!r}")
        if min(event, components, rank) < 1:
            raise ValueError(f"event {event}, components {components} and rank {rank} must be at least 1")
        self.event, self.components = event, components
        # Logits apart: with K more columns the rows of the large product lose their alignment, and it half its speed.
        self.logits = nn.Linear(features, components)
        self.linear = nn.Linear(features, 2 * components * event)
        kinds = {"low_rank": Directions, "low_rank_free": FreeFactor}
        self.factor = kinds[precision](features, event, components, rank) if precision in kinds else None

    def forward(self, features: Tensor) -> GaussianMixture:
        raw = self.linear(features).unflatten(-1, (2, self.components, self.event))
        loc, log = raw.unbind(-3)
        precision = Diagonal.from_log(bounded(log)) if self.factor is None else self.factor(features, bounded(log))
        return GaussianMixture(self.logits(features), loc, precision, validate_args=False)


class Directions(nn.Module):
    """U_k(h) = D_k(h)^1/2 V_k diag(g_k(h)): directions V_k [D,R] learned once, strengths g_k(h) said by the features.

    Against a factor that is all said by the features it has R and not R D outputs a component, costs a fraction, and
    starts no worse than a diagonal and ends no worse, where the other stays above it (docs/notes/density.md).
    It starts with |V_kr| about 1/2: at 0 the gradients of V and g would vanish.
    """

    def __init__(self, features: int, event: int, components: int, rank: int) -> None:
        super().__init__()
        self.whitened = nn.Parameter(torch.randn(components, rank, event) * (0.5 / event**0.5))
        self.strength = nn.Linear(features, components * rank)
        nn.init.zeros_(self.strength.weight)
        nn.init.zeros_(self.strength.bias)

    def forward(self, features: Tensor, log: Tensor) -> LowRank:
        """Features [*B,F] and log diagonal [*B,K,D] -> a precision."""
        strength = bounded(self.strength(features), LOG_STRENGTH_BOUND).exp()
        whitened = bounded(self.whitened, FACTOR_BOUND * math.exp(-LOG_STRENGTH_BOUND))
        return LowRank.from_log(log, whitened, strength.unflatten(-1, self.whitened.shape[:2]))


class FreeFactor(nn.Module):
    """U_k(h) = D_k(h)^1/2 V_k(h), every number of V_k(h) said by the features.

    Under Adam all outputs of a layer move at one speed, and R D numbers that move at the speed of a mean drown the
    diagonal in noise: the factor is therefore a tenth of what its layer says.
    """

    def __init__(self, features: int, event: int, components: int, rank: int) -> None:
        super().__init__()
        self.shape = (components, rank, event)
        self.linear = nn.Linear(features, components * rank * event)

    def forward(self, features: Tensor, log: Tensor) -> LowRank:
        """Features [*B,F] and log diagonal [*B,K,D] -> a precision."""
        whitened = (FREE_SCALE * self.linear(features)).clamp(-FACTOR_BOUND, FACTOR_BOUND)
        return LowRank.from_log(log, whitened.unflatten(-1, self.shape))


class FactorizedHead(nn.Module):
    """One linear layer from features [*B,F] to the parameters of a `FactorizedMixture` over D = event dimensions.

    >>> from frmdn.density import FactorizedHead
    >>> FactorizedHead(features=8, event=2, components=3)(torch.zeros(4, 8)).log_prob(torch.zeros(4, 2)).shape
    torch.Size([4])
    """

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
