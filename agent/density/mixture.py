"""Mixtures of Gaussians with structured precisions, and the layer that turns features into one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from .precision import FACTOR_BOUND, Diagonal, LowRank, Precision, bounded, take


class GaussianMixture(Distribution):
    """p(x) = sum_k softmax(logits)_k N(x; loc_k, P_k^-1), jointly over the D dimensions of x.

    logits [*B,K], loc [*B,K,D], precision of components [*B,K]. A component axis of size 1 ties that parameter.
    Densities may exceed 1, so negative log likelihoods below 0 are no fault.
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012  (torch's own class attribute)

    def __init__(self, logits: Tensor, loc: Tensor, precision: Precision) -> None:
        if precision.event != loc.shape[-1]:
            raise ValueError(
                f"precision has {precision.event} dimensions, but loc has {loc.shape[-1]}: make them equal"
            )
        self.logits, self.loc, self.precision = logits, loc, precision
        super().__init__(logits.shape[:-1], loc.shape[-1:], validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        """Natural logarithm of the joint density at value [*S,*B,D]: [*S,*B], nats per vector."""
        components = self.precision.log_density(value.unsqueeze(-2) - self.loc)
        return torch.logsumexp(self.logits + components, -1) - torch.logsumexp(self.logits, -1)

    def sample(
        self,
        sample_shape: Sequence[int] = (),
        *,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Samples [*sample_shape,*B,D]; temperature tau > 0 divides the logits and multiplies the variances.

        Chooses a component first (inverse CDF, one uniform number), then draws from that component only.
        """
        if not temperature > 0:
            raise ValueError(f"temperature must be above 0, not {temperature}: use mode for the point prediction")
        with torch.no_grad():
            shape = (*sample_shape, *self.batch_shape)
            chances = torch.softmax(self.logits / temperature, -1).cumsum(-1)[..., :-1]  # the last is 1: no test needed
            component = (_draw(torch.rand, (*shape, 1), self.loc, generator) >= chances).sum(-1)
            precision = self.precision.select(component)
            normal = _draw(torch.randn, (*shape, 1, precision.noise), self.loc, generator)
            deviation = precision.colour(normal) * temperature**0.5
            return (take(self.loc, component) + deviation).squeeze(-2)

    @property
    def mean(self) -> Tensor:
        """[*B,D]."""
        return (torch.softmax(self.logits, -1).unsqueeze(-1) * self.loc).sum(-2)

    @property
    def variance(self) -> Tensor:
        """Variance of each dimension [*B,D]: within plus between components."""
        weights = torch.softmax(self.logits, -1).unsqueeze(-1)
        between = (self.loc - self.mean.unsqueeze(-2)).square()
        return (weights * (self.precision.variance() + between)).sum(-2)

    @property
    def mode(self) -> Tensor:
        """The mean of the most likely component [*B,D]: a point prediction that never falls between two modes."""
        return take(self.loc, self.logits.argmax(-1)).squeeze(-2).expand(*self.batch_shape, -1)


class MixtureHead(nn.Module):
    """Linear layers from features [*B,F] to the parameters of a `GaussianMixture` over D = event dimensions.

    `rank` is read with precision "low_rank" only. For a semi-tied precision put `flows.Linear` behind "diagonal".
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
            return GaussianMixture(logits, loc, Diagonal.from_log(bounded(log)))
        whitened = factor[0].clamp(-FACTOR_BOUND, FACTOR_BOUND)  # not tanh: many numbers, and far from the bound
        return GaussianMixture(logits, loc, LowRank.from_log(bounded(log), whitened))

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


def _draw(source: Any, shape: Sequence[int], like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Random numbers drawn where the generator lives, moved to where they are needed."""
    device = like.device if generator is None else generator.device
    return source(shape, generator=generator, dtype=like.dtype, device=device).to(like.device)
