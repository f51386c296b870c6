"""The scale of the data, found in the data: a density learns in units of deviations, whatever the units of y."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from .flows.flow import Standardize, deviations
from .shapes import check_finite, check_mask

NEAR = 10.0  # a first batch whose |mean| is below it and whose deviation is within this factor of 1 is left as it is


class Scale(Standardize):
    """u = (y - mean) / scale, whose figures wait for the data: the identity until `fit`, or until a first batch.

    As an ActNorm (Kingma and Dhariwal 2018, section 3.1) it may take them from the first batch of the training. Here
    it does so only where that batch lies far from mean 0 and deviation 1, and it says so: data of unit scale are left
    alone to the last bit. The figures are buffers, saved with the weights.

    >>> scale = frmdn.density.Scale(2)
    >>> scale.fit(torch.tensor([[10.0, 1e6], [20.0, 3e6], [30.0, 2e6]]))
    >>> scale.mean
    tensor([2.0000e+01, 2.0000e+06])

    Args:
        event: D.
    """

    fitted: Tensor

    def __init__(self, event: int) -> None:
        super().__init__(torch.zeros(event), torch.ones(event))
        self.register_buffer("fitted", torch.tensor(False))

    def fit(self, y: Tensor, mask: Tensor | None = None) -> None:
        """Take mean and deviation from the rows of y [*B,D] whose mask bool[*B] is True; at least two rows.

        A dimension that never moves keeps the scale 1.
        """
        rows = _rows(y, mask, len(self.mean))
        check_finite("the data of the scale", rows)
        if len(rows) < 2:
            raise ValueError(f"{len(rows)} rows have no deviation: give the scale at least 2, best all training data")
        mean, scale = deviations(rows)
        self._set(mean, scale)

    def settle(self, name: str, y: Tensor, mask: Tensor | None = None) -> None:
        """On the first batch of a training: the figures of y [*B,D] where it lies far from mean 0 and deviation 1."""
        if bool(self.fitted) or not (self.training and torch.is_grad_enabled()):
            return
        rows = _rows(y.detach(), mask, len(self.mean))
        if len(rows) < 2:
            return
        mean, scale = deviations(rows)
        if bool((mean.abs() <= NEAR).all() and (scale <= NEAR).all() and (scale >= 1 / NEAR).all()):
            self.fitted.fill_(True)
            return
        self._set(mean, scale)
        d = int(torch.argmax((scale.log().abs() + (mean / scale).abs()).nan_to_num()))
        warnings.warn(
            f"{name} lies far from mean 0 and deviation 1 (dimension {d}: {mean[d]:.3g} and {scale[d]:.3g}): it is "
            "standardised by the figures of this first batch. Call fit_scale with all training data to have theirs",
            stacklevel=4,
        )

    def _set(self, mean: Tensor, scale: Tensor) -> None:
        self.mean.copy_(mean)
        self.log_scale.copy_(scale.log())
        self.fitted.fill_(True)


def _rows(y: Tensor, mask: Tensor | None, event: int) -> Tensor:
    if y.ndim == 0 or y.shape[-1] != event:
        raise ValueError(f"the data of the scale are {list(y.shape)}, but must be [*B, {event}]: {event} at the end")
    check_mask("the data of the scale", mask, y.shape[:-1])
    return y.reshape(-1, event) if mask is None else y[mask]
