"""Precisions against torch.distributions, in float64; the oracle may build the matrices that the product never does."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, MultivariateNormal, Normal

from frmdn.agent.density import Diagonal, FlowedDistribution, GaussianMixture, Linear, LowRank, Precision, SemiTied
from frmdn.agent.density.low_rank import FACTOR_BOUND
from frmdn.agent.density.precision import bounded


def parts(event: int, rank: int, batch: tuple[int, ...] = (3,), components: int = 4) -> tuple[Tensor, ...]:
    torch.manual_seed(event)
    shape = (*batch, components, event)
    return (
        torch.randn(*batch, components, dtype=torch.float64),
        torch.randn(shape, dtype=torch.float64),
        torch.randn(shape, dtype=torch.float64).exp(),
        torch.randn(*shape, rank, dtype=torch.float64),
    )


def dense(diagonal: Tensor, factor: Tensor) -> Tensor:
    return torch.diag_embed(diagonal) + factor @ factor.mT


@pytest.mark.parametrize("event", [1, 2, 7, 64])
def test_diagonal_matches_independent_normals(event: int) -> None:
    logits, loc, diagonal, _ = parts(event, 1)
    x = 3 * torch.randn(5, 3, event, dtype=torch.float64)
    oracle = MixtureSameFamily(Categorical(logits=logits), Independent(Normal(loc, diagonal.rsqrt()), 1))
    mixture = GaussianMixture(logits, loc, Diagonal(diagonal))
    torch.testing.assert_close(mixture.log_prob(x), oracle.log_prob(x), rtol=1e-12, atol=1e-10)
    torch.testing.assert_close(mixture.mean, oracle.mean)
    torch.testing.assert_close(mixture.variance, oracle.variance)


@pytest.mark.parametrize("event,rank", [(1, 1), (2, 1), (7, 4), (64, 4), (3, 5)])
def test_low_rank_matches_dense_precision_matrix(event: int, rank: int) -> None:
    logits, loc, diagonal, factor = parts(event, rank)
    x = 3 * torch.randn(5, 3, event, dtype=torch.float64)
    dense_normal = MultivariateNormal(loc, precision_matrix=dense(diagonal, factor))
    oracle = MixtureSameFamily(Categorical(logits=logits), dense_normal)
    mixture = GaussianMixture(logits, loc, LowRank(diagonal, factor))
    torch.testing.assert_close(mixture.log_prob(x), oracle.log_prob(x), rtol=1e-12, atol=1e-10)
    torch.testing.assert_close(mixture.variance, oracle.variance, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("event,rank", [(1, 1), (7, 4), (64, 4)])
def test_shared_directions_match_the_factor_spelled_out(event: int, rank: int) -> None:
    """V_k diag(g) for every row: the way without a factor a row, against the dense matrix and the other way."""
    logits, loc, diagonal, _ = parts(event, rank)
    directions = torch.randn(4, rank, event, dtype=torch.float64)
    strength = torch.randn(3, 4, rank, dtype=torch.float64).exp()
    x = 3 * torch.randn(5, 3, event, dtype=torch.float64)
    shared = GaussianMixture(logits, loc, LowRank.from_log(diagonal.log(), directions, strength))
    factor = (directions * strength.unsqueeze(-1)).mT * diagonal.sqrt().unsqueeze(-1)
    dense_normal = MultivariateNormal(loc, precision_matrix=dense(diagonal, factor))
    oracle = MixtureSameFamily(Categorical(logits=logits), dense_normal)
    torch.testing.assert_close(shared.log_prob(x), oracle.log_prob(x), rtol=1e-12, atol=1e-10)
    torch.testing.assert_close(shared.variance, oracle.variance, rtol=1e-8, atol=1e-10)
    spelled = GaussianMixture(logits, loc, LowRank(diagonal, factor))
    draws = [m.sample((4,), generator=torch.Generator().manual_seed(1)) for m in (shared, spelled)]
    torch.testing.assert_close(draws[0], draws[1])


@pytest.mark.parametrize("event", [1, 2, 7, 64])
def test_semi_tied_matches_dense_precision_matrix(event: int) -> None:
    """P_k = U D_k U^T; and the same density as a diagonal mixture behind the flow u = U^T y."""
    logits, loc, diagonal, _ = parts(event, 1)
    flow = Linear(event).double()
    with torch.no_grad():
        flow.triangles += torch.randn_like(flow.triangles) / (2 * event)
        flow.log_diagonal += 0.3 * torch.randn_like(flow.log_diagonal)
    u = flow(torch.eye(event, dtype=torch.float64))[0]  # row i is the image of e_i, so this is U
    matrix = u @ torch.diag_embed(diagonal) @ u.mT
    oracle = MixtureSameFamily(Categorical(logits=logits), MultivariateNormal(loc, precision_matrix=matrix))
    mixture = GaussianMixture(logits, loc, SemiTied(diagonal, flow))
    x = 3 * torch.randn(5, 3, event, dtype=torch.float64)
    torch.testing.assert_close(mixture.log_prob(x), oracle.log_prob(x), rtol=1e-12, atol=1e-10)
    torch.testing.assert_close(mixture.variance, oracle.variance, rtol=1e-8, atol=1e-10)
    behind = FlowedDistribution(GaussianMixture(logits, flow(loc)[0], Diagonal(diagonal)), flow)
    torch.testing.assert_close(behind.log_prob(x), mixture.log_prob(x), rtol=1e-12, atol=1e-10)
    draws = [m.sample((4,), generator=torch.Generator().manual_seed(1)) for m in (mixture, behind)]
    torch.testing.assert_close(draws[0], draws[1], rtol=0, atol=1e-8)
    with pytest.raises(ValueError, match="make them equal"):
        SemiTied(diagonal, Linear(event + 1))


def test_semi_tied_samples_have_the_inverse_precision_as_covariance() -> None:
    flow = Linear(3).double()
    with torch.no_grad():
        flow.triangles += torch.tensor([[0, 0.4, -0.3], [0.5, 0, 0.2], [-0.6, 0.3, 0]], dtype=torch.float64)
    diagonal = torch.tensor([[0.5, 2.0, 1.0]], dtype=torch.float64)
    u = flow(torch.eye(3, dtype=torch.float64))[0]
    mixture = GaussianMixture(torch.zeros(1), torch.zeros(1, 3, dtype=torch.float64), SemiTied(diagonal, flow))
    x = mixture.sample((200_000,), generator=torch.Generator().manual_seed(0))
    expected = torch.linalg.inv(u @ torch.diag(diagonal[0]) @ u.mT)
    torch.testing.assert_close(x.T.cov(), expected, rtol=0.03, atol=0.02)


def test_low_rank_with_zero_factor_is_diagonal() -> None:
    _, loc, diagonal, factor = parts(6, 2)
    low = LowRank(diagonal, torch.zeros_like(factor))
    torch.testing.assert_close(low.log_density(loc), Diagonal(diagonal).log_density(loc), rtol=1e-13, atol=1e-13)


def test_low_rank_gradient_in_closed_form() -> None:
    torch.manual_seed(0)
    shapes = ((2, 3, 5), (2, 3, 5), (2, 3, 2, 5))
    error, log, factor = (torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes)
    assert torch.autograd.gradcheck(lambda *x: LowRank.from_log(*x[1:]).log_density(x[0]), (error, log, factor))
    tied = [p[:, :1].detach().requires_grad_() for p in (log, factor)]
    assert torch.autograd.gradcheck(lambda *x: LowRank.from_log(*x[1:]).log_density(x[0]), (error, *tied))
    shapes = ((2, 3, 5), (2, 3, 5), (3, 2, 5), (2, 3, 2))
    shared = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes]
    assert torch.autograd.gradcheck(lambda *x: LowRank.from_log(*x[1:]).log_density(x[0]), shared)


def test_low_rank_passes_its_rows_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pieces are for speed alone: value and gradients do not know of them."""
    torch.manual_seed(0)
    results = []
    for chunk in (1 << 19, 30, 1):  # all at once, three rows at a time, one
        monkeypatch.setattr("frmdn.agent.density.low_rank.CHUNK", chunk)
        torch.manual_seed(0)
        leaves = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in ((7, 5), (7, 5), (7, 2, 5))]
        value = LowRank.from_log(leaves[1], leaves[2].unsqueeze(0)).log_density(leaves[0].unsqueeze(0))
        results.append([value, *torch.autograd.grad(value.square().sum(), leaves)])
    for other in results[1:]:
        torch.testing.assert_close(other, results[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["diagonal", "low_rank"])
def test_a_component_axis_of_one_ties(kind: str) -> None:
    logits, loc, diagonal, factor = parts(5, 2)

    def build(d: Tensor, u: Tensor) -> Precision:
        return Diagonal(d) if kind == "diagonal" else LowRank(d, u)

    tied = GaussianMixture(logits, loc, build(diagonal[:, :1], factor[:, :1]))
    spelled = build(diagonal[:, :1].expand_as(diagonal).contiguous(), factor[:, :1].expand_as(factor).contiguous())
    copied = GaussianMixture(logits, loc, spelled)
    x = torch.randn(3, 5, dtype=torch.float64)
    torch.testing.assert_close(tied.log_prob(x), copied.log_prob(x))
    torch.testing.assert_close(tied.variance, copied.variance)
    draws = [m.sample((4,), generator=torch.Generator().manual_seed(1)) for m in (tied, copied)]
    torch.testing.assert_close(draws[0], draws[1])


@pytest.mark.parametrize("temperature", [1.0, 0.5, 2.0])
def test_low_rank_samples_have_the_inverse_precision_as_covariance(temperature: float) -> None:
    _, loc, diagonal, factor = parts(3, 2, (), 1)
    mixture = GaussianMixture(torch.zeros(1, dtype=torch.float64), loc, LowRank(diagonal, factor))
    x = mixture.sample((200_000,), temperature=temperature, generator=torch.Generator().manual_seed(0))
    expected = temperature * torch.linalg.inv(dense(diagonal, factor))[0]
    torch.testing.assert_close(x.T.cov(), expected, rtol=0.03, atol=0.01)
    torch.testing.assert_close(x.mean(0), loc[0], rtol=0, atol=0.02)


def test_bounded_is_identity_near_zero_and_never_passes_its_bound() -> None:
    x = torch.tensor([0.0, 1e-3, 1e4, -1e4], dtype=torch.float64)
    y = bounded(x, 2.0)
    assert y[:2].tolist() == pytest.approx([0.0, 1e-3], rel=1e-6)
    assert y.abs().max() <= 2


def test_low_rank_survives_a_degenerate_factor_in_float32() -> None:
    """Parallel columns as long as the head allows: I + V^T V is as badly conditioned as it gets."""
    whitened = torch.full((2, 1, 4, 64), FACTOR_BOUND)
    low = LowRank.from_log(torch.zeros(2, 1, 64), whitened)
    assert torch.isfinite(low.log_density(torch.ones(2, 1, 64))).all()
    assert torch.isfinite(low.colour(torch.ones(2, 1, low.noise))).all()
    assert (low.variance() > -1e-3).all()
