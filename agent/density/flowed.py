"""The density of y when u = f(y) has a simple one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from .flows.flow import Flow


class FlowedDistribution(Distribution):
    """The density of y whose image u = f(y) has a mixture: log p(y) = log p_base(f(y)) + log|det df/dy|.

    Args:
        base: the mixture in flow space, over [*B,D].
        flow: f.
        context: [*B,F] for a flow that needs it.

    >>> from frmdn.density import Diagonal, FlowedDistribution, GaussianMixture, Standardize
    >>> standard = GaussianMixture(torch.zeros(1), torch.zeros(1, 1), Diagonal(torch.ones(1, 1)))
    >>> density = FlowedDistribution(standard, Standardize(mean=torch.tensor([3.0]), scale=torch.tensor([2.0])))
    >>> density.log_prob(torch.tensor([3.0]))  # -log(2 sqrt(2 pi))
    tensor(-1.6121)
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012  (torch's own class attribute)
    support = constraints.real_vector

    def __init__(self, base: Any, flow: Flow, context: Tensor | None = None, validate_args: bool | None = None) -> None:
        self.flow, self.context = flow, context if flow.context else None
        if flow.context and context is None:
            raise ValueError(
                f"context is missing: the flow was built for {flow.context} features; pass [*B,{flow.context}]"
            )
        if self.context is not None:  # rows that differ in the context alone are rows too
            rows = torch.broadcast_shapes(base.batch_shape, self.context.shape[:-1])
            base = base if base.batch_shape == rows else base.expand(rows)
        self.base = base
        super().__init__(base.batch_shape, base.event_shape, validate_args=validate_args)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density at y [*S,*B,D]: [*S,*B], nats per vector."""
        if self._validate_args:
            self._validate_sample(value)
        u, log_det = self.flow(value, self.context)
        return self.base.log_prob(u) + log_det

    def sample(
        self,
        sample_shape: Sequence[int] = (),
        *,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Samples y [*sample_shape,*B,D]: the flow backwards; the temperature acts in flow space."""
        with torch.no_grad():
            u = self.base.sample(sample_shape, temperature=temperature, generator=generator)
            return self.flow.inverse(u, self.context)

    @property
    def noise(self) -> int:
        """How many standard normal numbers `sample_from` takes for one sample."""
        return int(self.base.noise)

    def sample_from(self, uniform: Tensor, normal: Tensor, temperature: float = 1.0) -> Tensor:
        """The samples y [*S,*B,D] that random numbers make, as the base's `sample_from` reads them."""
        with torch.no_grad():
            return self.flow.inverse(self.base.sample_from(uniform, normal, temperature), self.context)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> FlowedDistribution:
        """The same density for every row of a larger batch."""
        context = self.context
        if context is not None:
            context = context.expand(*batch_shape, context.shape[-1])
        return FlowedDistribution(self.base.expand(batch_shape), self.flow, context, self._validate_args)

    @property
    def mode(self) -> Tensor:
        """The point that the flow maps to the mean of the most likely component [*B,D]: the point prediction."""
        return self.flow.inverse(self.base.mode, self.context)

    @property
    def mean(self) -> Tensor:
        """The mean [*B,D] behind an affine flow; no other flow has one in closed form, and there it is `mode`."""
        return self.flow.inverse(self.base.mean, self.context) if self.flow.affine else self.mode

    def __repr__(self) -> str:
        return f"FlowedDistribution({self.base!r}, {type(self.flow).__name__})"
