"""The ladder that every mixture climbs, in float64: normalisation, moments, sampling, temperature, torch's manners."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, Normal

from frmdn.agent.density import Diagonal, FactorizedMixture, GaussianMixture, Linear, LowRank, SemiTied

F64 = torch.float64


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


def linear(event: int) -> Linear:
    flow = Linear(event).double()
    with torch.no_grad():
        flow.triangles += 0.3 * normal(event, event, seed=5)
        flow.log_diagonal += 0.3 * normal(event, seed=6)
    return flow


def parts(batch: Sequence[int], event: int) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, means and log precisions of three components."""
    return normal(*batch, 3, seed=1), 2 * normal(*batch, 3, event, seed=2), 0.5 * normal(*batch, 3, event, seed=3)


def factorized(batch: Sequence[int], event: int) -> FactorizedMixture:
    logits, loc, scale = (normal(*batch, event, 3, seed=seed) for seed in (1, 2, 3))
    return FactorizedMixture(logits, 2 * loc, (0.5 * scale).exp())


def joint(make: Callable[[Tensor], Any]) -> Callable[[Sequence[int], int], GaussianMixture]:
    def build(batch: Sequence[int], event: int) -> GaussianMixture:
        logits, loc, log = parts(batch, event)
        return GaussianMixture(logits, loc, make(log))

    return build


MIXTURES: dict[str, Callable[[Sequence[int], int], Any]] = {
    "factorized": factorized,
    "diagonal": joint(lambda log: Diagonal(log.exp())),
    "tied": joint(lambda log: Diagonal(log[..., :1, :].exp())),
    "low_rank": joint(lambda log: LowRank(log.exp(), 0.7 * normal(*log.shape, 2, seed=4))),
    "directions": joint(
        lambda log: LowRank.from_log(
            log, normal(3, 2, log.shape[-1], seed=4), (0.3 * normal(*log.shape[:-1], 2, seed=7)).exp()
        )
    ),
    "semi_tied": joint(lambda log: SemiTied(log.exp(), linear(log.shape[-1]))),
}
ladder = pytest.mark.parametrize("name", MIXTURES)


@ladder
def test_density_integrates_to_one(name: str) -> None:
    x = torch.linspace(-40, 40, 40_001, dtype=F64)
    total = torch.trapezoid(MIXTURES[name]((), 1).log_prob(x[:, None]).exp(), x)
    assert total.item() == pytest.approx(1, abs=1e-10)


