"""The ladder that every composition climbs: MDN, RMDN and FRMDN from the same parts, and the catalogue."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from frmdn.agent.density import Chain, ConditionalDensity, Identity, MixtureHead, frmdn, mdn, rmdn
from frmdn.agent.density.catalogue import MODELS as CATALOGUE
from frmdn.agent.density.catalogue import TOLERANCE, build
from frmdn.agent.density.networks import MLP, Recurrent

F64 = torch.float64
NAMES = [
    "factorized",
    "rmdn",
    "rmdn-low-rank",
    "frmdn-diagonal",
    "frmdn-semi-tied",
    "frmdn-low-rank",
    "frmdn-spline",
    "frmdn-conditional",
]
MODELS: dict[str, Callable[[], ConditionalDensity]] = {
    "mdn": lambda: mdn(3, 4, 3, (16, 16)),
    **{name: lambda name=name: CATALOGUE[name](3, 4, 3, 16) for name in NAMES},  # type: ignore[misc]
    "conditional low rank": lambda: frmdn(3, 4, 3, 16, conditional=True),
    "free": lambda: ConditionalDensity(Recurrent(3, 16), MixtureHead(16, 4, 3, "low_rank_free", 2), Identity()),
}
ladder = pytest.mark.parametrize("name", MODELS)


def model(name: str) -> ConditionalDensity:
    torch.manual_seed(0)
    built = MODELS[name]().double()
    with torch.no_grad():
        for parameter in built.flow.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return built


def data(b: int = 2, t: int = 6, event: int = 4) -> tuple[Tensor, Tensor]:
    noise = torch.Generator().manual_seed(7)
    return torch.randn(b, t, 3, dtype=F64, generator=noise), torch.randn(b, t, event, dtype=F64, generator=noise)


@ladder
def test_shapes_gradients_and_samples(name: str) -> None:
    density, (context, y) = model(name), data()
    distribution, _ = density(context)
    log_prob = distribution.log_prob(y)
    assert distribution.batch_shape == log_prob.shape == (2, 6) and distribution.event_shape == (4,)
    assert distribution.sample().shape == distribution.mode.shape == distribution.mean.shape == (2, 6, 4)
    assert distribution.sample((3,), temperature=1.2, generator=torch.Generator()).shape == (3, 2, 6, 4)
    log_prob.sum().backward()
    for key, parameter in density.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, key


@ladder
def test_round_trip_and_rows(name: str) -> None:
    density, other = model(name), MODELS[name]().double()
    other.load_state_dict(density.state_dict())
    context, y = data(3)
    expected = density(context)[0].log_prob(y)
    assert torch.equal(other(context)[0].log_prob(y), expected)
    context[1] += 1.0
    torch.testing.assert_close(density(context)[0].log_prob(y)[[0, 2]], expected[[0, 2]], rtol=0, atol=1e-12)


@ladder
def test_the_future_is_not_known(name: str) -> None:
    """Changing context and target from step 4 on changes no density before."""
    density, (context, y) = model(name), data()
    expected = density(context)[0].log_prob(y)[:, :4]
    context[:, 4:], y[:, 4:] = 9.0, -9.0
    torch.testing.assert_close(density(context)[0].log_prob(y)[:, :4], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in MODELS if name != "mdn"])
def test_recurrent_state_carries_over(name: str) -> None:
    density, (context, y) = model(name), data()
    whole = density(context)[0].log_prob(y)
    _, state = density(context[:, :4])
    rest, _ = density(context[:, 4:], state)
    torch.testing.assert_close(rest.log_prob(y[:, 4:]), whole[:, 4:])


@pytest.mark.parametrize("name", NAMES)
def test_the_density_of_one_dimension_integrates_to_one(name: str) -> None:
    torch.manual_seed(0)
    density = CATALOGUE[name](3, 1, 3, 16).double()
    with torch.no_grad():
        for parameter in density.flow.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    distribution, _ = density(data(1, 1)[0])
    y = torch.linspace(-40, 40, 20_001, dtype=F64)
    total = torch.trapezoid(distribution.log_prob(y[:, None, None, None]).exp()[:, 0, 0], y)
    assert total.item() == pytest.approx(1, abs=1e-5)  # the density of a spline has kinks, which a sum sees


def test_frmdn_with_identity_flow_is_rmdn_to_the_last_bit() -> None:
    torch.manual_seed(0)
    plain = rmdn(3, 4, 3, 16)
    for flow in (Identity(), Chain(Identity()), Chain()):
        torch.manual_seed(0)
        flowed = frmdn(3, 4, 3, 16, "diagonal", flow=flow)
        context, y = (part.float() for part in data())
        losses = [-m(context)[0].log_prob(y).mean() for m in (plain, flowed)]
        assert torch.equal(losses[0], losses[1])
        for m, loss in zip((plain, flowed), losses, strict=True):
            m.zero_grad()
            loss.backward()
        for a, b in zip(plain.parameters(), flowed.parameters(), strict=True):
            assert a.grad is not None and b.grad is not None and torch.equal(a.grad, b.grad)


@pytest.mark.parametrize("conditional", [False, True])
def test_frmdn_starts_as_rmdn(conditional: bool) -> None:
    """The coupling flow starts as the identity, so a fresh FRMDN is its RMDN until the first step."""
    torch.manual_seed(0)
    plain = rmdn(3, 4, 3, 16)
    torch.manual_seed(0)
    flowed = frmdn(3, 4, 3, 16, "diagonal", conditional=conditional)
    context, y = (part.float() for part in data())
    assert torch.equal(plain(context)[0].log_prob(y), flowed(context)[0].log_prob(y))


def test_the_networks_of_the_mdn_slides_have_286_and_510_parameters() -> None:
    """One input, one output, two hidden layers of 15, five components."""
    squared_error = MLP(1, 1, (15, 15), nn.Tanh)
    assert sum(p.numel() for p in squared_error.parameters()) == 286
    assert sum(p.numel() for p in mdn(1, 1, 5).parameters()) == 510
    assert sum(isinstance(m, nn.Tanh) for m in mdn(1, 1, 5).modules()) == 2


def test_mdn_learns_a_question_with_two_answers() -> None:
    """y = +-(1 + x / 2) with noise of 0.1: the entropy is log 2 + log(0.1 sqrt(2 pi e)), one Gaussian stays above 1."""
    torch.manual_seed(0)
    x = torch.rand(512, 1, dtype=F64)
    y = torch.randint(0, 2, (512, 1)).mul(2).sub(1) * (1 + x / 2) + 0.1 * torch.randn_like(x)
    losses = {}
    for components in (1, 5):
        torch.manual_seed(1)
        density = mdn(1, 1, components, (16, 16)).double()
        optimiser = torch.optim.Adam(density.parameters(), 1e-2)
        for _ in range(250):
            loss = -density(x)[0].log_prob(y).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        losses[components] = loss.item()
    assert losses[1] > 1
    assert losses[5] == pytest.approx(math.log(2) + math.log(0.1 * math.sqrt(2 * math.pi * math.e)), abs=0.15)


def test_the_catalogue_has_the_models_of_the_comparison() -> None:
    assert list(CATALOGUE) == NAMES
    with pytest.raises(ValueError, match="name must be one of factorized, rmdn"):
        build("lstm", 3, 4)


@pytest.mark.parametrize("inputs,outputs,components,hidden", [(35, 32, 5, 256), (200, 200, 20, 256), (8, 8, 5, 128)])
def test_the_models_of_a_comparison_have_equally_many_parameters(
    inputs: int, outputs: int, components: int, hidden: int
) -> None:
    counts = {}
    for name in NAMES:
        with torch.device("meta"):
            built = build(name, inputs, outputs, components, hidden)
        counts[name] = sum(p.numel() for p in built.parameters())
    for name, count in counts.items():
        assert abs(count - counts["rmdn"]) <= TOLERANCE * counts["rmdn"], (name, counts)


@pytest.mark.parametrize("name", NAMES)
def test_a_model_is_built_by_its_seed_alone(name: str) -> None:
    """The search for its size draws nothing; and where no size is fair, it keeps the one that was asked for."""
    torch.manual_seed(3)
    built = build(name, 1, 1, 5, 16)
    torch.manual_seed(3)
    direct = CATALOGUE[name](1, 1, 5, built.trunk.features)
    for a, b in zip(built.parameters(), direct.parameters(), strict=True):
        assert torch.equal(a, b)
    assert built.trunk.features == 16 or name == "rmdn-low-rank"


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="precision must be one of diagonal, low_rank, semi_tied"):
        frmdn(3, 4, 3, 16, "full")  # type: ignore[arg-type]
