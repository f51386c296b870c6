"""Flows of zuko (pip install 'frmdn[zuko]') as flows of ours."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

from ...errors import MissingExtra
from .flow import Flow

PERIOD = 2 * math.pi  # of zuko's circular flows


class FromZuko(Flow):
    """A flow of zuko, u = f(y) or u = f(y | context): its transformation, without the base density that it comes with.

    >>> zuko = frmdn.density.import_zuko()
    >>> flow = frmdn.density.FromZuko(zuko.flows.NSF(features=2, transforms=1), event=2)
    >>> u, log_det = flow(torch.zeros(5, 2))
    >>> u.shape, log_det.shape
    (torch.Size([5, 2]), torch.Size([5]))

    A numerical inverse (NAF, CNF, Bernstein and the like) makes samples as exact as zuko's own tolerance. Flows of zuko
    do not start as the identity.

    Args:
        flow: a `zuko.flows` flow, one of its lazy transformations, or a fixed `torch.distributions` transformation.
        event: D.
        context: the number of context features it was built for (zuko's `context=`), that is the trunk's `features`.

    Raises:
        ValueError: it is none of these, it is not a bijection of all D-vectors (circular flows live on an interval, so
            that the density would not integrate to 1), or D or the context are others than it was built for.
    """

    def __init__(self, flow: Any, event: int, context: int = 0) -> None:
        super().__init__()
        self.event, self.context = event, context
        self.transform = getattr(flow, "transform", flow)
        if not (isinstance(self.transform, nn.Module) or hasattr(self.transform, "call_and_ladj") or _fixed(flow)):
            raise ValueError(f"flow is a {type(flow).__name__}: give a flow of zuko, as zuko.flows.NSF({event})")
        self._try()

    def forward(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        transform = self._made(context)
        if hasattr(transform, "call_and_ladj"):
            u, log_det = transform.call_and_ladj(y)
        else:
            u = transform(y)
            log_det = transform.log_abs_det_jacobian(y, u)
        return u, log_det.flatten(y.ndim - 1).sum(-1) if log_det.ndim == y.ndim else log_det

    def inverse(self, u: Tensor, context: Tensor | None = None) -> Tensor:
        y: Tensor = self._made(context).inv(u)
        return y

    def _made(self, context: Tensor | None) -> Any:
        """The transformation for this context."""
        if not isinstance(self.transform, nn.Module):
            return self.transform
        if self.context and context is None:
            raise ValueError(f"context is missing: this flow was built for {self.context} features")
        return self.transform(context if self.context else None)

    def _try(self) -> None:
        """One row, to find a wrong size now and not in the midst of a training."""
        parameter = next(self.parameters(), torch.zeros(()))
        context = parameter.new_zeros(1, self.context) if self.context else None
        try:
            with torch.no_grad():
                transform = self._made(context)
                u, _ = self(parameter.new_zeros(1, self.event), context)
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            raise ValueError(
                f"flow does not take vectors of {self.event} dimensions with {self.context} context features: build it "
                f"with features={self.event}, context={self.context} ({' '.join(str(error).split())})"
            ) from None
        self._check(transform, u, context)

    def _check(self, transform: Any, u: Tensor, context: Tensor | None) -> None:
        """That a mixture of u [1,D] gives a density of y: R^D goes to R^D, and no two points to one."""
        if u.shape != (1, self.event) or not transform.bijective:
            raise ValueError(f"flow makes {list(u.shape)} of [1, {self.event}]: a flow keeps the number of dimensions")
        for side in ("domain", "codomain"):
            if not _everywhere(getattr(transform, side)):
                raise ValueError(
                    f"flow has the {side} {getattr(transform, side)}, not all of R^{self.event}: a mixture behind it "
                    "would not integrate to 1"
                )
        left = torch.full((1, self.event), -3.0, dtype=u.dtype, device=u.device)
        turned = left + PERIOD * torch.eye(self.event, dtype=u.dtype, device=u.device)  # each dimension by itself
        with torch.no_grad():
            apart = (self(turned, context)[0] - self(left, context)[0]).abs().amax(-1)
        if bool((apart < 1e-3).any()):
            raise ValueError(
                f"flow {type(transform).__name__} sends points that lie {PERIOD:.2f} apart to one: it is circular, "
                "made for angles, and a mixture behind it would not integrate to 1"
            )


def import_zuko() -> Any:
    """The package zuko, with torch's argument validation as it was before: zuko switches it off for the whole process.

    >>> frmdn.density.import_zuko().__name__
    'zuko'

    Raises:
        MissingExtra: it is not installed.
    """
    before = Distribution._validate_args
    try:
        import zuko
    except ImportError:
        raise MissingExtra("zuko", "zuko", "a flow of zuko") from None
    finally:
        Distribution.set_default_validate_args(before)
    return zuko


def _fixed(flow: Any) -> bool:
    return isinstance(flow, torch.distributions.Transform)


def _everywhere(side: Any) -> bool:
    """Whether a constraint is none."""
    while isinstance(side, constraints.independent):
        side = side.base_constraint
    return side is constraints.real or side is constraints.real_vector
