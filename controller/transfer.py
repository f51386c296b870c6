"""Does a dream rank controllers as reality does? Spearman's rank correlation, with its interval."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from frmdn.agent.seeds import derive

RESAMPLES = 4000


class Correlation(NamedTuple):
    """Spearman's rho of n pairs and its 95 % interval; NaN where one side is constant and ranks nothing."""

    value: float
    low: float
    high: float


def ranks(values: ArrayLike) -> NDArray[np.float64]:
    """Ranks from 1, ties sharing the mean of theirs, along the last axis of [...,n]."""
    rows = np.asarray(values, np.float64)
    less = (rows[..., None, :] < rows[..., :, None]).sum(-1)
    equal = (rows[..., None, :] == rows[..., :, None]).sum(-1)
    return less + (equal + 1) / 2


def rank_correlation(x: ArrayLike, y: ArrayLike, seed: int = 0) -> Correlation:
    """Spearman's rank correlation of x and y [n], with the percentile bootstrap over pairs.

    rho is Pearson's correlation of the ranks (Spearman 1904), which is right for ties too. Resamples in which one side
    is constant say nothing and are left out. Raises ValueError for fewer than three pairs, or a number not finite.
    """
    a, b = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if a.ndim != 1 or a.shape != b.shape or len(a) < 3:
        raise ValueError(f"x {a.shape} and y {b.shape} must be two lists of one length, at least 3")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("x and y must be finite: look for NaN in the returns")
    rng = np.random.default_rng(derive(seed, "spearman"))
    rows = rng.integers(len(a), size=(RESAMPLES, len(a)))
    values = np.concatenate([_rho(a[part], b[part]) for part in np.array_split(rows, 16)])  # n^2 numbers a row
    values = values[np.isfinite(values)]
    low, high = np.quantile(values, [0.025, 0.975]) if len(values) else (np.nan, np.nan)
    return Correlation(float(_rho(a[None], b[None])[0]), float(low), float(high))


def _rho(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Row by row of [R,n]."""
    a, b = ranks(x), ranks(y)
    a, b = a - a.mean(-1, keepdims=True), b - b.mean(-1, keepdims=True)
    scale = np.sqrt((a * a).sum(-1) * (b * b).sum(-1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(scale > 0, (a * b).sum(-1) / scale, np.nan)
