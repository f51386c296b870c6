"""The ladder that every flow climbs, in float64."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import zuko
from torch import nn

from agent.density import (
    Autoregressive,
    Chain,
    Coupling,
    Diagonal,
    Flow,
    FlowedDistribution,
    GaussianMixture,
    Identity,
    Linear,
    couplings,
)
from agent.density.networks import MaskedMLP

F64 = torch.float64
FLOWS: dict[str, Callable[[int], Flow]] = {
    "identity": lambda d: Identity(),
    "linear": Linear,
    "coupling": Coupling,
    "flipped": lambda d: Coupling(d, flip=True),
    "couplings": couplings,
    "autoregressive": Autoregressive,
    "chain": lambda d: Chain(Linear(d), Coupling(d), Autoregressive(d)),
}


def shaken(name: str, event: int, size: float = 0.1) -> Flow:
    """A flow away from its start, which is the identity."""
    torch.manual_seed(event)
    flow = FLOWS[name](event).double()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += size * torch.randn_like(parameter)
    return flow


def mixture(event: int) -> GaussianMixture:
    torch.manual_seed(1)
    diagonal = Diagonal(torch.randn(3, event, dtype=F64).exp())
    return GaussianMixture(torch.randn(3, dtype=F64), torch.randn(3, event, dtype=F64), diagonal)


@pytest.mark.parametrize("name", FLOWS)
def test_starts_as_the_identity(name: str) -> None:
    y = torch.randn(4, 6, dtype=F64)
    u, log_det = FLOWS[name](6).double()(y)
    assert torch.equal(u, y) and torch.equal(log_det, torch.zeros(4, dtype=F64))


@pytest.mark.parametrize("event", [2, 5, 32])
@pytest.mark.parametrize("name", FLOWS)
def test_inverse(name: str, event: int) -> None:
    flow = shaken(name, event, 0.1 if event < 32 else 0.03)
    y = torch.randn(2, 7, event, dtype=F64)
    torch.testing.assert_close(flow.inverse(flow(y)[0]), y, rtol=0, atol=1e-12)
    single = y.float()
    torch.testing.assert_close(flow.float().inverse(flow(single)[0]), single, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("event", [2, 5])
@pytest.mark.parametrize("name", FLOWS)
def test_log_determinant_is_that_of_the_jacobian(name: str, event: int) -> None:
    flow, y = shaken(name, event), torch.randn(3, event, dtype=F64)
    jacobian = torch.stack([torch.autograd.functional.jacobian(lambda v: flow(v)[0], row) for row in y])
    torch.testing.assert_close(flow(y)[1], torch.linalg.slogdet(jacobian).logabsdet, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", FLOWS)
def test_rows_are_independent(name: str) -> None:
    flow, y = shaken(name, 4), torch.randn(3, 4, dtype=F64)
    other = y.clone()
    other[1] = 99.0
    assert torch.equal(flow(y)[0][[0, 2]], flow(other)[0][[0, 2]])


@pytest.mark.parametrize("name", [n for n in FLOWS if n != "identity"])
def test_every_parameter_gets_a_gradient(name: str) -> None:
    flow = shaken(name, 5)
    (-FlowedDistribution(mixture(5), flow).log_prob(torch.randn(16, 5, dtype=F64)).sum()).backward()
    for key, parameter in flow.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, key


@pytest.mark.parametrize("name", FLOWS)
def test_finite_for_extreme_inputs(name: str) -> None:
    flow = shaken(name, 6).float()
    for value in (1e4, -1e4):
        u, log_det = flow(torch.full((1, 6), value))
        assert torch.isfinite(u).all() and torch.isfinite(log_det).all()
        assert torch.isfinite(flow.inverse(torch.full((1, 6), value))).all()


@pytest.mark.parametrize("name", FLOWS)
def test_flowed_density_integrates_to_one(name: str) -> None:
    side = torch.linspace(-20, 20, 241, dtype=F64)
    y = torch.cartesian_prod(side, side)
    density = FlowedDistribution(mixture(2), shaken(name, 2)).log_prob(y).exp()
    assert (density.sum() * (side[1] - side[0]) ** 2).item() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("name", FLOWS)
def test_state_round_trip(name: str) -> None:
    flow, other = shaken(name, 4), FLOWS[name](4).double()
    other.load_state_dict(flow.state_dict())
    y = torch.randn(3, 4, dtype=F64)
    assert torch.equal(flow(y)[0], other(y)[0])


def test_autoregressive_matches_zuko() -> None:
    """zuko's affine transform softclips its log scale elsewhere, so both sides share one conditioner."""
    flow, y = shaken("autoregressive", 4), torch.randn(6, 4, dtype=F64)
    assert isinstance(flow, Autoregressive)

    def meta(x: torch.Tensor) -> torch.distributions.Transform:
        return zuko.transforms.DependentTransform(zuko.transforms.MonotonicAffineTransform(*_slope(flow, x)), 1)

    oracle = zuko.transforms.AutoregressiveTransform(meta, passes=4)
    u, log_det = oracle.call_and_ladj(y)
    torch.testing.assert_close(flow(y), (u, log_det))
    torch.testing.assert_close(flow.inverse(u), oracle.inv(u))


