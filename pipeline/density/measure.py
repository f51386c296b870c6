"""Held-out negative log likelihood: every sequence once and whole, the same noise for every model."""

from __future__ import annotations

import torch
from torch import Tensor

from frmdn.agent.seeds import derive
from frmdn.rollouts.sources import Source, whole_batches

from ..strokes.model import StrokeModel
from .model import NextStep
from .slides import SquaredError


@torch.no_grad()
def nll_per_dim(model: NextStep | StrokeModel, source: Source, split: str, limit: int | None = None) -> float:
    """Mean of -log p(target | past) - log_jacobian over a split, in the source's unit per dimension; may be NaN.

    With a `limit`, over a fixed selection of about so many steps.
    """
    device = next(model.parameters()).device
    model.eval()
    if isinstance(model.density, SquaredError):
        model.density.fit_variance(*_training_points(source, device))
    total, count = 0.0, 0
    for cpu in whole_batches(source, split, derive(0, "measure", split), limit):
        batch = cpu.to(device)
        jacobian = torch.where(batch.mask, batch.log_jacobian, 0.0)
        total -= float((model.log_prob(batch) + jacobian).cpu().double().sum())
        count += int(batch.mask.sum())
    return total / (count * source.outputs)


def _training_points(source: Source, device: torch.device) -> tuple[Tensor, Tensor]:
    """All contexts [N,C] and targets [N,D] of the training split."""
    batches = [batch.to(device) for batch in whole_batches(source, "train", derive(0, "measure", "train"))]
    contexts = torch.cat([batch.context[batch.mask] for batch in batches])
    return contexts, torch.cat([batch.target[batch.mask] for batch in batches])
