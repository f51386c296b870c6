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
from .scale import Scale
from .shapes import check_finite, check_mask, check_tensor

PRECISIONS = ("diagonal", "low_rank", "semi_tied")


class ConditionalDensity(nn.Module):
    """p(y | h) = sum_k pi_k(h) N(f(y); mu_k(h), P_k(h)^-1) |det df/dy|, with h = trunk(context).

    With scales, context and y are in any units: y is standardised before it meets the flow, and the Jacobian counts, so
    that the density is still that of y in its own units. Their figures come from `fit_scale`; where it was not called,
    from the first batch of the training if that lies far from mean 0 and deviation 1, and a warning says so.

    >>> model = frmdn.density.mdn(inputs=1, outputs=2)
    >>> context, y = torch.randn(64, 1), 5e4 + 1e4 * torch.randn(64, 2)
    >>> distribution, _ = model.fit_scale(y, context=context)(context)
    >>> distribution.log_prob(y).shape
    torch.Size([64])

    Args:
        trunk: a module with an attribute `features` and a forward (context, state) -> (features, state).
        head: features [*B,F] -> a distribution in flow space with log_prob, sample, mean and mode.
        flow: f; if it was built for a context, it gets the features too.
        scale: of y, `Scale(D)`; None: y as it is.
        context_scale: of the context, `Scale(C)`; None: the context as it is.

    Raises:
        ValueError: `flow` is no `Flow` (one of zuko is wrapped by `FromZuko`).

    >>> from frmdn.density import ConditionalDensity, Identity, MixtureHead
    >>> from frmdn.agent.density.networks import Feedforward
    >>> model = ConditionalDensity(Feedforward(3, (16,)), MixtureHead(16, 2), Identity())
    >>> density, state = model(torch.zeros(4, 3))
    >>> loss = -density.log_prob(torch.zeros(4, 2)).mean()
    >>> loss.backward()
    """

    def __init__(
        self,
        trunk: nn.Module,
        head: nn.Module,
        flow: Flow,
        scale: Scale | None = None,
        context_scale: Scale | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(flow, Flow):
            raise ValueError(f"flow is a {type(flow).__name__}, not a Flow: wrap a flow of zuko by FromZuko(flow, D)")
        self.trunk, self.head, self.flow = trunk, head, flow
        self.scale, self.context_scale = scale, context_scale

    def fit_scale(self, y: Tensor, mask: Tensor | None = None, context: Tensor | None = None) -> ConditionalDensity:
        """Take the scales from the training data, before the training; the figures are saved with the weights.

        Args:
            y: targets [*B,D], best all of the training, at least two rows.
            mask: bool[*B], True where a row counts; without it, all rows do. The rest may hold NaN.
            context: [*B,C], of the same rows; None leaves the scale of the context as it is.

        Returns:
            The model itself.

        Raises:
            ValueError: the model was built without scales, or a row that counts has NaN.
        """
        for name, scale, data in (("y", self.scale, y), ("context", self.context_scale, context)):
            if data is None:
                continue
            if scale is None:
                raise ValueError(
                    f"this density has no scale for {name}: build it with standardize=True, or ConditionalDensity(..., "
                    "scale=Scale(D), context_scale=Scale(C))"
                )
            check_tensor(name, data)
            scale.fit(data, mask)
        return self

    def forward(self, context: Tensor, state: Any = None, mask: Tensor | None = None) -> tuple[FlowedDistribution, Any]:
        """Context [*B,C] ([B,T,C] if the trunk is recurrent) -> a distribution over [*B,D], and the next state.

        Args:
            context: floating point numbers of the weights' type.
            state: of the trunk, as an earlier call returned it; None begins afresh.
            mask: bool[*B], False where the context is missing: the model is told its mean instead, and NaN there hurts
                nobody. Say also `log_prob(y, mask)` where y is missing.

        Raises:
            ValueError: NumPy, packed sequences, a missing axis of time, a wrong number of features, or NaN.
        """
        check_tensor("context", context)
        check_mask("context", mask, context.shape[:-1])
        if mask is not None:
            context = context.masked_fill(~mask.unsqueeze(-1), 0.0)
        check_finite("context", context)
        if self.context_scale is not None and context.shape[-1:] == self.context_scale.mean.shape:
            self.context_scale.settle("context", context, mask)
            context, _ = self.context_scale(context)
            context = context if mask is None else context.masked_fill(~mask.unsqueeze(-1), 0.0)
        features, state = self.trunk(context, state)
        return self.distribution(features), state

    def distribution(self, features: Tensor) -> FlowedDistribution:
        """The density given the trunk's features [*B,F]."""
        return FlowedDistribution(self.head(features), self.flow, features, validate_args=False, scale=self.scale)


def _scales(inputs: int, outputs: int, standardize: bool) -> tuple[Scale | None, Scale | None]:
    """Of y and of the context."""
    return (Scale(outputs), Scale(inputs)) if standardize else (None, None)


def mdn(
    inputs: int,
    outputs: int,
    components: int = 5,
    hidden: Sequence[int] = (15, 15),
    activation: Activation = nn.Tanh,
    standardize: bool = True,
) -> ConditionalDensity:
    """Mixture density network (Bishop 1994): feed-forward, with one joint mixture of diagonal precision, and no flow.

    Args:
        inputs: C of the context [*B,C].
        outputs: D of the event.
        components: K.
        hidden: widths of the hidden layers.
        activation: module made after each of them.
        standardize: scales for context and y, see `ConditionalDensity`.

    >>> model = frmdn.density.mdn(inputs=1, outputs=1)
    >>> density, _ = model(torch.linspace(0, 1, 50)[:, None])
    >>> density.log_prob(torch.zeros(50, 1)).shape
    torch.Size([50])
    """
    trunk, head = Feedforward(inputs, hidden, activation), MixtureHead(hidden[-1], outputs, components)
    return ConditionalDensity(trunk, head, Identity(), *_scales(inputs, outputs, standardize))


def rmdn(
    inputs: int,
    outputs: int,
    components: int = 5,
    hidden: int = 256,
    precision: Literal["diagonal", "low_rank", "semi_tied"] = "diagonal",
    rank: int = 4,
    *,
    standardize: bool = True,
) -> ConditionalDensity:
    """Recurrent mixture density network: an LSTM and a joint mixture, no flow.

    Args:
        inputs: C of the context [B,T,C].
        outputs: D of the event.
        components: K.
        hidden: H of the LSTM.
        precision: of the components; "semi_tied" puts one linear map (`Linear`) before the mixture.
        rank: R of "low_rank".
        standardize: scales for context and y, see `ConditionalDensity`.

    >>> model = frmdn.density.rmdn(inputs=3, outputs=2, hidden=16)
    >>> density, state = model(torch.zeros(4, 10, 3))  # 4 sequences of 10 contexts
    >>> density, state = model(torch.zeros(4, 1, 3), state)  # one step on
    >>> density.sample().shape
    torch.Size([4, 1, 2])
    """
    return frmdn(inputs, outputs, components, hidden, precision, rank, flow=Identity(), standardize=standardize)


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
    standardize: bool = True,
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
        flow: a flow instead of those blocks; `Identity()` makes an RMDN, to the last bit, and `FromZuko(...)` takes any
            flow of zuko.
        standardize: scales for context and y, see `ConditionalDensity`.

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
    return ConditionalDensity(trunk, head, flow, *_scales(inputs, outputs, standardize))
