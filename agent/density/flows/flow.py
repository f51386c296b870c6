"""Invertible maps y -> u with a known Jacobian: the interface, and the flows that need no network.

`coupling` and `autoregressive` hold those that do; `flowed` the density of y when u has a simple one.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from ..precision import bounded


class Flow(nn.Module):
    """A bijection of D-vectors, which may depend on a context (the trunk's features).

    A new flow overrides `forward` and `inverse`, sets `affine` if it is u = A y + b, and `context` to the number of
    context features that it needs (0: it ignores them).

    >>> class Double(frmdn.density.Flow):
    ...     affine = True
    ...
    ...     def forward(self, y, context=None):
    ...         return 2 * y, torch.full(y.shape[:-1], y.shape[-1] * math.log(2))
    ...
    ...     def inverse(self, u, context=None):
    ...         return u / 2
    >>> Double()(torch.ones(1, 3))
    (tensor([[2., 2., 2.]]), tensor([2.0794]))
    """

    affine = False
    context = 0

    def forward(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """y [*,D], context [*,F] -> u [*,D] and log|det du/dy| [*]."""
        raise NotImplementedError

    def inverse(self, u: Tensor, context: Tensor | None = None) -> Tensor:
        """u [*,D], context [*,F] -> y [*,D]."""
        raise NotImplementedError


class Identity(Flow):
    """u = y: turns an FRMDN back into an RMDN, to the last bit.

    >>> frmdn.density.Identity()(torch.ones(2))
    (tensor([1., 1.]), tensor(0.))
    """

    affine = True

    def forward(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return y, y.new_zeros(y.shape[:-1])

    def inverse(self, u: Tensor, context: Tensor | None = None) -> Tensor:
        return u


class Linear(Flow):
    """u = L U y, L unit lower and U upper triangular with positive diagonal; log|det| = sum log diag U.

    Starts as the identity. No sign or permutation is learned: neither would change a diagonal mixture of u. In front
    of a diagonal mixture it makes the precisions semi-tied (Gales 1999).

    Args:
        event: D.

    >>> flow = frmdn.density.Linear(2)
    >>> u, log_det = flow(torch.tensor([1.0, 2.0]))
    >>> flow.inverse(u).tolist()
    [1.0, 2.0]
    """

    affine = True

    def __init__(self, event: int) -> None:
        super().__init__()
        self.event = event
        self.triangles = nn.Parameter(torch.zeros(event, event))  # L below and U above the diagonal
        self.log_diagonal = nn.Parameter(torch.zeros(event))

    def _factors(self) -> tuple[Tensor, Tensor]:
        lower = self.triangles.tril(-1) + torch.eye(
            len(self.triangles), dtype=self.triangles.dtype, device=self.triangles.device
        )
        return lower, self.triangles.triu(1) + torch.diag(bounded(self.log_diagonal).exp())

    def forward(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        lower, upper = self._factors()
        return y @ (lower @ upper).mT, bounded(self.log_diagonal).sum().expand(y.shape[:-1])

    def inverse(self, u: Tensor, context: Tensor | None = None) -> Tensor:
        lower, upper = self._factors()
        column = torch.linalg.solve_triangular(lower, u.unsqueeze(-1), upper=False, unitriangular=True)
        return torch.linalg.solve_triangular(upper, column, upper=True).squeeze(-1)


class Standardize(Flow):
    """u = (y - mean) / scale, with figures of the training data instead of weights; they are saved as buffers.

    The densities stay those of y, in its own units. Couplings bend a region of some units around 0 and mixtures start
    there, so put it before them where the data lie elsewhere.

    Args:
        mean: f[D].
        scale: f[D] > 0.

    >>> flow = frmdn.density.Standardize.from_data(torch.tensor([[1.0], [3.0]]))
    >>> flow.mean, flow.inverse(torch.zeros(1))
    (tensor([2.]), tensor([2.]))
    """

    affine = True
    mean: Tensor
    log_scale: Tensor

    def __init__(self, mean: Tensor, scale: Tensor) -> None:
        super().__init__()
        if mean.shape != scale.shape or mean.ndim != 1:
            raise ValueError(f"mean {tuple(mean.shape)} and scale {tuple(scale.shape)} must both be [D]")
        if not mean.is_meta and not bool((torch.isfinite(mean) & torch.isfinite(scale) & (scale > 0)).all()):
            raise ValueError(
                "mean and scale must be finite, and scale above 0: use from_data, or look for NaN in the data"
            )
        self.register_buffer("mean", mean.detach().clone())
        self.register_buffer("log_scale", scale.detach().log())

    @classmethod
    def from_data(cls, y: Tensor) -> Standardize:
        """With the means and standard deviations of the rows of y [*,D]; one number is no row: at least two.

        A dimension that never moves keeps the scale 1.
        """
        rows = y.detach().reshape(-1, y.shape[-1])
        if len(rows) < 2:
            raise ValueError(f"y has {len(rows)} rows: a standard deviation takes at least 2")
        mean, scale = deviations(rows)
        return cls(mean.to(y.dtype), scale.to(y.dtype))

    def forward(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return (y - self.mean) * torch.exp(-self.log_scale), -self.log_scale.sum().expand(y.shape[:-1])

    def inverse(self, u: Tensor, context: Tensor | None = None) -> Tensor:
        return u * torch.exp(self.log_scale) + self.mean


def deviations(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation f64[D] of rows [N,D], of any units; 1 where what moves is only the rounding."""
    deviation, mean = torch.std_mean(rows.detach().double(), 0)
    rounding = torch.finfo(rows.dtype).eps * rows.detach().abs().amax(0).double()
    return mean, torch.where(deviation > rounding, deviation, torch.ones_like(deviation))


class Inverse(Flow):
    """A flow run backwards: `Inverse(Autoregressive(D))` is the IAF of Kingma et al. 2016, fast to sample from.

    Args:
        flow: the flow; its weights stay its own.

    >>> from frmdn.density import Inverse, Standardize
    >>> twice = Standardize(torch.zeros(1), torch.tensor([0.5]))
    >>> Inverse(twice)(torch.tensor([2.0]))[0]
    tensor([1.])
    """

    def __init__(self, flow: Flow) -> None:
        super().__init__()
        self.flow = flow
        self.affine, self.context = flow.affine, flow.context

    def forward(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        u = self.flow.inverse(y, context)
        return u, -self.flow(u, context)[1]

    def inverse(self, u: Tensor, context: Tensor | None = None) -> Tensor:
        return cast(Tensor, self.flow(u, context)[0])


class Chain(Flow):
    """Flows one after the other: u = f_n(... f_1(y)). An empty chain is the identity.

    Args:
        flows: those that need a context must need the same number of features.

    >>> from frmdn.density import Chain, Linear, Standardize
    >>> Chain(Standardize(torch.ones(2), torch.ones(2)), Linear(2)).affine
    True
    """

    def __init__(self, *flows: Flow) -> None:
        super().__init__()
        self.flows = nn.ModuleList(flows)
        self.affine = all(flow.affine for flow in flows)
        needed = {flow.context for flow in flows} - {0}
        if len(needed) > 1:
            raise ValueError(f"flows of one chain need {sorted(needed)} context features: build all with one number")
        self.context = max(needed, default=0)

    def forward(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        total = y.new_zeros(y.shape[:-1])
        for flow in self.flows:
            y, log_det = flow(y, context)
            total = total + log_det
        return y, total

    def inverse(self, u: Tensor, context: Tensor | None = None) -> Tensor:
        for flow in reversed(self.flows):
            u = cast(Flow, flow).inverse(u, context)
        return u
