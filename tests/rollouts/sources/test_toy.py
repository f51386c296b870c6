"""The inverse sine: its law, its floor, its splits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from frmdn.rollouts.sources import SegmentBatches, whole_batches
from frmdn.rollouts.sources.toy import LIMIT, curve, inverse_sine, true_log_density


def test_the_true_density_integrates_to_one() -> None:
    y = np.linspace(-LIMIT, LIMIT, 20_001)
    for x in (-9.0, 0.3, 4.0):
        density = np.exp(true_log_density(np.full(len(y), x), y))
        assert np.trapezoid(density, y) == pytest.approx(1, abs=1e-5)


def test_points_follow_the_curve_and_the_floor_is_their_entropy() -> None:
    source = inverse_sine((500, 200, 4000))
    (batch,) = whole_batches(source, "test", 0)
    scale = source.scale
    x = batch.context.numpy().ravel() * scale.x_std + scale.x_mean
    y = scale.native(batch.target).ravel()
    residual = x - curve(y)
    assert abs(residual.mean()) < 0.06 and residual.std() == pytest.approx(1, abs=0.05)
    assert source.floor == pytest.approx(-true_log_density(x, y).mean(), abs=1e-4)
    assert source.floor < math.log(2 * LIMIT)  # x tells something about y


def test_the_jacobian_turns_normalised_into_native_density() -> None:
    source = inverse_sine((500, 200, 100))
    batch = SegmentBatches(source, 0)(0)
    assert batch.context.shape == batch.target.shape == (128, 1, 1)
    assert torch.allclose(batch.log_jacobian, torch.tensor(-math.log(source.scale.y_std)))


def test_splits_differ_and_do_not_change() -> None:
    one, two = inverse_sine((50, 50, 50)), inverse_sine((50, 50, 50))
    points = {name: torch.cat([split.rows(i, 0, 1) for i in range(50)]) for name, split in one.splits.items()}
    assert torch.equal(points["train"], torch.cat([two.splits["train"].rows(i, 0, 1) for i in range(50)]))
    assert not torch.equal(points["train"], points["test"])
