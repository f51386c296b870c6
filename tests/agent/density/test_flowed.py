"""The density behind a flow: normalisation, samples, moments, contexts, in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from frmdn.agent.density import (
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

F64 = torch.float64
FEATURES = 3
FLOWS = {
    "identity": lambda d: Identity(),
    "linear": Linear,
    "couplings": couplings,
    "splines": lambda d: couplings(d, kind="spline"),
    "autoregressive": Autoregressive,
    "chain": lambda d: Chain(Linear(d), Coupling(d), Autoregressive(d)),
    "conditional": lambda d: couplings(d, context=FEATURES),
}


def shaken(name: str, event: int) -> Flow:
    """A flow away from its start, which is the identity."""
    torch.manual_seed(event)
    flow = FLOWS[name](event).double()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return flow


def context(*batch: int) -> Tensor:
    return torch.randn(*batch, FEATURES, dtype=F64, generator=torch.Generator().manual_seed(8))


def mixture(event: int) -> GaussianMixture:
    torch.manual_seed(1)
    diagonal = Diagonal(torch.randn(3, event, dtype=F64).exp())
    return GaussianMixture(torch.randn(3, dtype=F64), torch.randn(3, event, dtype=F64), diagonal)


@pytest.mark.parametrize("name", FLOWS)
def test_flowed_density_integrates_to_one(name: str) -> None:
    side = torch.linspace(-20, 20, 241, dtype=F64)
    y, h = torch.cartesian_prod(side, side), context()
    density = FlowedDistribution(mixture(2), shaken(name, 2), h.expand(len(y), -1)).log_prob(y).exp()
    assert (density.sum() * (side[1] - side[0]) ** 2).item() == pytest.approx(1, abs=1e-3)


def test_one_context_serves_many_samples() -> None:
    flow, h = shaken("conditional", 4), context(5)
    density = FlowedDistribution(mixture(4), flow, h)
    assert density.batch_shape == (5,)  # of the context, where the mixture is one for all rows
    draws = density.sample((7,), generator=torch.Generator().manual_seed(0))
    assert draws.shape == (7, 5, 4) and density.log_prob(draws).shape == (7, 5)
    torch.testing.assert_close(density.expand((3, 5)).log_prob(draws[:3]), density.log_prob(draws[:3]))


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


def test_samples_are_drawn_in_flow_space() -> None:
    base, flow = mixture(4), shaken("couplings", 4)
    draws = [
        d.sample((8,), temperature=1.7, generator=torch.Generator().manual_seed(5))
        for d in (base, FlowedDistribution(base, flow))
    ]
    torch.testing.assert_close(flow(draws[1])[0], draws[0])


def test_a_flowed_distribution_has_torchs_manners() -> None:
    flowed = FlowedDistribution(mixture(4), shaken("couplings", 4))
    assert repr(flowed) == "FlowedDistribution(GaussianMixture(batch=(), components=3, event=4, Diagonal()), Chain)"
    with pytest.raises(ValueError, match="within the support"):
        flowed.log_prob(torch.full((4,), torch.nan, dtype=F64))


@pytest.mark.parametrize("temperature", [0.4, 1.0, 1.7])
@pytest.mark.parametrize("name", ["couplings", "conditional"])
def test_given_numbers_make_the_samples_of_the_base_at_the_temperature(name: str, temperature: float) -> None:
    """What dreams call: the numbers are the base's, the temperature acts on them, and the flow goes backwards."""
    base, flow, h = mixture(4), shaken(name, 4), context(6)
    flowed = FlowedDistribution(base, flow, h)
    source = torch.Generator().manual_seed(2)
    uniform = torch.rand(6, dtype=F64, generator=source)
    normal = torch.randn(6, flowed.noise, dtype=F64, generator=source)
    drawn = flowed.sample_from(uniform, normal, temperature)
    torch.testing.assert_close(flow(drawn, flowed.context)[0], base.sample_from(uniform, normal, temperature))
    if temperature != 1:
        assert not torch.allclose(drawn, flowed.sample_from(uniform, normal))
    with pytest.raises(ValueError, match="temperature must be above 0"):
        flowed.sample_from(uniform, normal, 0.0)


def test_a_conditional_flow_bends_every_row_as_its_own_context_says() -> None:
    """Mode, mean and samples of row i are those of a density that has context i alone."""
    base, flow, h = mixture(4), shaken("conditional", 4), context(3)
    whole = FlowedDistribution(base, flow, h)
    normal = torch.randn(3, whole.noise, dtype=F64, generator=torch.Generator().manual_seed(1))
    uniform = torch.tensor([0.1, 0.5, 0.9], dtype=F64)
    for row in range(3):
        one = FlowedDistribution(base, flow, h[row : row + 1])
        torch.testing.assert_close(whole.mode[row], one.mode[0])
        torch.testing.assert_close(whole.mean[row], one.mean[0])
        drawn = one.sample_from(uniform[row : row + 1], normal[row : row + 1])
        torch.testing.assert_close(whole.sample_from(uniform, normal)[row], drawn[0])
    assert not torch.allclose(whole.mode[0], whole.mode[1])
