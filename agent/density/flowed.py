"""The density of y when u = f(y) has a simple one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from .flows.flow import Flow, Identity
from .scale import Scale
from .shapes import check_finite, check_mask, check_value


class FlowedDistribution(Distribution):
    """The density of y whose image u = f(y) has a mixture: log p(y) = log p_base(f(y)) + log|det df/dy|.

    >>> from frmdn.density import Diagonal, FlowedDistribution, GaussianMixture, Linear
    >>> base = GaussianMixture(torch.zeros(3), torch.randn(3, 2), Diagonal(torch.ones(3, 2)))
    >>> density = FlowedDistribution(base, Linear(2))
    >>> density.log_prob(torch.zeros(7, 2)).shape, density.stddev.shape
    (torch.Size([7]), torch.Size([2]))

    Args:
        base: the mixture in flow space, over [*B,D].
        flow: f.
        context: [*B,F] for a flow that needs it.
        scale: standardises y before it meets the flow, and counts in the Jacobian; the flow and the mixture then work
            in units of deviations. None: y as it is.

    >>> from frmdn.density import Diagonal, FlowedDistribution, GaussianMixture, Standardize
    >>> standard = GaussianMixture(torch.zeros(1), torch.zeros(1, 1), Diagonal(torch.ones(1, 1)))
    >>> density = FlowedDistribution(standard, Standardize(mean=torch.tensor([3.0]), scale=torch.tensor([2.0])))
    >>> density.log_prob(torch.tensor([3.0]))  # -log(2 sqrt(2 pi))
    tensor(-1.6121)
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012  (torch's own class attribute)
    support = constraints.real_vector

    def __init__(
        self,
        base: Any,
        flow: Flow,
        context: Tensor | None = None,
        validate_args: bool | None = None,
        scale: Scale | None = None,
    ) -> None:
        self.flow, self.context, self.scale = flow, context if flow.context else None, scale
        if flow.context and context is None:
            raise ValueError(
                f"context is missing: the flow was built for {flow.context} features; pass [*B,{flow.context}]"
            )
        if self.context is not None:  # rows that differ in the context alone are rows too
            rows = torch.broadcast_shapes(base.batch_shape, self.context.shape[:-1])
            base = base if base.batch_shape == rows else base.expand(rows)
        self.base = base
        super().__init__(base.batch_shape, base.event_shape, validate_args=validate_args)

    def log_prob(self, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """Log density at y [*S,*B,D]: [*S,*B], nats per vector.

        Args:
            value: y. An axis of size 1 among *S,*B stands for all rows; [D] alone is one point for all.
            mask: bool[*S,*B], True where the row counts. The other rows may hold anything, also NaN: they give 0 and
                no gradient. The mean over what counts is then `log_prob(y, mask).sum() / mask.sum()`.

        Raises:
            ValueError: the shapes do not fit, or a row that counts has NaN or infinity.
        """
        check_value(value, self.batch_shape, self.event_shape[0])
        check_mask("value", mask, value.shape[:-1])
        if mask is not None:  # a missing row becomes 0 before any arithmetic: not even its gradient is NaN
            value = value.masked_fill(~mask.unsqueeze(-1), 0.0)
        if self._validate_args:
            self._validate_sample(value)
        check_finite("value", value)
        if self.scale is not None:
            if value.shape[:-1] == self.batch_shape:  # a batch of a training, and not a grid or samples
                self.scale.settle("value", value, mask)
            value, constant = self.scale(value)
        if self.scale is not None and mask is not None:  # 0 may lie far from the data: their mean does not
            value = value.masked_fill(~mask.unsqueeze(-1), 0.0)
        u, log_det = self.flow(value, self.context)
        found = self.base.log_prob(u) + log_det
        found = found if self.scale is None else found + constant
        return found if mask is None else torch.where(mask, found, torch.zeros_like(found))

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
            return self._back(u)

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        """Whether `rsample` is there: as the base has it."""
        return bool(self.base.has_rsample)

    def rsample(
        self,
        sample_shape: Sequence[int] = (),
        *,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Samples with a gradient, behind any flow, where the base has them; NotImplementedError says why not."""
        return self._back(self.base.rsample(sample_shape, temperature=temperature, generator=generator))

    @property
    def noise(self) -> int:
        """How many standard normal numbers `sample_from` takes for one sample."""
        return int(self.base.noise)

    def sample_from(self, uniform: Tensor, normal: Tensor, temperature: float = 1.0) -> Tensor:
        """The samples y [*S,*B,D] that random numbers make, as the base's `sample_from` reads them."""
        with torch.no_grad():
            return self._back(self.base.sample_from(uniform, normal, temperature))

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> FlowedDistribution:
        """The same density for every row of a larger batch."""
        context = self.context
        if context is not None:
            context = context.expand(*batch_shape, context.shape[-1])
        base = self.base.expand(batch_shape)
        return FlowedDistribution(base, self.flow, context, self._validate_args, self.scale)

    @property
    def mode(self) -> Tensor:
        """The point that the flow maps to the mean of the most likely component [*B,D]: the point prediction."""
        return self._back(self.base.mode)

    @property
    def mean(self) -> Tensor:
        """The mean [*B,D] behind an affine flow; no other flow has one in closed form, and there it is `mode`."""
        return self._back(self.base.mean) if self.flow.affine else self.mode

    @property
    def variance(self) -> Tensor:
        """The variance of each dimension [*B,D], exact behind an affine flow (`stddev` is its root).

        With y = M u + b it is diag(M Cov(u) M^T), Cov(u) that of the mixture. NotImplementedError behind a curved flow.
        """
        if not self.flow.affine:
            raise NotImplementedError(
                f"the variance has no closed form behind the curved flow {type(self.flow).__name__}: estimate it, "
                "distribution.sample((1000,)).var(0)"
            )
        plain = isinstance(self.flow, Identity)
        variance = self.base.variance if plain else self.base.variance_through(self._matrix())
        return variance if self.scale is None else variance * torch.exp(2 * self.scale.log_scale)

    def _matrix(self) -> Tensor:
        """M of the affine flow's inverse y = M u + b: [D,D], or [*B,D,D] where it depends on the context.

        As a derivative, so that a large b costs no digits.
        """
        like: Tensor = self.base.mean
        zero = like.new_zeros(like.shape if self.context is not None else like.shape[-1:])
        unit = torch.eye(like.shape[-1], dtype=like.dtype, device=like.device)

        def column(direction: Tensor) -> Tensor:
            moved = torch.func.jvp(lambda u: self.flow.inverse(u, self.context), (zero,), (direction.expand_as(zero),))
            return moved[1]

        return torch.func.vmap(column, out_dims=-1)(unit)

    def _back(self, u: Tensor) -> Tensor:
        y = self.flow.inverse(u, self.context)
        return y if self.scale is None else self.scale.inverse(y)

    def __repr__(self) -> str:
        return f"FlowedDistribution({self.base!r}, {type(self.flow).__name__})"