@ladder
def test_sample_moments_converge(name: str) -> None:
    mixture = MIXTURES[name]((), 3)
    x = mixture.sample((100_000,), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(x.mean(0), mixture.mean, rtol=0, atol=0.04)
    torch.testing.assert_close(x.var(0), mixture.variance, rtol=0.03, atol=0)


@ladder
def test_samples_have_the_density(name: str) -> None:
    """The mean of log p over samples of p is its negative entropy, which a sum over a grid knows."""
    mixture = MIXTURES[name]((), 1)
    x = torch.linspace(-40, 40, 40_001, dtype=F64)[:, None]
    log = mixture.log_prob(x)
    expected = torch.trapezoid(log.exp() * log, x[:, 0]).item()
    draws = mixture.sample((100_000,), generator=torch.Generator().manual_seed(0))
    assert mixture.log_prob(draws).mean().item() == pytest.approx(expected, abs=0.02)


@ladder
def test_shapes_and_every_gradient(name: str) -> None:
    mixture = MIXTURES[name]((2, 5), 4)
    assert mixture.batch_shape == (2, 5) and mixture.event_shape == (4,)
    assert mixture.sample().shape == (2, 5, 4) and mixture.sample((7,)).shape == (7, 2, 5, 4)
    assert mixture.mode.shape == mixture.mean.shape == mixture.variance.shape == (2, 5, 4)
    assert mixture.log_prob(normal(7, 2, 5, 4)).shape == (7, 2, 5)
    leaves = [mixture.logits.requires_grad_(), mixture.loc.requires_grad_()]
    mixture.log_prob(normal(2, 5, 4)).sum().backward()
    assert all(leaf.grad is not None and (leaf.grad != 0).all() for leaf in leaves)


@ladder
def test_rows_are_independent(name: str) -> None:
    mixture, x = MIXTURES[name]((3,), 4), normal(3, 4)
    expected = mixture.log_prob(x)
    x[1] = 50.0
    assert torch.equal(mixture.log_prob(x)[[0, 2]], expected[[0, 2]])


@ladder
def test_expand_is_the_same_density_for_more_rows(name: str) -> None:
    mixture = MIXTURES[name]((5,), 4)
    larger, x = mixture.expand((2, 5)), normal(2, 5, 4)
    assert larger.batch_shape == (2, 5) and larger.event_shape == (4,)
    torch.testing.assert_close(larger.log_prob(x), mixture.log_prob(x))
    for moment in ("mean", "mode", "variance"):
        torch.testing.assert_close(getattr(larger, moment), getattr(mixture, moment).expand(2, 5, 4))
    assert larger.sample((3,)).shape == (3, 2, 5, 4)


@ladder
def test_repr_names_class_and_sizes(name: str) -> None:
    text = repr(MIXTURES[name]((2,), 4))
    assert "Mixture(batch=(2,), components=3, event=4" in text


@ladder
def test_values_are_checked_where_torch_is_asked_to(name: str) -> None:
    """By default as torch.distributions has it (checks on), and the caller may say."""
    mixture = MIXTURES[name]((2,), 4)
    broken = torch.full((2, 4), math.nan, dtype=F64)
    with pytest.raises(ValueError, match="within the support"):
        mixture.log_prob(broken)
    with pytest.raises(ValueError, match="logits"):
        if isinstance(mixture, FactorizedMixture):
            FactorizedMixture(mixture.logits * math.nan, mixture.loc, mixture.scale)
        else:
            GaussianMixture(mixture.logits * math.nan, mixture.loc, mixture.precision)


@ladder
def test_sample_honours_its_generator_and_leaves_the_global_one_alone(name: str) -> None:
    mixture = MIXTURES[name]((), 2)
    before = torch.get_rng_state()
    a, b, c = (mixture.sample((9,), generator=torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(a, b) and not torch.equal(a, c)
    assert torch.equal(before, torch.get_rng_state())


@ladder
def test_a_temperature_must_be_positive(name: str) -> None:
    with pytest.raises(ValueError, match="temperature must be above 0"):
        MIXTURES[name]((), 2).sample(temperature=0.0)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("kind", ["joint", "factorized"])
def test_temperature_divides_logits_and_widens(kind: str, temperature: float) -> None:
    logits, loc = torch.tensor([0.0, 1.0, -2.0, 0.5], dtype=F64), 1000.0 * torch.arange(4, dtype=F64)
    mixture: Any = (
        GaussianMixture(logits, loc[:, None], Diagonal(torch.full((4, 1), 0.25, dtype=F64)))
        if kind == "joint"
        else FactorizedMixture(logits[None], loc[None], torch.tensor(2.0, dtype=F64))
    )
    x = mixture.sample((50_000,), temperature=temperature, generator=torch.Generator().manual_seed(2))[:, 0]
    component = (x / 1000).round()
    share = torch.bincount(component.long(), minlength=4) / len(x)
    torch.testing.assert_close(share.to(F64), torch.softmax(logits / temperature, -1), rtol=0, atol=0.01)
    assert (x - 1000 * component).std().item() == pytest.approx(2 * temperature**0.5, rel=0.02)


def test_mode_is_the_mean_of_the_likeliest_component() -> None:
    logits, loc = torch.tensor([0.3, -1.0, 0.8], dtype=F64), torch.tensor([[-2.0], [0.5], [3.0]], dtype=F64)
    assert GaussianMixture(logits, loc, Diagonal(torch.ones(3, 1, dtype=F64))).mode.item() == 3.0
    both = FactorizedMixture(torch.stack((logits, -logits)), loc.T.expand(2, 3), torch.ones(2, 3, dtype=F64))
    assert both.mode.tolist() == [3.0, 0.5]


def test_factorized_is_a_product_of_torchs_mixtures() -> None:
    mixture, x = factorized((5,), 4), normal(5, 4)
    oracle = MixtureSameFamily(Categorical(logits=mixture.logits), Normal(mixture.loc, mixture.scale))
    torch.testing.assert_close(mixture.log_prob(x), oracle.log_prob(x).sum(-1), rtol=1e-12, atol=1e-10)
    torch.testing.assert_close(mixture.mean, oracle.mean)
    torch.testing.assert_close(mixture.variance, oracle.variance)


def test_factorized_of_one_component_is_the_joint_one() -> None:
    logits, loc, scale = normal(2, 4, 1), normal(2, 4, 1, seed=2), normal(2, 4, 1, seed=3).exp()
    same = GaussianMixture(logits[:, 0], loc.mT, Diagonal(scale.mT.square().reciprocal()))
    x = normal(2, 4, seed=4)
    torch.testing.assert_close(FactorizedMixture(logits, loc, scale).log_prob(x), same.log_prob(x))


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="make them equal"):
        GaussianMixture(torch.zeros(2), torch.zeros(2, 3), Diagonal(torch.ones(2, 4)))
    with pytest.raises(ValueError, match="logits has 1 components"):
        GaussianMixture(torch.zeros(1), torch.zeros(2, 3), Diagonal(torch.ones(2, 3)))
    with pytest.raises(ValueError, match="precision must be positive"):
        GaussianMixture(torch.zeros(2), torch.zeros(2, 3), Diagonal(-torch.ones(2, 3)))
    with pytest.raises(ValueError, match="scale"):
        FactorizedMixture(torch.zeros(3, 2), torch.zeros(3, 2), -torch.ones(3, 2))


def test_the_uniform_number_chooses_by_the_tempered_weights_and_the_normal_ones_are_scaled() -> None:
    """By hand: components 1000 apart, one sample of each number, at a temperature that moves the borders."""
    logits, loc = torch.tensor([0.0, 1.0, -2.0], dtype=F64), 1000.0 * torch.arange(3, dtype=F64)[:, None]
    mixture = GaussianMixture(logits, loc, Diagonal(torch.full((3, 1), 0.25, dtype=F64)))
    uniform, normal = torch.linspace(0, 0.999, 50, dtype=F64), torch.linspace(-2, 2, 50, dtype=F64)[:, None]
    for temperature in (0.5, 1.0, 3.0):
        borders = torch.softmax(logits / temperature, -1).cumsum(-1)
        component = torch.searchsorted(borders, uniform, right=True)
        expected = 1000.0 * component + 2 * temperature**0.5 * normal[:, 0]
        torch.testing.assert_close(mixture.sample_from(uniform, normal, temperature)[:, 0], expected)


@pytest.mark.parametrize("name", [name for name in MIXTURES if name != "factorized"])
def test_a_row_depends_on_its_own_numbers_alone(name: str) -> None:
    mixture = MIXTURES[name]((4,), 3)
    uniform, noise = torch.full((4,), 0.4, dtype=F64), normal(4, mixture.noise)
    before = mixture.sample_from(uniform, noise, 1.3)
    uniform[1], noise[1] = 0.99, 5.0
    after = mixture.sample_from(uniform, noise, 1.3)
    assert torch.equal(before[[0, 2, 3]], after[[0, 2, 3]]) and not torch.equal(before[1], after[1])
