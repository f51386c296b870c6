"""Flows against zuko, which is imported here alone: it switches argument validation off for the whole process."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Distribution

from frmdn.agent.density import Autoregressive, Coupling, SplineCoupling
from frmdn.agent.density.flows.coupling import LOG_SCALE_BOUND
from frmdn.agent.density.flows.flow import Flow
from frmdn.agent.density.flows.spline import LOG_SLOPE_BOUND, SMALLEST_BIN, rational_quadratic

F64 = torch.float64
SLOPE = 1e-3  # where zuko clips softly, and what is undone here


@pytest.fixture
def zuko() -> Iterator[Any]:
    before = Distribution._validate_args
    oracle = pytest.importorskip("zuko", reason="pip install 'frmdn[dev]' for the oracle")
    Distribution.set_default_validate_args(before)
    yield oracle
    assert Distribution._validate_args == before


def shaken(flow: Flow) -> Any:
    flow = flow.double()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return flow


def unclipped(log_scale: Tensor, weight: float = 1.0) -> Tensor:
    """What zuko's own soft clip turns into log_scale."""
    return log_scale / (1 - (weight * log_scale / math.log(SLOPE)).abs())


def affine(zuko: Any, raw: Tensor) -> Any:
    shift, scale = raw.chunk(2, -1)
    log_scale = LOG_SCALE_BOUND * torch.tanh(scale / LOG_SCALE_BOUND)
    return zuko.transforms.DependentTransform(
        zuko.transforms.MonotonicAffineTransform(shift, unclipped(log_scale), SLOPE), 1
    )


def test_autoregressive_matches_zuko(zuko: Any) -> None:
    torch.manual_seed(0)
    flow, y = shaken(Autoregressive(4)), torch.randn(6, 4, dtype=F64)
    oracle = zuko.transforms.AutoregressiveTransform(lambda x: affine(zuko, flow.conditioner(x)), passes=4)
    u, log_det = oracle.call_and_ladj(y)
    torch.testing.assert_close(flow(y), (u, log_det))
    torch.testing.assert_close(flow.inverse(u), oracle.inv(u))


def test_coupling_matches_zuko(zuko: Any) -> None:
    torch.manual_seed(0)
    flow, y = shaken(Coupling(5)), torch.randn(6, 5, dtype=F64)
    mask = torch.tensor([True, True, False, False, False])
    oracle = zuko.transforms.CouplingTransform(lambda x: affine(zuko, flow.conditioner(x)), mask)
    u, log_det = oracle.call_and_ladj(y)
    torch.testing.assert_close(flow(y), (u, log_det))
    torch.testing.assert_close(flow.inverse(u), oracle.inv(u))


def spline(zuko: Any, raw: Tensor, bins: int, bound: float) -> Any:
    """zuko's spline with the very widths, heights and slopes of ours."""
    widths, heights, slopes = raw.split([bins, bins, bins - 1], -1)
    shares = [(SMALLEST_BIN + (1 - bins * SMALLEST_BIN) * part.softmax(-1)).log() for part in (widths, heights)]
    slope = 1e-30  # far from where its soft clip acts on shares, whose logarithms are bounded
    undone = [share / (1 - (2 * share / math.log(slope)).abs()) for share in shares]
    log_slopes = LOG_SLOPE_BOUND * torch.tanh(slopes / LOG_SLOPE_BOUND)
    undone.append(log_slopes / (1 - (log_slopes / math.log(slope)).abs()))
    return zuko.transforms.MonotonicRQSTransform(*undone, bound=bound, slope=slope)


def test_spline_matches_zuko(zuko: Any) -> None:
    torch.manual_seed(0)
    raw, x = torch.randn(200, 3 * 8 - 1, dtype=F64), 3 * torch.randn(200, dtype=F64)  # some lie outside
    oracle = spline(zuko, raw, 8, 5.0)
    y, log_slope = rational_quadratic(x, raw, 5.0)
    expected, expected_slope = oracle.call_and_ladj(x)
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-10)
    torch.testing.assert_close(log_slope, expected_slope, rtol=0, atol=1e-9)
    back, inverse_slope = rational_quadratic(y, raw, 5.0, inverse=True)
    torch.testing.assert_close(back, x, rtol=0, atol=1e-12)
    torch.testing.assert_close(inverse_slope, -log_slope, rtol=0, atol=1e-9)


def test_spline_coupling_matches_zuko(zuko: Any) -> None:
    torch.manual_seed(0)
    flow, y = shaken(SplineCoupling(4)), torch.randn(6, 4, dtype=F64)
    mask = torch.tensor([True, True, False, False])

    def meta(x: Tensor) -> Any:
        raw = flow.conditioner(x).unflatten(-1, (2, -1))
        return zuko.transforms.DependentTransform(spline(zuko, raw, flow.bins, flow.bound), 1)

    oracle = zuko.transforms.CouplingTransform(meta, mask)
    torch.testing.assert_close(flow(y), oracle.call_and_ladj(y), rtol=1e-9, atol=1e-9)
