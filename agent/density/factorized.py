"""One mixture of Gaussians for each dimension: the density that the code of World Models trains."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from .mixture import check_temperature, choose, draw
from .shapes import check_value


class FactorizedMixture(Distribution):
    """p(x) = prod_d sum_k softmax(logits_d)_k N(x_d; loc_dk, scale_dk^2): the dimensions do not know of each other.

    World Models (Ha and Schmidhuber 2018) trains this one. It stands for K^D combinations, but cannot say that two
    dimensions move together, as the joint `GaussianMixture` can.

    Args:
        logits: [*B,D,K], logarithms of weights that need not sum to 1.
        loc: [*B,D,K], means.
        scale: [*B,D,K] > 0, standard deviations. The three broadcast.
        validate_args: check parameters and values; None: as torch.distributions is set.

    >>> from frmdn.density import FactorizedMixture
    >>> mixture = FactorizedMixture(torch.zeros(2, 5), torch.zeros(2, 5), torch.ones(2, 5))  # D = 2, K = 5
    >>> mixture.log_prob(torch.zeros(2))  # -log(2 pi), for here both dimensions are standard normal
    tensor(-1.8379)
    """

    arg_constraints: dict[str, Any] = {  # noqa: RUF012  (torch's own class attribute)
        "logits": constraints.independent(constraints.real, 2),
        "loc": constraints.independent(constraints.real, 2),
        "scale": constraints.independent(constraints.positive, 2),
    }
    support = constraints.real_vector

    def __init__(self, logits: Tensor, loc: Tensor, scale: Tensor, validate_args: bool | None = None) -> None:
        self.logits, self.loc, self.scale = torch.broadcast_tensors(logits, loc, scale)
        super().__init__(self.loc.shape[:-2], self.loc.shape[-2:-1], validate_args=validate_args)

    def log_prob(self, value: Tensor) -> Tensor:
        """Natural logarithm of the density at value [*S,*B,D]: [*S,*B], nats per vector."""
        check_value(value, self.batch_shape, self.event_shape[0])
        if self._validate_args:
            self._validate_sample(value)
        error = (value.unsqueeze(-1) - self.loc) / self.scale
        components = self.logits - self.scale.log() - 0.5 * error.square()
        each = torch.logsumexp(components, -1) - torch.logsumexp(self.logits, -1)
        return each.sum(-1) - 0.5 * self.event_shape[0] * math.log(2 * math.pi)

    def sample(
        self,
        sample_shape: Sequence[int] = (),
        *,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Samples [*sample_shape,*B,D]; temperature tau > 0 divides the logits and multiplies the variances."""
        check_temperature(temperature)
        with torch.no_grad():
            shape = (*sample_shape, *self.batch_shape, *self.event_shape)
            component = choose(self.logits, draw(torch.rand, (*shape, 1), self.logits, generator), temperature)
            loc, scale = self._of(self.loc, component), self._of(self.scale, component)
            return loc + draw(torch.randn, shape, self.loc, generator) * scale * temperature**0.5

    has_rsample = True

    def rsample(
        self,
        sample_shape: Sequence[int] = (),
        *,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Samples [*sample_shape,*B,D] with a gradient for every parameter, by implicit differentiation.

        A sample x_d has F_d(x_d) = u with the distribution function F_d and a u that no parameter moves, hence
        dx_d = -dF_d(x_d) / p_d(x_d) (Figurnov et al. 2018, eq. 5). The dimensions are independent, so each has its own.
        """
        x = self.sample(sample_shape, temperature=temperature, generator=generator)
        logits, scale = self.logits / temperature, self.scale * temperature**0.5
        error = (x.unsqueeze(-1) - self.loc) / scale
        below = (torch.softmax(logits, -1) * 0.5 * torch.erfc(-error / math.sqrt(2))).sum(-1)  # F
        density = torch.exp(-0.5 * error.detach().square()) / (scale.detach() * math.sqrt(2 * math.pi))
        density = (torch.softmax(logits.detach(), -1) * density).sum(-1)
        moved = (below - below.detach()) / density.clamp_min(torch.finfo(density.dtype).tiny)
        return x - moved

    def _of(self, parameter: Tensor, component: Tensor) -> Tensor:
        """The chosen components' parameters: [*B,D,K] and i64[*S,*B,D] -> [*S,*B,D]."""
        wide = parameter.expand(*component.shape, parameter.shape[-1])
        return wide.gather(-1, component.unsqueeze(-1)).squeeze(-1)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> FactorizedMixture:
        """The same density for every row of a larger batch; no numbers are copied."""
        logits, loc, scale = (p.expand(*batch_shape, *p.shape[-2:]) for p in (self.logits, self.loc, self.scale))
        larger = FactorizedMixture(logits, loc, scale, validate_args=False)
        larger._validate_args = self._validate_args  # parameters that were checked once need no second look
        return larger

    @property
    def mean(self) -> Tensor:
        """[*B,D]."""
        return (torch.softmax(self.logits, -1) * self.loc).sum(-1)

    @property
    def variance(self) -> Tensor:
        """[*B,D]: within plus between components."""
        between = (self.loc - self.mean.unsqueeze(-1)).square()
        return (torch.softmax(self.logits, -1) * (self.scale.square() + between)).sum(-1)

    def variance_through(self, matrix: Tensor) -> Tensor:
        """The variance of each dimension of M x [*B,E], for M [E,D], or [*B,E,D]: x has independent dimensions."""
        return (self.variance.unsqueeze(-2) @ matrix.square().mT).squeeze(-2)

    @property
    def mode(self) -> Tensor:
        """Of each dimension, the mean of its most likely component [*B,D]."""
        return self._of(self.loc, self.logits.argmax(-1))

    def __repr__(self) -> str:
        event, components = self.loc.shape[-2:]
        return f"FactorizedMixture(batch={tuple(self.batch_shape)}, components={components}, event={event})"
