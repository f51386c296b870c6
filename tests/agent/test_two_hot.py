"""Chances of fixed values: their mean is the target, and what is learnt is the mean of the data."""

from __future__ import annotations

import pytest
import torch

from frmdn.agent.two_hot import TwoHot


def test_the_two_chances_have_the_target_as_their_mean() -> None:
    head = TwoHot(41, 150.0)
    y = torch.tensor([0.0, -0.1, 3.2258, 1.0, -100.0, 149.9, 150.0, -150.0])
    target = head.target(y)
    assert target.shape == (8, 41) and ((target > 0).sum(-1) <= 2).all()
    torch.testing.assert_close(target.sum(-1), torch.ones(8))
    torch.testing.assert_close(target @ head.values, y, rtol=1e-5, atol=1e-5)
    places = target[2].nonzero().flatten()
    assert len(places) == 2 and head.values[places[0]] < 3.2258 < head.values[places[1]]
    assert places[1] == places[0] + 1


def test_values_are_symmetric_dense_at_zero_and_end_at_the_limit() -> None:
    values = TwoHot(21, 50.0).values
    torch.testing.assert_close(values, -values.flip(0))
    assert values[10] == 0 and values[-1] == pytest.approx(50.0, rel=1e-5)
    assert (values.diff().diff()[10:] > 0).all()


def test_cross_entropy_is_that_of_the_target() -> None:
    head, source = TwoHot(5, 10.0), torch.Generator().manual_seed(0)
    logits, y = torch.randn(7, 5, generator=source), 5 * torch.randn(7, generator=source)
    chances = torch.distributions.Categorical(logits=logits).logits
    expected = -(head.target(y) * chances).sum() / 7
    torch.testing.assert_close(head.loss(logits, y), expected)
    torch.testing.assert_close(head.expectation(logits), (logits.softmax(-1) * head.values).sum(-1))


def test_it_learns_the_mean_of_rare_spikes() -> None:
    """One number in ten is a spike: the expectation of the optimum is the mean of the data, not its mode."""
    head = TwoHot(41, 150.0)
    y = torch.cat((torch.full((90,), -0.1), torch.full((10,), 3.4)))
    logits = head.prior().requires_grad_()
    optimiser = torch.optim.Adam([logits], 0.1)
    for _ in range(400):
        loss = head.loss(logits.expand(100, -1), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert head.expectation(logits).item() == pytest.approx(y.mean().item(), abs=0.01)


def test_the_prior_expects_little() -> None:
    head = TwoHot(41, 150.0)
    assert abs(head.expectation(head.prior()).item()) < 1e-4
    assert head.prior().softmax(-1)[-1] < 1e-4


def test_nothing_is_saved_with_the_weights() -> None:
    assert not TwoHot(41, 150.0).state_dict()


def test_mistakes_are_named() -> None:
    for bins in (2, 40):
        with pytest.raises(ValueError, match="odd"):
            TwoHot(bins, 150.0)
    with pytest.raises(ValueError, match="reward_limit"):
        TwoHot(41, 0.0)
    with pytest.raises(ValueError, match=r"151 is beyond memory\.reward_limit=150: raise it"):
        TwoHot(41, 150.0).loss(torch.zeros(2, 41), torch.tensor([0.0, 151.0]))
