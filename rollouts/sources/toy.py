"""The inverse sine: a curve read the wrong way round, so that one x has up to five answers y."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from frmdn.agent.seeds import derive

from .sequences import TEST, TRAIN, VALIDATION, Held, Source, Steps

LIMIT = 10.5  # y is uniform in -LIMIT ... LIMIT
COUNTS = (3000, 1000, 10_000)  # points to train on (as on the slides), to validate, to measure


@dataclass(frozen=True)
class InverseSineScale:
    """Mean and standard deviation of x and y over the training points."""

    x_mean: float
    x_std: float
    y_mean: float
    y_std: float

    def native(self, target: Tensor) -> np.ndarray:
        """Normalised targets back as y, same shape."""
        return np.asarray(target.detach().cpu()) * self.y_std + self.y_mean


def curve(y: np.ndarray) -> np.ndarray:
    """x without its noise: 7 sin(0.75 y) + 0.5 y."""
    return 7 * np.sin(0.75 * y) + 0.5 * y


def inverse_sine(counts: tuple[int, int, int] = COUNTS) -> Source:
    """Points (x, y) with y ~ U(-10.5, 10.5) and x = 7 sin(0.75 y) + 0.5 y + N(0, 1); y is to be found from x.

    The data of Ha's and Martin's introductions to mixture density networks, after Bishop (1994). Every point is a
    sequence of one step. Figures are in nats per dimension of y itself; `floor` is the true density's mean
    -log p(y | x) over the test points.

    Args:
        counts: points of train, validation and test.
    """
    points = {name: _draw(name, n) for name, n in zip((TRAIN, VALIDATION, TEST), counts, strict=True)}
    mean, std = points[TRAIN].mean(0), points[TRAIN].std(0)
    scale = InverseSineScale(float(mean[0]), float(std[0]), float(mean[1]), float(std[1]))
    splits = {
        name: Held(list(torch.from_numpy((xy - mean) / std).unsqueeze(1).unbind())) for name, xy in points.items()
    }
    return Source(
        name="inverse-sine",
        inputs=1,
        outputs=1,
        unit="nats per dimension of y",
        splits=splits,
        prepare=partial(_prepare, scale),
        scale=scale,
        batch=128,
        floor=float(-true_log_density(*points[TEST].T).mean()),
        about={"points": dict(zip((TRAIN, VALIDATION, TEST), counts, strict=True))},
    )


def true_log_density(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """log p(y | x) of the data's own law, by Bayes on a grid of y: f64[N] from f64[N] and f64[N]."""
    grid = np.linspace(-LIMIT, LIMIT, 1501)  # steps of 0.014; the sharpest branch is 0.17 wide
    evidence = np.empty(len(x))
    for part in range(0, len(x), 1000):  # bounds the memory
        near = np.exp(-0.5 * (x[part : part + 1000, None] - curve(grid)) ** 2)
        evidence[part : part + 1000] = np.trapezoid(near, grid, axis=1)
    return np.asarray(-0.5 * (x - curve(y)) ** 2 - np.log(evidence))


def _draw(split: str, count: int) -> np.ndarray:
    """Points (x, y), f64[count,2], of a split's own random numbers."""
    rng = np.random.default_rng(derive(0, "inverse-sine", split))
    y = rng.uniform(-LIMIT, LIMIT, count)
    return np.stack([curve(y) + rng.standard_normal(count), y], 1)


def _prepare(scale: InverseSineScale, raw: Tensor, mask: Tensor, noise: torch.Generator) -> Steps:
    jacobian = torch.full(mask.shape, -math.log(scale.y_std))
    return Steps(raw[..., :1], raw[..., 1:], mask, jacobian)