def _slope(flow: Autoregressive, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, float]:
    shift, scale = flow.conditioner(x).chunk(2, -1)
    log_scale, slope = 2 * torch.tanh(scale / 2), 1e-3
    return shift, log_scale / (1 - (log_scale / math.log(slope)).abs()), slope  # undoes zuko's own softclip


def test_masks_are_saved_and_let_no_later_input_through() -> None:
    torch.manual_seed(0)
    network = MaskedMLP(5, 2, (16, 16)).double()
    assert sum("mask" in key for key in network.state_dict()) == 3
    jacobian = torch.autograd.functional.jacobian(network, torch.randn(5, dtype=F64)).view(2, 5, 5)
    assert torch.equal(jacobian.triu(), torch.zeros_like(jacobian))
    assert (jacobian[:, torch.tril_indices(5, 5, -1)[0], torch.tril_indices(5, 5, -1)[1]] != 0).all()


def test_identity_leaves_the_base_density_alone() -> None:
    base, x = mixture(4), torch.randn(9, 4, dtype=F64)
    flowed = FlowedDistribution(base, Identity())
    assert torch.equal(flowed.log_prob(x), base.log_prob(x))
    a, b = (d.sample((5,), generator=torch.Generator().manual_seed(3)) for d in (base, flowed))
    assert torch.equal(a, b)
    assert torch.equal(flowed.mean, base.mean) and torch.equal(flowed.mode, base.mode)


def test_mode_and_mean_of_a_flowed_mixture() -> None:
    base, flow = mixture(4), shaken("couplings", 4)
    flowed = FlowedDistribution(base, flow)
    torch.testing.assert_close(flow(flowed.mode)[0], base.mode)
    assert torch.equal(flowed.mean, flowed.mode)
    linear = FlowedDistribution(base, shaken("linear", 4))
    draws = linear.sample((100_000,), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(draws.mean(0), linear.mean, rtol=0, atol=0.03)


def test_diagonal_behind_a_linear_flow_is_semi_tied() -> None:
    """P_k = A^T D_k A with one A for all components."""
    base, flow = mixture(3), shaken("linear", 3)
    a = flow(torch.eye(3, dtype=F64))[0].T
    precision = a.T @ torch.diag_embed(base.precision.log.exp()) @ a  # type: ignore[attr-defined]
    means = flow.inverse(base.loc)
    dense = torch.distributions.MultivariateNormal(means, precision_matrix=precision)
    oracle = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(logits=base.logits), dense)
    y = torch.randn(6, 3, dtype=F64)
    torch.testing.assert_close(FlowedDistribution(base, flow).log_prob(y), oracle.log_prob(y), rtol=0, atol=1e-10)


def test_samples_are_drawn_in_flow_space() -> None:
    base, flow = mixture(4), shaken("couplings", 4)
    draws = [
        d.sample((8,), temperature=1.7, generator=torch.Generator().manual_seed(5))
        for d in (base, FlowedDistribution(base, flow))
    ]
    torch.testing.assert_close(flow(draws[1])[0], draws[0])


def test_the_conditioner_has_four_linear_layers() -> None:
    assert sum(isinstance(m, nn.Linear) for m in Coupling(8).modules()) == 4


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Coupling(0)
    with pytest.raises(ValueError, match="blocks must be at least 1"):
        couplings(4, blocks=0)
