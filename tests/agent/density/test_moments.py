"""Variances that are exact behind affine flows, and samples that carry a gradient where there is one."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, MultivariateNormal, Normal

from frmdn.agent.density import (
    Chain,
    Coupling,
    Diagonal,
    FactorizedMixture,
    Flow,
    FlowedDistribution,
    GaussianMixture,
    Identity,
    Inverse,
    Linear,
    LowRank,
    Precision,
    Scale,
    SemiTied,
    Standardize,
    frmdn,
    rmdn,
)

F64 = torch.float64
D = 4


class Turned(Flow):
    """An affine flow whose matrix the context says: u = diag(exp(h)) y + h."""

    affine, context = True, D

    def forward(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        assert context is not None
        return y * context.exp() + context, context.sum(-1)

    def inverse(self, u: Tensor, context: Tensor | None = None) -> Tensor:
        assert context is not None
        return (u - context) * torch.exp(-context)


def standardize() -> Standardize:
    return Standardize(torch.linspace(-1, 2, D) * 1e6, torch.linspace(0.5, 2, D))


AFFINE: dict[str, Callable[[], Flow]] = {
    "identity": Identity,
    "linear": lambda: Linear(D),
    "inverse": lambda: Inverse(Linear(D)),
    "standardize": standardize,
    "chain": lambda: Chain(standardize(), Linear(D), Inverse(Linear(D))),
    "turned": Turned,
}


def shaken(flow: Flow) -> Any:
    flow = flow.double()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return flow


def precision(kind: str, *batch: int) -> Precision:
    log = torch.randn(*batch, 3, D, dtype=F64)
    if kind == "diagonal":
        return Diagonal(log.exp())
    if kind == "low rank":
        return LowRank(log.exp(), torch.randn(*batch, 3, D, 2, dtype=F64))
    if kind == "shared directions":
        return LowRank.from_log(log, torch.randn(3, 2, D, dtype=F64), torch.rand(*batch, 3, 2, dtype=F64))
    return SemiTied(log.exp(), shaken(Linear(D)))


def mixture(kind: str, *batch: int) -> Any:
    torch.manual_seed(4)
    loc, logits = torch.randn(*batch, 3, D, dtype=F64), torch.randn(*batch, 3, dtype=F64)
    if kind == "factorized":
        return FactorizedMixture(logits.unsqueeze(-2), loc.mT, torch.rand(*batch, D, 3, dtype=F64) + 0.1)
    return GaussianMixture(logits, loc, precision(kind, *batch))


def covariance(base: Any) -> Tensor:
    """The mixture's, from its definition, with whole matrices: [*B,D,D]."""
    if isinstance(base, FactorizedMixture):
        return torch.diag_embed(base.variance)
    normal = torch.eye(base.noise, dtype=F64).reshape(base.noise, *[1] * len(base.batch_shape), 1, base.noise)
    factor = base.precision.colour(normal).movedim(0, -1)  # P^-1 = F F^T
    weights, mean = torch.softmax(base.logits, -1)[..., None, None], base.mean
    second = factor @ factor.mT + base.loc.unsqueeze(-1) * base.loc.unsqueeze(-2)
    return (weights * second).sum(-3) - mean.unsqueeze(-1) * mean.unsqueeze(-2)


@pytest.mark.parametrize("kind", ["diagonal", "low rank", "shared directions", "semi tied", "factorized"])
@pytest.mark.parametrize("name", AFFINE)
def test_variance_behind_an_affine_flow_is_exact(name: str, kind: str) -> None:
    """Against M Cov M^T with whole matrices, M by finite differences of the flow."""
    base, flow = mixture(kind, 5), shaken(AFFINE[name]())
    context = torch.randn(5, D, dtype=F64)
    scale = Scale(D).double()
    scale.fit(1e3 * torch.randn(20, D, dtype=F64) - 1e5)
    unit, zero = torch.eye(D, dtype=F64), torch.zeros(D, dtype=F64)
    columns = [flow.inverse((unit[j] - 0 * zero).expand(5, D), context) for j in range(D)]
    matrix = torch.stack(columns, -1) - flow.inverse(zero.expand(5, D), context).unsqueeze(-1)
    expected = (matrix @ covariance(base) @ matrix.mT).diagonal(dim1=-2, dim2=-1)
    found = FlowedDistribution(base, flow, context)
    torch.testing.assert_close(found.variance, expected, rtol=1e-7, atol=0)
    torch.testing.assert_close(found.stddev, expected.sqrt(), rtol=1e-7, atol=0)
    scaled = FlowedDistribution(base, flow, context, scale=scale)
    torch.testing.assert_close(scaled.stddev, expected.sqrt() * scale.log_scale.exp(), rtol=1e-7, atol=0)


