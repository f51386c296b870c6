"""The distribution of a pen's next step, for every model of the catalogue: exact, backwards and forwards."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from frmdn.agent.density.catalogue import MODELS
from frmdn.agent.density.flowed import FlowedDistribution
from frmdn.agent.density.flows.flow import Identity
from frmdn.agent.density.low_rank import LowRank
from frmdn.agent.density.mixture import GaussianMixture
from frmdn.agent.strokes.density import StrokeDensity
from frmdn.agent.strokes.distribution import StrokeDistribution


def model(name: str, timed: bool) -> StrokeDensity:
    torch.manual_seed(0)
    found = StrokeDensity(name, 5 + timed, timed, components=3, hidden=12).double()
    with torch.no_grad():  # flows that bend, mixtures that differ
        for parameter in found.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return found


def one(name: str, timed: bool = False) -> StrokeDistribution:
    found = model(name, timed)
    return found.distribution(torch.randn(found.density.trunk.features, dtype=torch.float64))


def plane() -> tuple[Tensor, float]:
    """Points of a square around the origin, and the area of each."""
    axis = torch.linspace(-14, 14, 201, dtype=torch.float64)
    return torch.cartesian_prod(axis, axis), 0.14**2


@pytest.mark.parametrize("name", MODELS)
def test_it_sums_to_one(name: str) -> None:
    strokes = one(name)
    grid, area = plane()
    total = 0.0
    for pen in range(3):
        value = torch.cat([grid, torch.full((len(grid), 1), float(pen), dtype=torch.float64)], -1)
        total += float(strokes.log_prob(value).exp().sum()) * area
    assert abs(total - 1) < 2e-3


def test_it_is_graves_mixture() -> None:
    """Full covariances, against torch's own."""
    torch.manual_seed(1)
    k, double = 4, torch.float64
    logits, loc, log = torch.randn(k, dtype=double), torch.randn(k, 2, dtype=double), torch.randn(k, 2, dtype=double)
    precision = LowRank.from_log(log, torch.randn(k, 1, 2, dtype=double))
    pen = torch.randn(3, dtype=double)
    ours = StrokeDistribution(FlowedDistribution(GaussianMixture(logits, loc, precision), Identity()), pen)
    root = torch.diag_embed(log.exp().sqrt())
    whitened = torch.eye(2, dtype=double) + precision.whitened.mT @ precision.whitened
    oracle = MixtureSameFamily(
        Categorical(logits=logits), MultivariateNormal(loc, precision_matrix=root @ whitened @ root)
    )
    value = torch.cat([torch.randn(50, 2, dtype=double), torch.randint(0, 3, (50, 1)).double()], -1)
    expected = oracle.log_prob(value[:, :2]) + Categorical(logits=pen).log_prob(value[:, 2])
    torch.testing.assert_close(ours.log_prob(value), expected)
    correlated = torch.linalg.inv(root @ whitened @ root)
    assert (correlated[:, 0, 1].abs() > 1e-2).all()


@pytest.mark.parametrize("timed", [False, True])
def test_a_low_rank_is_every_covariance(timed: bool) -> None:
    """D + U U^T of rank D - 1 with D the least eigenvalue: built by hand out of any matrix."""
    d = 3 if timed else 2
    precision = one("rmdn-low-rank", timed).offsets.base.precision
    assert precision.rank == d - 1 and precision.whitened.shape == (3, d - 1, d)  # said by the trunk for every row
    torch.manual_seed(3)
    root = torch.randn(d, d, dtype=torch.float64)
    wanted = root @ root.T + 0.1 * torch.eye(d, dtype=torch.float64)
    values, vectors = torch.linalg.eigh(wanted)
    factor = vectors[:, 1:] * (values[1:] - values[0]).sqrt()
    built = LowRank(values[0].expand(1, d), factor.unsqueeze(0))
    torch.testing.assert_close(built.variance()[0], torch.linalg.inv(wanted).diagonal())


def test_waits_are_positive_and_their_jacobian_counts() -> None:
    strokes = one("frmdn-diagonal", timed=True)
    drawn = strokes.sample((4000,), generator=torch.Generator().manual_seed(0))
    assert (drawn[:, 2] > 0).all() and drawn.shape == (4000, 4)
    value = drawn[:5]
    move = torch.cat([value[:, :2], value[:, 2:3].log()], -1)
    expected = strokes.offsets.log_prob(move) - value[:, 2].log()
    chances = torch.log_softmax(strokes.pen, -1)[value[:, 3].long()]
    torch.testing.assert_close(strokes.log_prob(value), expected + chances)
    # in other units of time the density changes by the unit, and nothing else: it is one of waits, not of logarithms
    wait = torch.linspace(1e-4, 200, 200_001, dtype=torch.float64)
    mixture = GaussianMixture(
        torch.zeros(1, dtype=torch.float64),
        torch.zeros(1, 3, dtype=torch.float64),
        LowRank(torch.ones(1, 3, dtype=torch.float64), torch.zeros(1, 3, 2, dtype=torch.float64)),
    )
    plain = StrokeDistribution(FlowedDistribution(mixture, Identity()), torch.zeros(3, dtype=torch.float64))
    rows = torch.zeros(len(wait), 4, dtype=torch.float64)
    rows[:, 2] = wait
    mass = plain.log_prob(rows).exp().sum() * (wait[1] - wait[0]) * 2 * math.pi * 3
    assert abs(float(mass) - 1) < 1e-3


