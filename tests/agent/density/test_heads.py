"""The layers that make mixtures: every output counts, extremes stay finite, and low ranks start no worse."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from frmdn.agent.density import Diagonal, FactorizedHead, FactorizedMixture, GaussianMixture, LowRank, MixtureHead

F64 = torch.float64
HEADS: dict[str, Any] = {
    "factorized": FactorizedHead,
    "diagonal": MixtureHead,
    "low_rank": lambda *sizes: MixtureHead(*sizes, "low_rank", 2),
    "low_rank_free": lambda *sizes: MixtureHead(*sizes, "low_rank_free", 2),
}
ladder = pytest.mark.parametrize("name", HEADS)


def head(name: str, features: int, event: int, components: int) -> Any:
    torch.manual_seed(0)
    return HEADS[name](features, event, components)


@ladder
def test_every_output_gets_a_gradient(name: str) -> None:
    layer = head(name, 4, 3, 2).double()
    torch.manual_seed(1)
    layer(torch.randn(8, 4, dtype=F64)).log_prob(torch.randn(8, 3, dtype=F64)).sum().backward()
    for key, parameter in layer.named_parameters():
        assert (parameter.grad.reshape(len(parameter), -1).abs().sum(1) > 0).all(), key


@ladder
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_extreme_inputs_stay_finite(name: str, dtype: torch.dtype) -> None:
    layer = head(name, 4, 32, 5).to(dtype)
    features = torch.tensor([[1e4, -1e4, 1e4, 0.0], [0.0, 0.0, 0.0, 0.0]], dtype=dtype)
    loss = -layer(features).log_prob(torch.full((2, 32), 1e4, dtype=dtype)).sum()
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in layer.parameters())


@ladder
def test_state_round_trip_and_shapes(name: str) -> None:
    layer, other = head(name, 6, 4, 3), HEADS[name](6, 4, 3)
    other.load_state_dict(layer.state_dict())
    torch.manual_seed(1)
    features, x = torch.randn(2, 5, 6), torch.randn(2, 5, 4)
    mixture = layer(features)
    assert isinstance(mixture, FactorizedMixture | GaussianMixture) and mixture.sample().shape == (2, 5, 4)
    assert torch.equal(other(features).log_prob(x), mixture.log_prob(x))


@pytest.mark.parametrize("name", ["low_rank", "low_rank_free"])
def test_low_rank_starts_close_to_diagonal(name: str) -> None:
    layer = head(name, 16, 8, 5).double()
    torch.manual_seed(1)
    features, x = torch.randn(500, 16, dtype=F64), torch.randn(500, 8, dtype=F64)
    mixture = layer(features)
    assert isinstance(mixture.precision, LowRank)
    plain = GaussianMixture(mixture.logits, mixture.loc, Diagonal.from_log(mixture.precision.log))
    # 0.05 nats a dimension; noise without any structure is the worst case for directions
    assert (mixture.log_prob(x).mean() - plain.log_prob(x).mean()).abs() < 0.4


def test_low_rank_learns_what_a_diagonal_cannot() -> None:
    """y = (noise, noise + 0.05 noise): a diagonal stays at the marginals, a low rank finds the narrow direction."""
    noise = torch.Generator().manual_seed(0)
    shared = torch.randn(512, 1, generator=noise)
    y = torch.cat((shared, shared + 0.05 * torch.randn(512, 1, generator=noise)), 1)
    nll = {}
    for name in ("diagonal", "low_rank", "low_rank_free"):
        layer = head(name, 1, 2, 1)
        optimiser = torch.optim.Adam(layer.parameters(), 0.03)
        for _ in range(200):
            loss = -layer(torch.ones(512, 1)).log_prob(y).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        nll[name] = loss.item()
    assert nll["diagonal"] == pytest.approx(2.84, abs=0.15)  # twice the entropy of a standard normal
    assert nll["low_rank"] < nll["diagonal"] - 1 and nll["low_rank_free"] < nll["diagonal"] - 1


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="precision must be"):
        MixtureHead(4, 3, 2, "full")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 1"):
        MixtureHead(4, 3, 0)
    with pytest.raises(ValueError, match="at least 1"):
        FactorizedHead(4, 0, 2)
