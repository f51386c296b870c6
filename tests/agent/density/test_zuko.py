"""Flows of zuko as flows of ours: the same ladder, the density against zuko's own, and a word where they do not fit."""

from __future__ import annotations

import math
import sys
from typing import Any

import pytest
import torch
from torch.distributions import AffineTransform, Distribution, SigmoidTransform

from frmdn.agent.density import Chain, Coupling, Diagonal, FromZuko, GaussianMixture, frmdn, import_zuko, mdn
from frmdn.agent.density.flowed import FlowedDistribution
from frmdn.agent.errors import MissingExtra

F64 = torch.float64
D, C = 3, 4
FLOWS: dict[str, dict[str, Any]] = {
    "NICE": {"transforms": 2},
    "RealNVP": {"transforms": 2},
    "MAF": {"transforms": 2},
    "NSF": {"transforms": 2},
    "SOSPF": {"transforms": 2},
    "NAF": {"transforms": 1},
    "UNAF": {"transforms": 1},
    "BPF": {"transforms": 1},
    "GF": {"transforms": 1},
}
EXACT = ("NICE", "RealNVP", "MAF", "NSF")  # whose inverse has a closed form
ladder = pytest.mark.parametrize("name", FLOWS)
both = pytest.mark.parametrize("context", [0, C])


@pytest.fixture(autouse=True)
def manners() -> Any:
    before = Distribution._validate_args  # type: ignore[attr-defined]
    pytest.importorskip("zuko", reason="pip install 'frmdn[zuko]'")
    Distribution.set_default_validate_args(before)


def theirs(name: str, context: int = 0, event: int = D) -> Any:
    torch.manual_seed(0)
    return getattr(import_zuko().flows, name)(event, context, **FLOWS[name])


def wrapped(name: str, context: int = 0) -> Any:
    return FromZuko(theirs(name, context), D, context).double()


def given(context: int, *batch: int) -> Any:
    return torch.randn(*batch, context, dtype=F64, generator=torch.Generator().manual_seed(8)) if context else None


@both
@ladder
def test_inverse_and_jacobian(name: str, context: int) -> None:
    flow, h = wrapped(name, context), given(context, 4)
    y = torch.randn(4, D, dtype=F64)
    u, log_det = flow(y, h)
    assert u.shape == (4, D) and log_det.shape == (4,)
    close = 1e-12 if name in EXACT else 1e-5
    torch.testing.assert_close(flow.inverse(u, h), y, rtol=0, atol=close)
    jacobian = torch.stack(
        [
            torch.autograd.functional.jacobian(lambda v, i=i: flow(v, None if h is None else h[i])[0], y[i])  # type: ignore[misc]
            for i in range(4)
        ]
    )
    torch.testing.assert_close(log_det, torch.linalg.slogdet(jacobian).logabsdet, rtol=0, atol=1e-6)


@both
@ladder
def test_density_is_that_of_zuko(name: str, context: int) -> None:
    """Behind a standard normal base, which zuko puts there itself."""
    oracle, flow, h = theirs(name, context).double(), wrapped(name, context), given(context, 5)
    y = torch.randn(5, D, dtype=F64)
    base = GaussianMixture(torch.zeros(1, dtype=F64), torch.zeros(1, D, dtype=F64), Diagonal(torch.ones(1, D).double()))
    expected = oracle(h).log_prob(y)
    torch.testing.assert_close(FlowedDistribution(base, flow, h).log_prob(y), expected, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize("name", ["NICE", "MAF", "NSF", "SOSPF", "UNAF"])
def test_in_a_model_it_climbs_the_ladder(name: str, conditional: bool) -> None:
    hidden = 8
    features = hidden if conditional else 0

    def build() -> Any:
        torch.manual_seed(0)
        return frmdn(2, D, 3, hidden, flow=FromZuko(theirs(name, features), D, features)).double()

    density, other = build(), build()
    context, y = torch.randn(4, 6, 2, dtype=F64), 5e4 + 1e4 * torch.randn(4, 6, D, dtype=F64)
    density.fit_scale(y, context=context)
    distribution, _ = density(context)
    assert distribution.sample((3,)).shape == (3, 4, 6, D) and distribution.mode.shape == (4, 6, D)
    log_prob = distribution.log_prob(y)
    assert log_prob.shape == (4, 6)
    log_prob.sum().backward()
    for key, parameter in density.named_parameters():
        assert parameter.grad is not None, key
        assert bool(torch.isfinite(parameter.grad).all()), key
    other.load_state_dict(density.state_dict())
    assert torch.equal(other(context)[0].log_prob(y), log_prob)


@pytest.mark.parametrize("name", ["NSF", "UNAF", "NICE"])
def test_the_density_of_one_dimension_integrates_to_one(name: str) -> None:
    density = mdn(2, 1, 3)
    density.flow = FromZuko(theirs(name, event=1), 1)
    grid = torch.linspace(-30, 30, 40_001, dtype=F64)  # fine: the slope of a spline has jumps
    found = density.double()(torch.randn(1, 2, dtype=F64))[0].log_prob(grid[:, None, None]).exp()[:, 0]
    assert torch.trapezoid(found, grid).item() == pytest.approx(1, abs=3e-4)


def test_single_transformations_and_chains() -> None:
    zuko, y = import_zuko(), torch.randn(5, D, dtype=F64)
    fixed = FromZuko(AffineTransform(1.0, 2.0), D)  # of torch, one log determinant for each dimension
    torch.testing.assert_close(fixed(y), (1 + 2 * y, torch.full((5,), D * math.log(2), dtype=F64)))
    lazy = zuko.lazy.UnconditionalTransform(zuko.transforms.MonotonicAffineTransform, torch.zeros(D), torch.ones(D))
    flow = Chain(FromZuko(lazy, D), Coupling(D)).double()
    torch.testing.assert_close(flow.inverse(flow(y)[0]), y)
    assert flow(y)[1].shape == (5,) and list(FromZuko(lazy, D).parameters())


def test_what_does_not_fit_is_named() -> None:
    zuko = import_zuko()
    for name in ("MAF", "NSF"):
        with pytest.raises(ValueError, match="features=2, context=0"):
            FromZuko(theirs(name), 2)
        with pytest.raises(ValueError, match="features=3, context=0"):
            FromZuko(theirs(name, C), D)
        with pytest.raises(ValueError, match="context is missing"):
            wrapped(name, C)(torch.zeros(1, D, dtype=F64))
    with pytest.raises(ValueError, match="circular"):
        FromZuko(zuko.flows.NCSF(D, transforms=2), D)
    with pytest.raises(ValueError, match="codomain Interval"):
        FromZuko(SigmoidTransform(), D)
    with pytest.raises(ValueError, match=r"give a flow of zuko, as zuko.flows.NSF\(3\)"):
        FromZuko("NSF", D)
    with pytest.raises(ValueError, match="FromZuko"):
        frmdn(2, D, flow=theirs("NSF"))


def test_importing_zuko_leaves_torchs_validation_on() -> None:
    before = Distribution._validate_args  # type: ignore[attr-defined]
    import_zuko()
    assert Distribution._validate_args == before  # type: ignore[attr-defined]


def test_without_zuko_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zuko", None)
    with pytest.raises(MissingExtra, match=r"pip install 'frmdn\[zuko\]'"):
        import_zuko()
