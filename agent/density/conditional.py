"""Conditional densities by composition: p(y | context) = trunk x head x flow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from .flows import Flow, FlowedDistribution, Identity, couplings
from .mixture import MixtureHead
from .networks import Feedforward, Recurrent


class ConditionalDensity(nn.Module):
    """p(y | h) = sum_k pi_k(h) N(f(y); mu_k(h), P_k(h)^-1) |det df/dy|, with h = trunk(context).

    The trunk is a module with an attribute `features` and a forward (context, state) -> (features, state).
    """

    def __init__(self, trunk: nn.Module, head: MixtureHead, flow: Flow) -> None:
        super().__init__()
        self.trunk, self.head, self.flow = trunk, head, flow

    def forward(self, context: Tensor, state: Any = None) -> tuple[FlowedDistribution, Any]:
        """Context [*B,C] ([B,T,C] if the trunk is recurrent) -> a distribution over [*B,D], and the next state."""
        features, state = self.trunk(context, state)
        return self.distribution(features), state

    def distribution(self, features: Tensor) -> FlowedDistribution:
        """The density given the trunk's features [*B,F]."""
        return FlowedDistribution(self.head(features), self.flow)


def mdn(context: int, event: int, components: int = 5, hidden: Sequence[int] = (64, 64)) -> ConditionalDensity:
    """Mixture density network (Bishop 1994), with one joint mixture over the event's dimensions."""
    return ConditionalDensity(Feedforward(context, hidden), MixtureHead(hidden[-1], event, components), Identity())


def rmdn(context: int, event: int, components: int = 5, hidden: int = 256) -> ConditionalDensity:
    """Recurrent mixture density network: LSTM, diagonal precisions, no flow."""
    return frmdn(context, event, components, hidden, flow=Identity())


def frmdn(
    context: int, event: int, components: int = 5, hidden: int = 256, rank: int = 0, flow: Flow | None = None
) -> ConditionalDensity:
    """Flow-based recurrent mixture density network (arXiv 2008.02144).

    rank 0 gives diagonal precisions, rank R > 0 low-rank ones D + U U^T. The flow is two coupling blocks unless given;
    `Chain(couplings(event), Linear(event))` makes the precisions semi-tied.
    """
    head = MixtureHead(hidden, event, components, "low_rank" if rank else "diagonal", max(rank, 1))
    return ConditionalDensity(Recurrent(context, hidden), head, couplings(event) if flow is None else flow)
