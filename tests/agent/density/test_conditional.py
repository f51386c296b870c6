"""Compositions: MDN, RMDN and FRMDN from the same parts."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from agent.density import Chain, ConditionalDensity, Identity, frmdn, mdn, rmdn

F64 = torch.float64
MODELS: dict[str, Callable[[], ConditionalDensity]] = {
    "mdn": lambda: mdn(3, 4, 3, (16, 16)),
    "rmdn": lambda: rmdn(3, 4, 3, 16),
    "frmdn": lambda: frmdn(3, 4, 3, 16, "diagonal"),
    "low_rank": lambda: frmdn(3, 4, 3, 16, "low_rank", 2),
    "semi_tied": lambda: frmdn(3, 4, 3, 16, "semi_tied"),
}


def model(name: str) -> ConditionalDensity:
    torch.manual_seed(0)
    built = MODELS[name]().double()
    with torch.no_grad():
        for parameter in built.flow.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return built


@pytest.mark.parametrize("name", MODELS)
def test_shapes_gradients_and_samples(name: str) -> None:
    density, context = model(name), torch.randn(2, 6, 3, dtype=F64)
    distribution, _ = density(context)
    log_prob = distribution.log_prob(torch.randn(2, 6, 4, dtype=F64))
    assert log_prob.shape == (2, 6) and distribution.sample().shape == (2, 6, 4)
    log_prob.sum().backward()
    for key, parameter in density.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, key


@pytest.mark.parametrize("name", MODELS)
def test_round_trip_and_rows(name: str) -> None:
    density, other = model(name), MODELS[name]().double()
    other.load_state_dict(density.state_dict())
    context, y = torch.randn(3, 5, 3, dtype=F64), torch.randn(3, 5, 4, dtype=F64)
    expected = density(context)[0].log_prob(y)
    assert torch.equal(other(context)[0].log_prob(y), expected)
    context[1] += 1.0
    torch.testing.assert_close(density(context)[0].log_prob(y)[[0, 2]], expected[[0, 2]], rtol=0, atol=1e-12)


def test_frmdn_with_identity_flow_is_rmdn_to_the_last_bit() -> None:
    torch.manual_seed(0)
    plain = rmdn(3, 4, 3, 16)
    torch.manual_seed(0)
    flowed = frmdn(3, 4, 3, 16, "diagonal", flow=Chain(Identity()))
    context, y = torch.randn(2, 6, 3), torch.randn(2, 6, 4)
    losses = [-m(context)[0].log_prob(y).mean() for m in (plain, flowed)]
    assert torch.equal(losses[0], losses[1])
    for loss in losses:
        loss.backward()
    for a, b in zip(plain.parameters(), flowed.parameters(), strict=True):
        assert a.grad is not None and b.grad is not None and torch.equal(a.grad, b.grad)


def test_frmdn_starts_as_rmdn() -> None:
    """The coupling flow starts as the identity, so a fresh FRMDN is its RMDN until the first step."""
    torch.manual_seed(0)
    plain = rmdn(3, 4, 3, 16)
    torch.manual_seed(0)
    flowed = frmdn(3, 4, 3, 16, "diagonal")
    context, y = torch.randn(2, 6, 3), torch.randn(2, 6, 4)
    assert torch.equal(plain(context)[0].log_prob(y), flowed(context)[0].log_prob(y))


def test_recurrent_state_carries_over() -> None:
    density, context = model("rmdn"), torch.randn(2, 6, 3, dtype=F64)
    whole, _ = density(context)
    _, state = density(context[:, :4])
    rest, _ = density(context[:, 4:], state)
    torch.testing.assert_close(rest.base.loc, whole.base.loc[:, 4:])


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
