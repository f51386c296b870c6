"""Graves' soft window: a pen that walks along the text, and reads the letters under it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

REACH = 0.05  # of a character: how far a new window walks at a point


@dataclass(frozen=True)
class WindowState:
    """Where the window stands before a point."""

    hidden: Tensor  # f32[B,H]
    cell: Tensor  # f32[B,H]
    place: Tensor  # f32[B,M], kappa, in characters
    letters: Tensor  # f32[B,A], w: what is read there


class WindowLSTM(nn.Module):
    """An LSTM that reads a text through M Gaussian windows, which only walk forwards.

    Graves 2013, equations 46 to 51: phi(u) = sum_m alpha_m exp(-beta_m (kappa_m - u)^2), w = sum_u phi(u) c_u, with
    kappa_t = kappa_(t-1) + exp(kappa'), and (alpha', beta', kappa') linear in the LSTM's output. w of the point before
    is an input of the LSTM.

    Args:
        inputs: C of the context.
        characters: A, the size of the alphabet.
        hidden: H.
        windows: M; Graves takes 10.
    """

    def __init__(self, inputs: int, characters: int, hidden: int, windows: int = 5) -> None:
        super().__init__()
        self.characters, self.hidden, self.windows = characters, hidden, windows
        self.context = nn.Linear(inputs, 4 * hidden)
        self.recurrent = nn.Linear(hidden + characters, 4 * hidden, bias=False)
        self.walk = nn.Linear(hidden, 3 * windows)
        with torch.no_grad():
            self.context.bias[hidden : 2 * hidden].fill_(1.0)  # a forget gate that starts open
            self.walk.weight.mul_(0.1)
            self.walk.bias.zero_()
            self.walk.bias[2 * windows :].fill_(torch.tensor(REACH).log().item() + 1)

    def initial(self, batch: int) -> WindowState:
        """Before the first letter."""
        zero = self.walk.weight.new_zeros
        return WindowState(
            zero(batch, self.hidden),
            zero(batch, self.hidden),
            zero(batch, self.windows),
            zero(batch, self.characters),
        )

    def _steps(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """alpha, beta, and how far the windows walk, each f32[B,M]."""
        alpha, beta, step = self.walk(hidden).clamp(-8, 4).exp().chunk(3, -1)
        return alpha, beta, step

    def centre(self, state: WindowState) -> Tensor:
        """Where the window stands as a whole, f32[B], in characters: the mean of its places by their alpha."""
        alpha, _, _ = self._steps(state.hidden)
        return (alpha * state.place).sum(1) / alpha.sum(1)

    def forward(
        self, context: Tensor, text: Tensor, state: WindowState | None = None
    ) -> tuple[Tensor, WindowState, Tensor]:
        """Context f32[B,T,C], text i64[B,U] (0: padding) -> outputs and letters f32[B,T,H+A], state, phi f32[B,T,U]."""
        code = nn.functional.one_hot(text, self.characters + 1)[..., 1:].to(context.dtype)
        spot = torch.arange(text.shape[1], device=text.device, dtype=context.dtype)
        told = self.context(context).unbind(1)
        now = state or self.initial(len(context))
        hidden, cell, place, letters = now.hidden, now.cell, now.place, now.letters
        outputs, weights = [], []
        for each in told:
            gates = each + self.recurrent(torch.cat([hidden, letters], -1))
            opened, kept, new, shown = gates.chunk(4, -1)
            cell = torch.sigmoid(kept) * cell + torch.sigmoid(opened) * torch.tanh(new)
            hidden = torch.sigmoid(shown) * torch.tanh(cell)
            alpha, beta, step = self._steps(hidden)
            place = place + step
            phi = (alpha.unsqueeze(2) * torch.exp(-beta.unsqueeze(2) * (place.unsqueeze(2) - spot).square())).sum(1)
            letters = torch.bmm(phi.unsqueeze(1), code).squeeze(1)
            outputs.append(torch.cat([hidden, letters], -1))
            weights.append(phi)
        return torch.stack(outputs, 1), WindowState(hidden, cell, place, letters), torch.stack(weights, 1)
