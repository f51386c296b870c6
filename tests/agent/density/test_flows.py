"""The ladder that every flow climbs, in float64 where nothing else is said; contexts included."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from frmdn.agent.density import (
    Autoregressive,
    Chain,
    Coupling,
    Diagonal,
    Flow,
    FlowedDistribution,
    GaussianMixture,
    Identity,
    Inverse,
    Linear,
    SplineCoupling,
    Standardize,
    couplings,
)
from frmdn.agent.density.networks import MaskedMLP

F64 = torch.float64
FEATURES = 3  # of the context


def standardize(event: int) -> Standardize:
    return Standardize(torch.linspace(-1, 2, event), torch.linspace(0.5, 2, event))


FLOWS: dict[str, Callable[[int], Flow]] = {
    "identity": lambda d: Identity(),
    "linear": Linear,
    "coupling": Coupling,
    "flipped": lambda d: Coupling(d, flip=True),
    "couplings": couplings,
    "spline": SplineCoupling,
    "splines": lambda d: couplings(d, kind="spline"),
    "autoregressive": Autoregressive,
    "reversed": lambda d: Autoregressive(d, reverse=True),
    "iaf": lambda d: Inverse(Autoregressive(d)),
    "chain": lambda d: Chain(Linear(d), Coupling(d), Autoregressive(d)),
    "standardized": lambda d: Chain(standardize(d), couplings(d)),
    "conditional": lambda d: couplings(d, context=FEATURES),
    "conditional splines": lambda d: couplings(d, context=FEATURES, kind="spline"),
    "conditional autoregressive": lambda d: Autoregressive(d, context=FEATURES),
    "conditional iaf": lambda d: Inverse(Autoregressive(d, context=FEATURES)),
}
ladder = pytest.mark.parametrize("name", FLOWS)


def shaken(name: str, event: int, size: float = 0.1) -> Flow:
    """A flow away from its start, which is the identity."""
    torch.manual_seed(event)
    flow = FLOWS[name](event).double()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += size * torch.randn_like(parameter)
    return flow


def context(*batch: int) -> Tensor:
    return torch.randn(*batch, FEATURES, dtype=F64, generator=torch.Generator().manual_seed(8))


def mixture(event: int) -> GaussianMixture:
    torch.manual_seed(1)
    diagonal = Diagonal(torch.randn(3, event, dtype=F64).exp())
    return GaussianMixture(torch.randn(3, dtype=F64), torch.randn(3, event, dtype=F64), diagonal)


@ladder
def test_starts_as_the_identity(name: str) -> None:
    y = torch.randn(4, 6, dtype=F64)
    flow = FLOWS[name](6).double()
    expected, constant = standardize(6).double()(y) if name == "standardized" else (y, torch.zeros(4, dtype=F64))
    u, log_det = flow(y, context(4))
    exact = 0 if "spline" not in name else 1e-12
    torch.testing.assert_close(u, expected, rtol=0, atol=exact)
    torch.testing.assert_close(log_det, constant, rtol=0, atol=exact)


@pytest.mark.parametrize("event", [1, 2, 5, 32])
@ladder
def test_inverse(name: str, event: int) -> None:
    """To 1e-12 in float64, 1e-6 in float32, where rounding u costs 2^-24 |u| / slope: flat splines give no more."""
    flow, h = shaken(name, event, 0.1 if event < 32 else 0.03), context(2, 7)
    y = torch.randn(2, 7, event, dtype=F64)
    torch.testing.assert_close(flow.inverse(flow(y, h)[0], h), y, rtol=1e-12, atol=1e-12)
    flow = (shaken(name, event, 0.03) if "spline" in name else flow).float()
    y, h = y.float(), h.float()
    torch.testing.assert_close(flow.inverse(flow(y, h)[0], h), y, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("event", [1, 2, 5])
@ladder
def test_log_determinant_is_that_of_the_jacobian(name: str, event: int) -> None:
    flow, y, h = shaken(name, event), 2 * torch.randn(3, event, dtype=F64), context(3)
    jacobian = torch.stack(
        [
            torch.autograd.functional.jacobian(lambda v, g=g: flow(v, g)[0], row)  # type: ignore[misc]
            for row, g in zip(y, h, strict=True)
        ]
    )
    torch.testing.assert_close(flow(y, h)[1], torch.linalg.slogdet(jacobian).logabsdet, rtol=0, atol=1e-11)


@ladder
def test_rows_are_independent(name: str) -> None:
    flow, y, h = shaken(name, 4), torch.randn(3, 4, dtype=F64), context(3)
    other, given = y.clone(), h.clone()
    other[1], given[1] = 99.0, -5.0
    torch.testing.assert_close(flow(y, h)[0][[0, 2]], flow(other, given)[0][[0, 2]], rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", [n for n in FLOWS if n != "identity"])
def test_every_parameter_gets_a_gradient(name: str) -> None:
    flow, h = shaken(name, 5), context(16)
    FlowedDistribution(mixture(5), flow, h).log_prob(torch.randn(16, 5, dtype=F64)).sum().backward()
    for key, parameter in flow.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, key


@pytest.mark.parametrize("name", ["couplings", "splines", "conditional", "conditional splines"])
def test_a_single_dimension_is_bent_by_constants_or_the_context(name: str) -> None:
    """There is no other half to look at; every weight still counts, and the flow is one function of y."""
    flow, y = shaken(name, 1), torch.linspace(-4, 4, 9, dtype=F64)[:, None]
    h = context(1).expand(9, -1)
    u, log_det = flow(y, h)
    assert (u.diff(dim=0) > 0).all() and (u - y).abs().min() > 0
    (u.square().sum() + log_det.sum()).backward()
    for key, parameter in flow.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, key


@ladder
def test_finite_for_extreme_inputs(name: str) -> None:
    flow, h = shaken(name, 6).float(), context(1).float()
    for value in (1e4, -1e4):
        y = torch.full((1, 6), value, requires_grad=True)
        u, log_det = flow(y, h)
        assert torch.isfinite(u).all() and torch.isfinite(log_det).all()
        assert torch.isfinite(flow.inverse(torch.full((1, 6), value), h)).all()
        (u.sum() + log_det.sum()).backward()
        assert torch.isfinite(y.grad).all()  # type: ignore[arg-type]
        assert all(torch.isfinite(p.grad).all() for p in flow.parameters() if p.grad is not None)


@ladder
def test_state_round_trip(name: str) -> None:
    flow, other = shaken(name, 4), FLOWS[name](4).double()
    other.load_state_dict(flow.state_dict())
    y, h = torch.randn(3, 4, dtype=F64), context(3)
    assert torch.equal(flow(y, h)[0], other(y, h)[0])


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in FLOWS if n != "identity"])
def test_finite_after_a_thousand_steps_at_a_high_learning_rate(name: str) -> None:
    """Adam at 0.1, thirty times the usual rate, on data with outliers."""
    torch.manual_seed(0)
    flow, noise = FLOWS[name](4), torch.Generator().manual_seed(0)
    base, h = GaussianMixture(torch.zeros(1), torch.zeros(1, 4), Diagonal(torch.ones(1, 4))), context(64).float()
    y = torch.randn(64, 4, generator=noise) / torch.rand(64, 1, generator=noise)
    optimiser = torch.optim.Adam(flow.parameters(), 0.1)
    for _ in range(1000):
        optimiser.zero_grad()
        (-FlowedDistribution(base, flow, h, validate_args=False).log_prob(y).mean()).backward()
        nn.utils.clip_grad_norm_(flow.parameters(), 1.0)
        optimiser.step()
    density = FlowedDistribution(base, flow, h)
    assert torch.isfinite(density.log_prob(y)).all() and torch.isfinite(density.sample()).all()
    assert all(torch.isfinite(parameter).all() for parameter in flow.parameters())


@pytest.mark.parametrize("name", [n for n in FLOWS if n.startswith("conditional")])
def test_a_context_bends_the_flow_and_must_be_given(name: str) -> None:
    flow, y = shaken(name, 4), torch.randn(1, 4, dtype=F64)
    assert flow.context == FEATURES
    one, two = (flow(y, h)[0] for h in (context(2)[:1], context(2)[1:]))
    assert (one - two).abs().max() > 1e-3
    with pytest.raises(ValueError, match="context is missing"):
        flow(y)
    with pytest.raises(ValueError, match="context is missing"):
        FlowedDistribution(mixture(4), flow)


def test_masks_are_saved_and_let_no_later_input_through() -> None:
    torch.manual_seed(0)
    network = MaskedMLP(5, 2, (16, 16)).double()
    assert sum("mask" in key for key in network.state_dict()) == 3
    jacobian = torch.autograd.functional.jacobian(network, torch.randn(5, dtype=F64)).view(2, 5, 5)
    assert torch.equal(jacobian.triu(), torch.zeros_like(jacobian))
    assert (jacobian[:, torch.tril_indices(5, 5, -1)[0], torch.tril_indices(5, 5, -1)[1]] != 0).all()
    turned = MaskedMLP(5, 2, (16, 16), reverse=True).double()
    jacobian = torch.autograd.functional.jacobian(turned, torch.randn(5, dtype=F64)).view(2, 5, 5)
    assert torch.equal(jacobian.tril(), torch.zeros_like(jacobian))


def test_inverse_flow_turns_maf_into_iaf() -> None:
    """Its samples take one pass of the conditioner, its densities D."""
    flow = shaken("autoregressive", 6)
    turned, u = Inverse(flow), torch.randn(3, 6, dtype=F64)
    assert torch.equal(turned.inverse(u), flow(u)[0])
    calls = []
    flow.conditioner.register_forward_hook(lambda *_: calls.append(1))  # type: ignore[union-attr]
    turned.inverse(u)
    assert len(calls) == 1
    turned(u)
    assert len(calls) == 1 + 6 + 1


def test_standardize_keeps_the_figures_of_the_data_as_buffers() -> None:
    y = torch.randn(50, 7, 3, dtype=F64) * torch.tensor([1.0, 5.0, 0.1], dtype=F64) + 4
    flow = Standardize.from_data(y)
    u, log_det = flow(y)
    torch.testing.assert_close(u.mean((0, 1)), torch.zeros(3, dtype=F64), rtol=0, atol=1e-12)
    torch.testing.assert_close(u.flatten(0, 1).std(0), torch.ones(3, dtype=F64))
    torch.testing.assert_close(log_det[0, 0], -y.flatten(0, 1).std(0).log().sum())
    assert set(flow.state_dict()) == {"mean", "log_scale"} and not list(flow.parameters())
    assert torch.isfinite(Standardize.from_data(torch.ones(5, 2))(torch.ones(5, 2))[0]).all()


def test_the_published_flow_is_two_blocks_of_four_linear_layers() -> None:
    blocks = list(couplings(8).flows)
    assert len(blocks) == 2
    for block in blocks:
        assert sum(isinstance(m, nn.Linear) for m in block.modules()) == 4
        assert sum(isinstance(m, nn.LeakyReLU) for m in block.modules()) == 3
    y = torch.randn(3, 8)
    with torch.no_grad():
        for block in blocks:
            block.conditioner.last.bias.fill_(0.1)  # type: ignore[union-attr,operator]
    moved = [(block(y)[0] != y).any(0) for block in blocks]  # type: ignore[operator]
    assert (moved[0] ^ moved[1]).all()  # each block bends the half that the other leaves alone


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Coupling(0)
    with pytest.raises(ValueError, match="blocks must be at least 1"):
        couplings(4, blocks=0)
    with pytest.raises(ValueError, match="kind must be"):
        couplings(4, kind="cubic")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="bins"):
        SplineCoupling(4, bins=1)
    with pytest.raises(ValueError, match="build all with one number"):
        Chain(couplings(4, context=2), couplings(4, context=3))
    with pytest.raises(ValueError, match="at least 2"):
        Standardize.from_data(torch.ones(1, 3))
    with pytest.raises(ValueError, match="finite"):
        Standardize.from_data(torch.full((4, 3), torch.nan))
