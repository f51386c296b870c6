"""The mixture as a distribution: normalisation, sampling, temperature, extremes; and the layer that makes it."""

from __future__ import annotations

import pytest
import torch

from agent.density import Diagonal, GaussianMixture, LowRank, MixtureHead

F64 = torch.float64


def mixture_1d(kind: str) -> GaussianMixture:
    logits, loc = torch.tensor([0.3, -1.0, 0.8], dtype=F64), torch.tensor([[-2.0], [0.5], [3.0]], dtype=F64)
    diagonal = torch.tensor([[4.0], [0.7], [1.5]], dtype=F64)
    precision = Diagonal(diagonal) if kind == "diagonal" else LowRank(diagonal, torch.full((3, 1, 2), 0.6, dtype=F64))
    return GaussianMixture(logits, loc, precision)


@pytest.mark.parametrize("kind", ["diagonal", "low_rank"])
def test_density_integrates_to_one(kind: str) -> None:
    x = torch.linspace(-30, 30, 60_001, dtype=F64)
    total = torch.trapezoid(mixture_1d(kind).log_prob(x[:, None]).exp(), x)
    assert total.item() == pytest.approx(1, abs=1e-10)


@pytest.mark.parametrize("kind", ["diagonal", "low_rank"])
def test_sample_moments_converge(kind: str) -> None:
    mixture = mixture_1d(kind)
    x = mixture.sample((100_000,), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(x.mean(0), mixture.mean, rtol=0, atol=0.03)
    torch.testing.assert_close(x.var(0), mixture.variance, rtol=0.03, atol=0)


def test_components_are_drawn_as_often_as_their_weights_say() -> None:
    logits = torch.tensor([0.0, 1.0, -2.0, 0.5], dtype=F64)
    mixture = GaussianMixture(logits, torch.arange(4, dtype=F64)[:, None], Diagonal(torch.full((4, 1), 1e8, dtype=F64)))
    for temperature in (0.5, 1.0, 3.0):
        x = mixture.sample((50_000,), temperature=temperature, generator=torch.Generator().manual_seed(2))
        share = torch.bincount(x[:, 0].round().long(), minlength=4) / len(x)
        torch.testing.assert_close(share.to(F64), torch.softmax(logits / temperature, -1), rtol=0, atol=0.01)


def test_sample_honours_its_generator_and_leaves_the_global_one_alone() -> None:
    mixture = mixture_1d("diagonal")
    before = torch.get_rng_state()
    a, b, c = (mixture.sample((9,), generator=torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(a, b) and not torch.equal(a, c)
    assert torch.equal(before, torch.get_rng_state())


def test_sample_shapes_and_bad_temperature() -> None:
    mixture = MixtureHead(6, 4, 3, "low_rank", 2).double()(torch.randn(2, 5, 6, dtype=F64))
    assert mixture.sample().shape == (2, 5, 4) and mixture.sample((7,)).shape == (7, 2, 5, 4)
    assert mixture.mode.shape == mixture.mean.shape == mixture.variance.shape == (2, 5, 4)
    with pytest.raises(ValueError, match="temperature must be above 0"):
        mixture.sample(temperature=0.0)


def test_mode_is_the_mean_of_the_likeliest_component() -> None:
    assert mixture_1d("diagonal").mode.item() == 3.0


@pytest.mark.parametrize("precision", ["diagonal", "low_rank"])
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_extreme_inputs_stay_finite(precision: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    head = MixtureHead(4, 32, 5, precision, 4).to(dtype)  # type: ignore[arg-type]
    features = torch.tensor([[1e4, -1e4, 1e4, 0.0], [0.0, 0.0, 0.0, 0.0]], dtype=dtype)
    loss = -head(features).log_prob(torch.full((2, 32), 1e4, dtype=dtype)).sum()
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in head.parameters() if p.grad is not None)


@pytest.mark.parametrize("precision", ["diagonal", "low_rank"])
def test_every_output_of_the_head_gets_a_gradient(precision: str) -> None:
    torch.manual_seed(0)
    head = MixtureHead(4, 3, 2, precision, 2).double()  # type: ignore[arg-type]
    head(torch.randn(8, 4, dtype=F64)).log_prob(torch.randn(8, 3, dtype=F64)).sum().backward()
    for parameter in head.parameters():
        assert parameter.grad is not None and (parameter.grad.reshape(len(parameter), -1).abs().sum(1) > 0).all()


def test_low_rank_head_starts_almost_diagonal() -> None:
    torch.manual_seed(0)
    low, features, x = (
        MixtureHead(16, 8, 5, "low_rank", 4).double(),
        torch.randn(9, 16).double(),
        torch.randn(9, 8).double(),
    )
    mixture = low(features)
    plain = GaussianMixture(mixture.logits, mixture.loc, Diagonal.from_log(mixture.precision.log))
    torch.testing.assert_close(mixture.log_prob(x), plain.log_prob(x), rtol=0, atol=0.05)


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="precision must be"):
        MixtureHead(4, 3, 2, "full")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 1"):
        MixtureHead(4, 3, 0)
    with pytest.raises(ValueError, match="make them equal"):
        GaussianMixture(torch.zeros(2), torch.zeros(2, 3), Diagonal(torch.ones(2, 4)))