@pytest.mark.parametrize("kind", ["low_rank", "semi_tied", "diagonal"])
def test_an_rmdn_of_any_precision_tells_its_spread(kind: Any) -> None:
    """As documented for low_rank, where it raised; against samples, in the data's units, with a gradient."""
    torch.manual_seed(0)
    density, y = rmdn(3, D, 3, 8, kind, 2).double(), 5e4 + 1e4 * torch.randn(64, 9, D, dtype=F64)
    context = torch.randn(64, 9, 3, dtype=F64)
    shaken(density.flow)
    distribution, _ = density.fit_scale(y, context=context)(context[:2, :3])
    draws = distribution.sample((40_000,), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(draws.std(0), distribution.stddev, rtol=0.02, atol=0)
    distribution.variance.sum().backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in density.parameters() if p.grad is not None)
    if kind == "semi_tied":
        assert density.flow.triangles.grad.abs().sum() > 0  # type: ignore[union-attr]


def test_behind_a_curved_flow_sampling_is_the_way() -> None:
    distribution, _ = frmdn(3, D, 3, 8)(torch.zeros(2, 5, 3))
    for name in ("variance", "stddev"):
        with pytest.raises(NotImplementedError, match=r"curved flow Chain: estimate it, distribution.sample"):
            getattr(distribution, name)


def reparametrised(kind: str) -> tuple[Any, list[Tensor]]:
    torch.manual_seed(2)
    loc, log, factor = (
        torch.randn(1, D, dtype=F64, requires_grad=True),
        torch.randn(1, D, dtype=F64, requires_grad=True),
        torch.randn(1, D, 2, dtype=F64, requires_grad=True),
    )
    if kind == "diagonal":
        return GaussianMixture(torch.zeros(1, dtype=F64), loc, Diagonal.from_log(log)), [loc, log]
    return GaussianMixture(torch.zeros(1, dtype=F64), loc, LowRank(log.exp(), factor)), [loc, log, factor]


@pytest.mark.parametrize("flow", ["identity", "coupling"])
@pytest.mark.parametrize("kind", ["diagonal", "low rank"])
def test_one_component_has_samples_with_a_gradient(kind: str, flow: str) -> None:
    """Equal to `sample` of the same noise; and the entropy's gradient by them agrees with torch's closed form."""
    base, parameters = reparametrised(kind)
    torch.manual_seed(0)
    bent = shaken(Coupling(D)) if flow == "coupling" else Identity()
    density = FlowedDistribution(base, bent)
    assert density.has_rsample and base.has_rsample
    one, two = (draw((9,), generator=torch.Generator().manual_seed(3)) for draw in (density.rsample, density.sample))
    assert torch.equal(one, two) and one.requires_grad and not two.requires_grad
    one.square().sum().backward(retain_graph=True)
    for parameter in [*parameters, *bent.parameters()]:
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0
    if flow == "identity":
        draws = base.rsample((40_000,), generator=torch.Generator().manual_seed(3))
        found = torch.autograd.grad(draws.square().sum(-1).mean(), parameters)
        oracle = torch.diag(parameters[1][0].exp())
        if kind == "low rank":
            oracle = oracle + parameters[2][0] @ parameters[2][0].mT
        exact = MultivariateNormal(parameters[0][0], precision_matrix=oracle)
        expected = torch.autograd.grad((exact.variance + exact.mean.square()).sum(), parameters)
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=0.05, atol=0.05)


def test_a_factorised_mixture_has_samples_with_a_gradient_for_every_parameter() -> None:
    """Against the gradient of E[x^2 + x] in closed form, and against that of one sample by moving the parameters."""
    torch.manual_seed(0)
    logits, loc, log = (torch.randn(D, 3, dtype=F64, requires_grad=True) for _ in range(3))

    def density() -> FactorizedMixture:
        return FactorizedMixture(logits, loc, log.exp())

    draws = density().rsample((200_000,), generator=torch.Generator().manual_seed(1))
    plain = density().sample((200_000,), generator=torch.Generator().manual_seed(1))
    assert torch.equal(draws, plain) and density().has_rsample
    found = torch.autograd.grad((draws.square() + draws).sum(-1).mean(), (logits, loc, log))
    exact = MixtureSameFamily(Categorical(logits=logits), Normal(loc, log.exp()))
    expected = torch.autograd.grad((exact.variance + exact.mean.square() + exact.mean).sum(), (logits, loc, log))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0.03, atol=0.05)


def test_where_there_is_no_gradient_the_reason_is_said() -> None:
    distribution, _ = frmdn(3, D, 3, 8)(torch.zeros(2, 5, 3))
    assert not distribution.has_rsample
    with pytest.raises(NotImplementedError, match=r"3 components has no rsample: the choice.*components=1"):
        distribution.rsample()
    single, _ = frmdn(3, D, 1, 8)(torch.zeros(2, 5, 3))
    assert single.rsample((4,), temperature=0.5).shape == (4, 2, 5, D)


def test_one_component_behind_nothing_is_torchs_normal() -> None:
    base, (loc, log) = reparametrised("diagonal")
    oracle = Independent(Normal(loc[0], torch.exp(-0.5 * log[0])), 1)
    torch.testing.assert_close(FlowedDistribution(base, Identity()).variance, oracle.variance)
    assert math.isfinite(float(oracle.log_prob(base.rsample()).detach()))
