"""The linear controller: a whole population acts in one batched product."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class LinearController:
    """raw = W x + b, with one (W, b) per row; the C of World Models (Ha and Schmidhuber 2018, equation 1).

    A row of theta holds W [A,F], row after row, and then b [A].

    >>> controller = frmdn.LinearController(inputs=288, outputs=3)
    >>> controller.size
    867
    >>> controller.act(torch.zeros(5, 867), torch.zeros(5, 288)).shape
    torch.Size([5, 3])
    """

    inputs: int  # F, the agent's feature size
    outputs: int  # A, the action size of the environment's codec; 0 where nobody acts

    def __post_init__(self) -> None:
        if self.inputs < 1 or self.outputs < 0:
            raise ValueError(f"inputs must be at least 1 and outputs 0 or more, not {self.inputs} and {self.outputs}")

    @property
    def size(self) -> int:
        """N = (F + 1) A, the numbers that the search must find."""
        return (self.inputs + 1) * self.outputs

    def act(self, theta: Tensor, features: Tensor) -> Tensor:
        """Raw actions [P,A] of theta [P,N] on features [P,F]; row p uses parameter row p and nothing else.

        The raw numbers are unbounded: the environment's codec squashes them. Raises ValueError on any other shape.
        """
        rows = self._check(theta, features)
        split = self.size - self.outputs
        weights = theta[:, :split].view(rows, self.outputs, self.inputs)  # [P,A,F]
        bias = theta[:, split:].unsqueeze(-1)  # [P,A,1]
        return torch.baddbmm(bias, weights, features.unsqueeze(-1))[..., 0]

    def _check(self, theta: Tensor, features: Tensor) -> int:
        if theta.ndim != 2 or theta.shape[1] != self.size:
            raise ValueError(
                f"theta has shape {tuple(theta.shape)}, but this controller takes [P,{self.size}]"
                f" ({self.inputs} features, {self.outputs} actions): pass one row per environment"
            )
        if features.shape != (len(theta), self.inputs):
            raise ValueError(
                f"features have shape {tuple(features.shape)}, but theta with {len(theta)} rows"
                f" asks for {(len(theta), self.inputs)}"
            )
        return len(theta)
