"""The networks that condition a density: feed-forward, masked (autoregressive) and recurrent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from .shapes import check_context

State = tuple[Tensor, Tensor]  # hidden and cell, each [B,H]
Activation = Callable[[], nn.Module]


class Conditioner(nn.Sequential):
    """Layers whose first is linear, and adds what is `given` to its output."""

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        """x [*,inputs] and given [*,width] (broadcast) -> [*,outputs]."""
        for i, layer in enumerate(self):
            x = layer(x)
            if i == 0 and given is not None:
                x = x + given
        return x

    @property
    def width(self) -> int:
        """Outputs of the first layer."""
        return cast(nn.Linear, self[0]).out_features

    @property
    def last(self) -> nn.Linear:
        return cast(nn.Linear, self[-1])


class MLP(Conditioner):
    """Linear layers with an activation between them: [*,inputs] -> [*,outputs]."""

    def __init__(
        self, inputs: int, outputs: int, hidden: Sequence[int] = (64, 64), activation: Activation = nn.LeakyReLU
    ) -> None:
        sizes = [inputs, *hidden, outputs]
        layers: list[nn.Module] = []
        for i, o in pairwise(sizes):
            layers += [nn.Linear(i, o), activation()]
        super().__init__(*layers[:-1])


class MaskedLinear(nn.Linear):
    """A linear layer that sees only the inputs its mask bool[outputs,inputs] allows."""

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__(mask.shape[1], mask.shape[0])
        self.register_buffer("mask", mask)  # saved with the weights: other masks would make them another function

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight * self.mask, self.bias)


class MaskedMLP(Conditioner):
    """An autoregressive MLP: the `outputs_per_input` outputs of input d depend on the inputs before d only.

    [*,D] -> [*,outputs_per_input * D], output j belonging to input j mod D. MADE: Germain et al. 2015, eqs. 12 and 13,
    with degrees dealt out in turn instead of at random, so that equal settings give equal masks. `reverse` lets every
    output see the inputs behind its own instead.
    """

    def __init__(
        self, event: int, outputs_per_input: int, hidden: Sequence[int] = (64, 64), reverse: bool = False
    ) -> None:
        degree = torch.arange(event).flip(0) if reverse else torch.arange(event)
        layers: list[nn.Module] = []
        before = degree
        for width in hidden:
            after = torch.arange(width) % max(event - 1, 1)
            layers += [MaskedLinear(after[:, None] >= before), nn.LeakyReLU()]
            before = after
        layers.append(MaskedLinear(degree.repeat(outputs_per_input)[:, None] > before))
        super().__init__(*layers)


class Feedforward(nn.Module):
    """A trunk without memory: context [*,inputs] -> features [*,F], state None."""

    def __init__(self, inputs: int, hidden: Sequence[int] = (64, 64), activation: Activation = nn.LeakyReLU) -> None:
        super().__init__()
        self.features = hidden[-1]
        self.network = MLP(inputs, hidden[-1], hidden[:-1], activation)
        self.activation = activation()

    def forward(self, context: Tensor, state: None = None) -> tuple[Tensor, None]:
        first = cast(nn.Linear, self.network[0])
        check_context(context, first.in_features, first.weight, time=False)
        return self.activation(self.network(context)), None


class Recurrent(nn.Module):
    """An LSTM trunk; `forward` over time equals repeated `step`, from one set of weights."""

    def __init__(self, inputs: int, hidden: int = 256) -> None:
        super().__init__()
        self.features = hidden
        self.lstm = nn.LSTM(inputs, hidden, batch_first=True)
        with torch.no_grad():  # a forget gate that starts open keeps the gradient through time alive
            for bias, value in ((self.lstm.bias_ih_l0, 1.0), (self.lstm.bias_hh_l0, 0.0)):
                cast(Tensor, bias)[hidden : 2 * hidden].fill_(value)

    def initial(self, batch: int, device: torch.device | str | None = None) -> State:
        """Zeros: the hidden and the cell state, each [B,H], on the device (default: that of the weights)."""
        weight = cast(Tensor, self.lstm.weight_hh_l0)
        zero = torch.zeros(batch, self.features, dtype=weight.dtype, device=device or weight.device)
        return zero, zero

    def forward(self, context: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Context [B,T,inputs] -> features [B,T,H] after each of the T inputs, and the last state."""
        check_context(context, self.lstm.input_size, cast(Tensor, self.lstm.weight_hh_l0), time=True)
        hidden, cell = state or self.initial(len(context), context.device)
        features, (hidden, cell) = self.lstm(context, (hidden.unsqueeze(0), cell.unsqueeze(0)))
        return features, (hidden[0], cell[0])

    def step(self, context: Tensor, state: State) -> State:
        """Context [B,inputs], one step. T=1 of nn.LSTM is a fifth faster on CPU than a cell written by hand."""
        return self(context.unsqueeze(1), state)[1]
