"""Invertible maps y -> u with a known Jacobian, and the density of y when u has a simple one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from .mixture import GaussianMixture
from .networks import MLP, MaskedMLP
from .precision import bounded

LOG_SCALE_BOUND = 2.0  # one block scales by e^-2 to e^2: enough, and the inverse stays accurate in float32


class Flow(nn.Module):
    """A bijection of D-vectors. A new flow overrides `forward` and `inverse`; `affine` if it is u = A y + b."""

    affine = False

    def forward(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """y [*,D] -> u [*,D] and log|det du/dy| [*]."""
        raise NotImplementedError

    def inverse(self, u: Tensor) -> Tensor:
        """u [*,D] -> y [*,D]."""
        raise NotImplementedError


class Identity(Flow):
    """u = y: turns an FRMDN back into an RMDN, to the last bit."""

    affine = True

    def forward(self, y: Tensor) -> tuple[Tensor, Tensor]:
        return y, y.new_zeros(y.shape[:-1])

    def inverse(self, u: Tensor) -> Tensor:
        return u


class Linear(Flow):
    """u = L U y, L unit lower and U upper triangular with positive diagonal; log|det| = sum log diag U.

    Starts as the identity. No sign or permutation is learned: neither would change a diagonal mixture of u.
    """

    affine = True

    def __init__(self, event: int) -> None:
        super().__init__()
        self.triangles = nn.Parameter(torch.zeros(event, event))  # L below and U above the diagonal
        self.log_diagonal = nn.Parameter(torch.zeros(event))

    def _factors(self) -> tuple[Tensor, Tensor]:
        lower = self.triangles.tril(-1) + torch.eye(
            len(self.triangles), dtype=self.triangles.dtype, device=self.triangles.device
        )
        return lower, self.triangles.triu(1) + torch.diag(bounded(self.log_diagonal).exp())

    def forward(self, y: Tensor) -> tuple[Tensor, Tensor]:
        lower, upper = self._factors()
        return y @ (lower @ upper).mT, bounded(self.log_diagonal).sum().expand(y.shape[:-1])

    def inverse(self, u: Tensor) -> Tensor:
        lower, upper = self._factors()
        column = torch.linalg.solve_triangular(lower, u.unsqueeze(-1), upper=False, unitriangular=True)
        return torch.linalg.solve_triangular(upper, column, upper=True).squeeze(-1)


class Coupling(Flow):
    """Affine coupling: one half passes, and shifts and scales the other (RealNVP, Dinh et al. 2017, eqs. 7 and 8).

    u_b = y_b exp(s(y_a)) + t(y_a), with |s| < LOG_SCALE_BOUND; `flip` exchanges the halves. The conditioner has four
    linear layers with LeakyReLU as in the FRMDN paper, and its last layer starts at 0, so that the flow starts as the
    identity.
    """

    def __init__(self, event: int, hidden: Sequence[int] = (64, 64, 64), flip: bool = False) -> None:
        super().__init__()
        if event < 2:
            raise ValueError(f"event must be at least 2 to be split into halves, not {event}: use Identity or Linear")
        self.sizes, self.flip = [event // 2, event - event // 2], flip
        passing, moving = self.sizes[::-1] if flip else self.sizes
        self.conditioner = MLP(passing, 2 * moving, hidden)
        _zero(self.conditioner.last)

    def forward(self, y: Tensor) -> tuple[Tensor, Tensor]:
        passing, moving = self._halves(y)
        shift, scale = self._condition(passing)
        return self._join(passing, torch.addcmul(shift, moving, scale.exp())), scale.sum(-1)

    def inverse(self, u: Tensor) -> Tensor:
        passing, moving = self._halves(u)
        shift, scale = self._condition(passing)
        return self._join(passing, (moving - shift) * torch.exp(-scale))

    def _condition(self, passing: Tensor) -> tuple[Tensor, Tensor]:
        shift, scale = self.conditioner(passing).chunk(2, -1)
        return shift, bounded(scale, LOG_SCALE_BOUND)

    def _halves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first, second = x.split(self.sizes, -1)
        return (second, first) if self.flip else (first, second)

    def _join(self, passing: Tensor, moving: Tensor) -> Tensor:
        return torch.cat((moving, passing) if self.flip else (passing, moving), -1)


class Autoregressive(Flow):
    """u_d = y_d exp(s_d(y_<d)) + t_d(y_<d): the flow of MAF (Papamakarios et al. 2017), with |s| < LOG_SCALE_BOUND.

    One pass forward, D passes back: more expressive than coupling, and slow to sample. Starts as the identity.
    """

    def __init__(self, event: int, hidden: Sequence[int] = (64, 64)) -> None:
        super().__init__()
        self.event = event
        self.conditioner = MaskedMLP(event, 2, hidden)
        _zero(self.conditioner.last)

    def forward(self, y: Tensor) -> tuple[Tensor, Tensor]:
        shift, scale = self._condition(y)
        return torch.addcmul(shift, y, scale.exp()), scale.sum(-1)

    def inverse(self, u: Tensor) -> Tensor:
        y = torch.zeros_like(u)
        for _ in range(self.event):  # pass d settles dimension d, since all before it are settled
            shift, scale = self._condition(y)
            y = (u - shift) * torch.exp(-scale)
        return y

    def _condition(self, y: Tensor) -> tuple[Tensor, Tensor]:
        shift, scale = self.conditioner(y).chunk(2, -1)
        return shift, bounded(scale, LOG_SCALE_BOUND)


class Chain(Flow):
    """Flows one after the other: u = f_n(... f_1(y)). An empty chain is the identity."""

    def __init__(self, *flows: Flow) -> None:
        super().__init__()
        self.flows = nn.ModuleList(flows)
        self.affine = all(flow.affine for flow in flows)

    def forward(self, y: Tensor) -> tuple[Tensor, Tensor]:
        total = y.new_zeros(y.shape[:-1])
        for flow in self.flows:
            y, log_det = flow(y)
            total = total + log_det
        return y, total

    def inverse(self, u: Tensor) -> Tensor:
        for flow in reversed(self.flows):
            u = cast(Flow, flow).inverse(u)
        return u


class FlowedDistribution(Distribution):
    """The density of y whose image u = f(y) has a mixture: log p(y) = log p_base(f(y)) + log|det df/dy|."""

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012  (torch's own class attribute)

    def __init__(self, base: GaussianMixture, flow: Flow) -> None:
        self.base, self.flow = base, flow
        super().__init__(base.batch_shape, base.event_shape, validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density at y [*S,*B,D]: [*S,*B], nats per vector."""
        u, log_det = self.flow(value)
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
            return self.flow.inverse(self.base.sample(sample_shape, temperature=temperature, generator=generator))

    @property
    def mode(self) -> Tensor:
        """The point that the flow maps to the mean of the most likely component [*B,D]: the point prediction."""
        return self.flow.inverse(self.base.mode)

    @property
    def mean(self) -> Tensor:
        """The mean [*B,D] behind an affine flow; no other flow has one in closed form, and there it is `mode`."""
        return self.flow.inverse(self.base.mean) if self.flow.affine else self.mode


def couplings(event: int, blocks: int = 2, hidden: int = 64) -> Chain:
    """The flow of FRMDN: coupling blocks of four linear layers that take turns with the halves."""
    if blocks < 1:
        raise ValueError(f"blocks must be at least 1, not {blocks}: for no flow use Identity (density rmdn)")
    return Chain(*(Coupling(event, [hidden] * 3, flip=bool(i % 2)) for i in range(blocks)))


def _zero(layer: nn.Linear) -> None:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
