"""Conditional densities by composition: p(y | context) = trunk x head x flow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor, nn

from .flowed import FlowedDistribution
from .flows.coupling import couplings
from .flows.flow import Chain, Flow, Identity, Linear
from .heads import MixtureHead
from .networks import Activation, Feedforward, Recurrent

PRECISIONS = ("diagonal", "low_rank", "semi_tied")


class ConditionalDensity(nn.Module):
    """p(y | h) = sum_k pi_k(h) N(f(y); mu_k(h), P_k(h)^-1) |det df/dy|, with h = trunk(context).

    Args:
        trunk: a module with an attribute `features` and a forward (context, state) -> (features, state).
        head: features [*B,F] -> a distribution in flow space with log_prob, sample, mean and mode.
        flow: f; if it was built for a context, it gets the features too.

    >>> from frmdn.density import ConditionalDensity, Identity, MixtureHead
    >>> from frmdn.agent.density.networks import Feedforward
    >>> model = ConditionalDensity(Feedforward(3, (16,)), MixtureHead(16, 2), Identity())
    >>> density, state = model(torch.zeros(4, 3))
    >>> loss = -density.log_prob(torch.zeros(4, 2)).mean()
    >>> loss.backward()
    """

    def __init__(self, trunk: nn.Module, head: nn.Module, flow: Flow) -> None:
        super().__init__()
        self.trunk, self.head, self.flow = trunk, head, flow

    def forward(self, context: Tensor, state: Any = None) -> tuple[FlowedDistribution, Any]:
        """Context [*B,C] ([B,T,C] if the trunk is recurrent) -> a distribution over [*B,D], and the next state."""
        features, state = self.trunk(context, state)
        return self.distribution(features), state

    def distribution(self, features: Tensor) -> FlowedDistribution:
        """The density given the trunk's features [*B,F]."""
        return FlowedDistribution(self.head(features), self.flow, features, validate_args=False)


def mdn(
    inputs: int,
    outputs: int,
    components: int = 5,
    hidden: Sequence[int] = (15, 15),
    activation: Activation = nn.Tanh,
) -> ConditionalDensity:
    """Mixture density network (Bishop 1994): feed-forward, with one joint mixture of diagonal precision, and no flow.

    Args:
        inputs: C of the context [*B,C].
        outputs: D of the event.
        components: K.
        hidden: widths of the hidden layers.
        activation: module made after each of them.

    >>> model = frmdn.density.mdn(inputs=1, outputs=1)
    >>> density, _ = model(torch.linspace(0, 1, 50)[:, None])
    >>> density.log_prob(torch.zeros(50, 1)).shape
    torch.Size([50])
    """
    return ConditionalDensity(
        Feedforward(inputs, hidden, activation), MixtureHead(hidden[-1], outputs, components), Identity()
    )


def rmdn(
    inputs: int,
    outputs: int,
    components: int = 5,
    hidden: int = 256,
    precision: Literal["diagonal", "low_rank", "semi_tied"] = "diagonal",
    rank: int = 4,
) -> ConditionalDensity:
    """Recurrent mixture density network: an LSTM and a joint mixture, no flow.

    Args:
        inputs: C of the context [B,T,C].
        outputs: D of the event.
        components: K.
        hidden: H of the LSTM.
        precision: of the components; "semi_tied" puts one linear map (`Linear`) before the mixture.
        rank: R of "low_rank".

    >>> model = frmdn.density.rmdn(inputs=3, outputs=2, hidden=16)
    >>> density, state = model(torch.zeros(4, 10, 3))  # 4 sequences of 10 contexts
    >>> density, state = model(torch.zeros(4, 1, 3), state)  # one step on
    >>> density.sample().shape
    torch.Size([4, 1, 2])
    """
    return frmdn(inputs, outputs, components, hidden, precision, rank, flow=Identity())


def frmdn(
    inputs: int,
    outputs: int,
    components: int = 5,
    hidden: int = 256,
    precision: Literal["diagonal", "low_rank", "semi_tied"] = "low_rank",
    rank: int = 4,
    *,
    blocks: int = 2,
    conditional: bool = False,
    flow: Flow | None = None,
) -> ConditionalDensity:
    """Flow-based recurrent mixture density network (arXiv 2008.02144): LSTM, mixture in flow space, coupling flow.

    Args:
        inputs: C of the context [B,T,C].
        outputs: D of the event.
        components: K.
        hidden: H of the LSTM.
        precision: of the components, in flow space; "semi_tied" puts one linear map (`Linear`) behind the flow.
        rank: R of "low_rank".
        blocks: coupling blocks of four linear layers; two as published.
        conditional: let the flow see the LSTM's features h, so that it bends another way at every step.
        flow: a flow instead of those blocks; `Identity()` makes an RMDN, to the last bit.

    >>> model = frmdn.density.frmdn(inputs=3, outputs=2, hidden=16)
    >>> density, state = model(torch.zeros(4, 10, 3))  # 4 sequences of 10 contexts
    >>> loss = -density.log_prob(torch.zeros(4, 10, 2)).mean()  # nats for each vector
    >>> loss.backward()
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}")
    head = MixtureHead(hidden, outputs, components, "diagonal" if precision == "semi_tied" else precision, rank)
    trunk = Recurrent(inputs, hidden)
    if flow is None:
        flow = couplings(outputs, blocks, context=hidden if conditional else 0)
    if precision == "semi_tied":
        flow = Chain(flow, Linear(outputs)) if not isinstance(flow, Identity) else Linear(outputs)
    return ConditionalDensity(trunk, head, flow)
