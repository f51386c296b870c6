"""Semi-tied precisions: one linear map for all components."""

from __future__ import annotations

import torch
from torch import Tensor

from .flows.flow import Linear
from .precision import Diagonal, Precision


class SemiTied(Precision):
    """P_k = U D_k U^T with one U for all components: semi-tied covariances (Gales 1999), the first FRMDN.

    Errors pass the linear flow u = U^T e and meet a `Diagonal` precision there: log det P = sum log D + 2 log|det U|,
    where the flow's triangular factors give the second term for nothing. No D x D matrix but U itself is ever made.

    A model should not build its mixture with it: a diagonal mixture in flow space behind `Linear` is the same density
    (its means are U^T loc), and maps the one target instead of K errors. `frmdn(precision="semi_tied")` does that.

    Args:
        diagonal: D_k, [*B,K,D] > 0, or a `Diagonal`.
        flow: the map u = U^T y; its weights get gradients.

    >>> from frmdn.density import Linear, SemiTied
    >>> SemiTied(torch.tensor([[4.0, 1.0]]), Linear(2)).variance()  # a new Linear is the identity
    tensor([[0.2500, 1.0000]], grad_fn=...)
    """

    def __init__(self, diagonal: Tensor | Diagonal, flow: Linear) -> None:
        self.diagonal = diagonal if isinstance(diagonal, Diagonal) else Diagonal(diagonal)
        self.flow = flow
        if flow.event != self.diagonal.event:
            raise ValueError(
                f"flow has {flow.event} dimensions, but diagonal has {self.diagonal.event}: make them equal"
            )

    def log_density(self, error: Tensor) -> Tensor:
        u, log_det = self.flow(error)
        return self.diagonal.log_density(u) + log_det

    def select(self, component: Tensor) -> SemiTied:
        return SemiTied(self.diagonal.select(component), self.flow)

    def variance(self) -> Tensor:
        """diag(U^-T D^-1 U^-1): squares of the rows of U^-T, weighted."""
        return self.diagonal.variance() @ self._columns().square()

    def variance_through(self, matrix: Tensor) -> Tensor:
        return self.diagonal.variance_through(matrix @ self._columns().mT)

    def _columns(self) -> Tensor:
        """U^-1, whose columns are the rows of U^-T: [D,D]."""
        log = self.diagonal.log
        return self.flow.inverse(torch.eye(self.event, dtype=log.dtype, device=log.device))

    def colour(self, normal: Tensor) -> Tensor:
        return self.flow.inverse(self.diagonal.colour(normal))

    def valid(self) -> bool:
        return self.diagonal.valid()

    @property
    def noise(self) -> int:
        return self.event

    @property
    def event(self) -> int:
        return self.diagonal.event

    @property
    def shape(self) -> torch.Size:
        return self.diagonal.shape

    def __repr__(self) -> str:
        return "SemiTied()"
