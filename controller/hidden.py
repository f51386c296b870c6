"""A small controller with one hidden layer: where the right action is no linear function of the features."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class HiddenController:
    """raw = V tanh(W x + b) + c, with one (W, b, V, c) per row; a whole population acts in two batched products.

    A row of theta holds W [H,F], row after row, b [H], V [A,H] and c [A].
    """

    inputs: int  # F, the agent's feature size
    outputs: int  # A, the action size of the environment's codec
    hidden: int = 8  # H

    def __post_init__(self) -> None:
        for name in ("inputs", "outputs", "hidden"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")

    @property
    def size(self) -> int:
        """N = (F + 1) H + (H + 1) A, the numbers that the search must find."""
        return (self.inputs + 1) * self.hidden + (self.hidden + 1) * self.outputs

    def act(self, theta: Tensor, features: Tensor) -> Tensor:
        """Raw actions [P,A] of theta [P,N] on features [P,F]; row p uses parameter row p and nothing else.

        The raw numbers are unbounded: the environment's codec squashes them. Raises ValueError on any other shape.
        """
        rows, (f, h, a) = len(theta), (self.inputs, self.hidden, self.outputs)
        if theta.shape != (rows, self.size) or features.shape != (rows, f):
            raise ValueError(
                f"theta {tuple(theta.shape)} and features {tuple(features.shape)} do not fit this controller, which "
                f"takes [P,{self.size}] and [P,{f}]: pass one row per environment"
            )
        w, b, v, c = theta.split([h * f, h, a * h, a], 1)
        inner = torch.baddbmm(b.unsqueeze(-1), w.view(rows, h, f), features.unsqueeze(-1)).tanh()  # [P,H,1]
        return torch.baddbmm(c.unsqueeze(-1), v.view(rows, a, h), inner)[..., 0]
