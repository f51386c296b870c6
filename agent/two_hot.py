"""Rewards that come in spikes, as a distribution over fixed values instead of one number."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn


class TwoHot(nn.Module):
    """Chances of `bins` values, dense around zero: b_i = symexp(linspace(-symlog(limit), symlog(limit), bins)).

    symlog(x) = sign(x) log(1 + |x|), and symexp is its inverse. A target y between b_i and b_i+1 becomes the two
    chances whose mean is y; the loss is the cross entropy with them, and the expectation is what is decoded. So the
    scale of the gradients does not depend on that of the rewards, and the expectation is unbiased however coarse the
    bins (as the reward head of DreamerV3, Hafner et al. 2023, arXiv 2301.04104).

    Args:
        bins: how many values, odd, so that 0 is one of them.
        limit: the largest absolute value, in units of the reward.
    """

    values: Tensor  # f32[bins]

    def __init__(self, bins: int, limit: float) -> None:
        super().__init__()
        if bins < 3 or bins % 2 == 0:
            raise ValueError(f"reward_bins must be odd and at least 3, not {bins}: 0 must be one of the values")
        if not limit > 0:
            raise ValueError(f"reward_limit must be above 0, not {limit}: it is the largest absolute reward")
        half = torch.linspace(0, torch.tensor(limit, dtype=torch.float64).log1p().item(), bins // 2 + 1)
        positive = half.double().expm1().float()
        self.limit = float(positive[-1])
        # No state to save: the settings determine it.
        self.register_buffer("values", torch.cat((-positive.flip(0), positive[1:])), persistent=False)

    @property
    def bins(self) -> int:
        return len(self.values)

    def prior(self) -> Tensor:
        """Logits f32[bins] to begin at: small rewards are likelier, lest far values rule the first expectations."""
        return -2 * self.values.abs().log1p()

    def target(self, y: Tensor) -> Tensor:
        """The two chances [*,bins] of y [*]; raises ValueError where |y| is above the limit."""
        if bool((y.abs() > self.limit * (1 + 1e-6)).any()):
            raise ValueError(
                f"a reward of {y.abs().max().item():.4g} is beyond memory.reward_limit={self.limit:.4g}: raise it"
            )
        values = self.values.to(y.dtype)
        above = torch.searchsorted(values, y.contiguous()).clamp(1, self.bins - 1)
        low, high = values[above - 1], values[above]
        share = ((y - low) / (high - low)).clamp(0, 1).unsqueeze(-1)
        chances = y.new_zeros(*y.shape, self.bins)
        chances.scatter_(-1, above.unsqueeze(-1), share)
        return chances.scatter_(-1, above.unsqueeze(-1) - 1, 1 - share)

    def loss(self, logits: Tensor, y: Tensor) -> Tensor:
        """Mean cross entropy in nats of logits [*,bins] with y [*]."""
        return -(self.target(y) * torch.log_softmax(logits, -1)).sum(-1).mean()

    def expectation(self, logits: Tensor) -> Tensor:
        """The mean [*] of logits [*,bins]."""
        return torch.softmax(logits, -1) @ self.values.to(logits.dtype)

    def __repr__(self) -> str:
        return f"TwoHot(bins={self.bins}, limit={self.limit:g})"


def begin_at_prior(head: nn.Linear, two_hot: TwoHot) -> None:
    """Let the first `bins` outputs of a linear head say the prior whatever they see, until they learn better."""
    with torch.no_grad():
        head.weight[: two_hot.bins].zero_()
        cast(Tensor, head.bias)[: two_hot.bins] = two_hot.prior()