@pytest.mark.parametrize("name", ["factorized", "rmdn-low-rank", "frmdn-spline"])
def test_samples_follow_the_density(name: str) -> None:
    strokes = one(name)
    drawn = strokes.sample((20_000,), generator=torch.Generator().manual_seed(0))
    shares = torch.bincount(drawn[:, 2].long(), minlength=3) / len(drawn)
    torch.testing.assert_close(shares.double(), torch.softmax(strokes.pen, -1), atol=0.012, rtol=0)
    grid, area = plane()
    mass = strokes.offsets.log_prob(grid).exp() * area
    mean = (grid * mass[:, None]).sum(0)
    spread = ((grid - mean).square() * mass[:, None]).sum(0).sqrt()
    assert ((drawn[:, :2].mean(0) - mean).abs() < 4 * spread / len(drawn) ** 0.5).all()


@pytest.mark.parametrize("name", MODELS)
def test_bias_is_graves(name: str) -> None:
    """Equations 61 and 62: deviations exp(-b) times as wide, logits 1 + b times as far apart; the pen is left alone."""
    strokes = one(name)
    neat = strokes.biased(1.5)
    before, after = strokes.offsets.base, neat.offsets.base
    torch.testing.assert_close(after.logits, before.logits * 2.5)
    torch.testing.assert_close(after.loc, before.loc)
    if name == "factorized":
        torch.testing.assert_close(after.scale, before.scale * math.exp(-1.5))
    else:
        torch.testing.assert_close(after.precision.variance(), before.precision.variance() * math.exp(-3.0))
    assert neat.pen is strokes.pen and strokes.biased(0.0) is strokes
    with pytest.raises(ValueError, match="bias must be 0 or more"):
        strokes.biased(-0.1)


def test_temperature_cools_the_pen_too() -> None:
    strokes = one("rmdn")
    cold = strokes.sample((2000,), temperature=0.05, generator=torch.Generator().manual_seed(0))
    likely = int(strokes.pen.argmax())
    assert float((cold[:, 2] == likely).double().mean()) > 0.95
    warm = strokes.sample((2000,), generator=torch.Generator().manual_seed(0))
    assert cold[:, :2].std() < 0.7 * warm[:, :2].std()


def test_masked_rows_count_for_nothing_and_hurt_nobody() -> None:
    whole = model("frmdn-low-rank", True)
    context = torch.randn(2, 3, 6, dtype=torch.float64)
    strokes, _ = whole(context)
    value = torch.rand(2, 3, 4, dtype=torch.float64) + 0.1
    value[..., 3] = 1.0
    mask = torch.tensor([[True, True, False], [True, False, False]])
    broken = value.clone()
    broken[~mask] = torch.tensor([float("nan"), 1.0, -1.0, 7.0], dtype=torch.float64)
    found = strokes.log_prob(broken, mask)
    torch.testing.assert_close(found[mask], strokes.log_prob(value)[mask])
    assert (found[~mask] == 0).all()
    found.sum().backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in whole.parameters() if p.grad is not None)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ([0.0, 0, 0.5, 3], "pen must be 0, 1 or 2"),
        ([0.0, 0, 0, 1], "wait is 0 or less"),
        ([0.0, 0, 1], "this density takes"),
    ],
)
def test_what_is_no_step_is_refused(row: list[float], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        one("rmdn", timed=True).log_prob(torch.tensor(row, dtype=torch.float64))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("timed", [False, True])
def test_every_parameter_learns_and_a_row_ignores_the_others(name: str, timed: bool) -> None:
    found = model(name, timed)
    context = torch.randn(3, 4, 5 + timed, dtype=torch.float64)
    value = torch.rand(3, 4, 3 + timed, dtype=torch.float64) + 0.1
    value[..., -1] = torch.tensor([0.0, 1, 0, 2], dtype=torch.float64)
    log_prob: Tensor = found(context)[0].log_prob(value)
    log_prob.sum().backward()
    dead = [key for key, p in found.named_parameters() if p.grad is None or not bool(p.grad.abs().sum() > 0)]
    assert not dead
    torch.testing.assert_close(found(context[1:2])[0].log_prob(value[1:2])[0], log_prob[1])
    later = context.clone()
    later[:, 2] += 1
    assert (found(later)[0].log_prob(value)[:, :2] == log_prob[:, :2]).all()  # the future plays no part
    assert not torch.allclose(found(later)[0].log_prob(value)[:, 2:], log_prob[:, 2:])
