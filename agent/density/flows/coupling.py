"""Coupling flows: one half of the vector says how the other half is bent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from ..networks import MLP, Conditioner
from ..precision import bounded
from .flow import Chain, Flow
from .spline import rational_quadratic

LOG_SCALE_BOUND = 2.0  # one block scales by e^-2 to e^2: enough, and the inverse stays accurate in float32


class Conditioned(Flow):
    """A flow whose parameters come from a conditioner, which may see the context as well.

    The conditioner's last layer starts at 0, so that the flow starts as the identity.
    """

    def __init__(self, conditioner: Conditioner, context: int = 0) -> None:
        super().__init__()
        if context < 0:
            raise ValueError(f"context must be a number of features, 0 for none, not {context}")
        self.context, self.conditioner = context, conditioner
        nn.init.zeros_(conditioner.last.weight)
        nn.init.zeros_(conditioner.last.bias)
        # Projected apart and added: a context [*B,F] then serves any number of samples [*S,*B,D] at no cost.
        self.given = nn.Linear(context, conditioner.width, bias=False) if context else None

    def raw(self, y: Tensor, context: Tensor | None) -> Tensor:
        """The conditioner's output for y [*,inputs]: [*,outputs]."""
        if self.given is None:
            return self.conditioner(y)
        if context is None:
            raise ValueError(
                f"context is missing: this flow was built for {self.context} features; pass [*B,{self.context}]"
            )
        return self.conditioner(y, self.given(context))


class _Halves(Conditioned):
    """What the coupling flows share: which half passes, and how many numbers bend each element of the other."""

    def __init__(self, event: int, per_element: int, hidden: Sequence[int], flip: bool, context: int) -> None:
        if event < 1:
            raise ValueError(f"event must be at least 1, not {event}")
        sizes, flip = [event // 2, event - event // 2], flip and event > 1
        passing, moving = sizes[::-1] if flip else sizes
        super().__init__(MLP(max(passing, 1), per_element * moving, hidden), context)
        self.sizes, self.flip = sizes, flip

    def raw(self, y: Tensor, context: Tensor | None) -> Tensor:
        """As above; a single dimension has no other to go by, and its conditioner sees a 1 (and the context)."""
        return super().raw(y if y.shape[-1] else y.new_ones(*y.shape[:-1], 1), context)

    def _halves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first, second = x.split(self.sizes, -1)
        return (second, first) if self.flip else (first, second)

    def _join(self, passing: Tensor, moving: Tensor) -> Tensor:
        return torch.cat((moving, passing) if self.flip else (passing, moving), -1)


class Coupling(_Halves):
    """Affine coupling: one half passes, and shifts and scales the other (RealNVP, Dinh et al. 2017, eqs. 7 and 8).

    u_b = y_b exp(s(y_a)) + t(y_a), with |s| < LOG_SCALE_BOUND. The conditioner has four linear layers with LeakyReLU as
    in the FRMDN paper (arXiv 2008.02144).

    Args:
        event: D; a single dimension is bent as constants or the context say.
        hidden: widths of the conditioner's hidden layers.
        flip: the second half passes and the first is bent; the other way round without.
        context: features of the context that the conditioner sees too.

    >>> flow = frmdn.density.Coupling(4, context=8)
    >>> u, log_det = flow(torch.ones(2, 4), torch.zeros(2, 8))
    >>> torch.allclose(flow.inverse(u, torch.zeros(2, 8)), torch.ones(2, 4))
    True
    """

    def __init__(self, event: int, hidden: Sequence[int] = (64, 64, 64), flip: bool = False, context: int = 0) -> None:
        super().__init__(event, 2, hidden, flip, context)

    def forward(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        passing, moving = self._halves(y)
        shift, scale = self._condition(passing, context)
        return self._join(passing, torch.addcmul(shift, moving, scale.exp())), scale.sum(-1)

    def inverse(self, u: Tensor, context: Tensor | None = None) -> Tensor:
        passing, moving = self._halves(u)
        shift, scale = self._condition(passing, context)
        return self._join(passing, (moving - shift) * torch.exp(-scale))

    def _condition(self, passing: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        shift, scale = self.raw(passing, context).chunk(2, -1)
        return shift, bounded(scale, LOG_SCALE_BOUND)


class SplineCoupling(_Halves):
    """Spline coupling: one half passes, and bends every element of the other by a monotonic rational-quadratic spline.

    Neural spline flow (Durkan et al. 2019, section 3): `bins` pieces inside [-bound, bound], the identity outside, with
    slope 1 at both ends. Bends each dimension as freely as it likes where an affine coupling can just shift and scale.

    Args:
        event: D; a single dimension is bent as constants or the context say.
        hidden: widths of the conditioner's hidden layers.
        flip: the second half passes and the first is bent; the other way round without.
        context: features of the context that the conditioner sees too.
        bins: pieces of each spline, at least 2.
        bound: where the spline ends, > 0; data should lie inside (`Standardize`).

    >>> flow = frmdn.density.SplineCoupling(4, bins=8, bound=3.0)
    >>> u, log_det = flow(torch.full((2, 4), 4.0))  # outside the bound: the identity
    >>> u.tolist()
    [[4.0, 4.0, 4.0, 4.0], [4.0, 4.0, 4.0, 4.0]]
    """

    def __init__(
        self,
        event: int,
        hidden: Sequence[int] = (64, 64, 64),
        flip: bool = False,
        context: int = 0,
        bins: int = 8,
        bound: float = 5.0,
    ) -> None:
        if bins < 2 or not bound > 0:
            raise ValueError(f"bins {bins} must be at least 2 and bound {bound} above 0")
        super().__init__(event, 3 * bins - 1, hidden, flip, context)
        self.bins, self.bound = bins, bound

    def forward(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        passing, moving = self._halves(y)
        moved, log_slope = rational_quadratic(moving, self._knots(passing, context), self.bound)
        return self._join(passing, moved), log_slope.sum(-1)

    def inverse(self, u: Tensor, context: Tensor | None = None) -> Tensor:
        passing, moving = self._halves(u)
        moved, _ = rational_quadratic(moving, self._knots(passing, context), self.bound, inverse=True)
        return self._join(passing, moved)

    def _knots(self, passing: Tensor, context: Tensor | None) -> Tensor:
        return self.raw(passing, context).unflatten(-1, (-1, 3 * self.bins - 1))


def couplings(
    event: int, blocks: int = 2, hidden: int = 64, context: int = 0, kind: Literal["affine", "spline"] = "affine"
) -> Chain:
    """The flow of FRMDN: coupling blocks of four linear layers that take turns with the halves; two as published.

    Args:
        event: D.
        blocks: at least 1; two let every dimension be bent.
        hidden: width of the three hidden layers of each conditioner.
        context: features of the context that the conditioners see too.
        kind: `Coupling` or `SplineCoupling`.

    >>> len(frmdn.density.couplings(32, blocks=3).flows)
    3
    """
    if blocks < 1:
        raise ValueError(f"blocks must be at least 1, not {blocks}: for no flow use Identity (density rmdn)")
    if kind not in ("affine", "spline"):
        raise ValueError(f"kind must be affine or spline, not {kind!r}")
    block = Coupling if kind == "affine" else SplineCoupling
    return Chain(*(block(event, [hidden] * 3, flip=bool(i % 2), context=context) for i in range(blocks)))
