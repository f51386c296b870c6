"""Autoregressive flows: every dimension is shifted and scaled as those before it say."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..networks import MaskedMLP
from ..precision import bounded
from .coupling import LOG_SCALE_BOUND, Conditioned


class Autoregressive(Conditioned):
    """u_d = y_d exp(s_d(y_<d)) + t_d(y_<d): the flow of MAF (Papamakarios et al. 2017), with |s| < LOG_SCALE_BOUND.

    One pass forward, D passes back: more expressive than coupling, and slow to sample; `Inverse` of it (IAF, Kingma et
    al. 2016) is slow to evaluate and fast to sample. Starts as the identity.

    Args:
        event: D.
        hidden: widths of the conditioner's hidden layers.
        reverse: go through the dimensions from the last to the first; let the flows of a chain take turns.
        context: features of the context that the conditioner sees too.

    >>> flow = frmdn.density.Autoregressive(3)
    >>> u, log_det = flow(torch.ones(4, 3))
    >>> u.shape, log_det.shape
    (torch.Size([4, 3]), torch.Size([4]))
    """

    def __init__(self, event: int, hidden: Sequence[int] = (64, 64), reverse: bool = False, context: int = 0) -> None:
        super().__init__(MaskedMLP(event, 2, hidden, reverse), context)
        self.event = event

    def forward(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        shift, scale = self._condition(y, context)
        return torch.addcmul(shift, y, scale.exp()), scale.sum(-1)

    def inverse(self, u: Tensor, context: Tensor | None = None) -> Tensor:
        y = torch.zeros_like(u)
        for _ in range(self.event):  # pass d settles dimension d, since all before it are settled
            shift, scale = self._condition(y, context)
            y = (u - shift) * torch.exp(-scale)
        return y

    def _condition(self, y: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        shift, scale = self.raw(y, context).chunk(2, -1)
        return shift, bounded(scale, LOG_SCALE_BOUND)
