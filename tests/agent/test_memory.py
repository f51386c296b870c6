"""M: one set of weights for step and unroll, causality, masks, gradients, learning."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from frmdn.agent.batch import SequenceBatch
from frmdn.agent.memory import Memory, MemoryConfig, MemoryState

SMALL = MemoryConfig(latent=4, action=2, hidden=16, components=3, rank=2, flow_hidden=8)
KINDS: dict[str, dict[str, Any]] = {
    "rmdn": {"density": "rmdn"},
    "frmdn": {},
    "low_rank": {"precision": "low_rank"},
    "semi_tied": {"precision": "semi_tied"},
    "two_hot": {"reward_head": "two_hot", "reward_bins": 11, "end_balance": 5.0},
}


def memory(kind: str = "frmdn", shake: float = 0.1) -> Memory:
    torch.manual_seed(0)
    built = Memory(replace(SMALL, **KINDS[kind])).double()
    with torch.no_grad():
        for parameter in built.density.flow.parameters():
            parameter += shake * torch.randn_like(parameter)
    return built


def batch(b: int = 3, t: int = 6, lengths: tuple[int, ...] | None = None) -> SequenceBatch:
    generator = torch.Generator().manual_seed(7)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    mask = torch.arange(t) < torch.tensor(lengths or (t,) * b)[:, None]
    return SequenceBatch(normal(b, t + 1, 4), normal(b, t, 2), normal(b, t), (normal(b, t) > 1).double(), mask)


@pytest.mark.parametrize("kind", KINDS)
def test_unroll_equals_repeated_step(kind: str) -> None:
    m, data = memory(kind), batch()
    features, last = m.unroll(data.latents[:, :-1], data.actions)
    state = m.initial(3)
    for t in range(6):
        state = m.step(data.latents[:, t], data.actions[:, t], state)
        torch.testing.assert_close(state.h, features[:, t], rtol=0, atol=1e-12)
    torch.testing.assert_close(last, state, rtol=0, atol=1e-12)


def test_unroll_carries_its_state() -> None:
    m, data = memory(), batch()
    whole, last = m.unroll(data.latents[:, :-1], data.actions)
    first, state = m.unroll(data.latents[:, :3], data.actions[:, :3])
    second, end = m.unroll(data.latents[:, 3:-1], data.actions[:, 3:], state)
    torch.testing.assert_close(torch.cat((first, second), 1), whole, rtol=0, atol=1e-12)
    assert isinstance(end, MemoryState)
    torch.testing.assert_close(end, last, rtol=0, atol=1e-12)


def test_the_future_never_reaches_the_past() -> None:
    m, data = memory(), batch()
    before, _ = m.unroll(data.latents[:, :-1], data.actions)
    latents, actions = data.latents[:, :-1].clone(), data.actions.clone()
    latents[:, 4:] = 50.0
    actions[:, 4:] = -50.0
    after, _ = m.unroll(latents, actions)
    assert torch.equal(before[:, :4], after[:, :4]) and not torch.equal(before[:, 4], after[:, 4])


def test_rows_are_independent() -> None:
    m, data = memory(), batch()
    before, _ = m.unroll(data.latents[:, :-1], data.actions)
    latents = data.latents[:, :-1].clone()
    latents[1] = 9.0
    after, _ = m.unroll(latents, data.actions)
    torch.testing.assert_close(before[[0, 2]], after[[0, 2]], rtol=0, atol=1e-14)
    assert not torch.allclose(before[1], after[1])


@pytest.mark.parametrize("rubbish", [1e3, float("nan")])
def test_a_masked_tail_changes_neither_loss_nor_gradient(rubbish: float) -> None:
    m, data = memory("low_rank"), batch(lengths=(6, 2, 4))
    pad = ~data.mask
    dirty = SequenceBatch(
        torch.cat((data.latents[:, :1], data.latents[:, 1:].masked_fill(pad[..., None], rubbish)), 1),
        data.actions.masked_fill(pad[..., None], rubbish),
        data.rewards.masked_fill(pad, rubbish),
        data.ends.masked_fill(pad, rubbish),
        data.mask,
    )
    results = []
    for one in (data, dirty):
        m.zero_grad()
        loss = m.loss(one)
        loss.total.backward()
        results.append([loss.total.detach(), *(p.grad.clone() for p in m.parameters() if p.grad is not None)])
    assert torch.isfinite(results[0][0])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-13)


def test_loss_is_the_mean_over_real_transitions() -> None:
    m, data = memory(), batch(lengths=(6, 2, 4))
    loss = m.loss(data)
    features, _ = m.unroll(data.latents[:, :-1], data.actions)
    p = m.predict(features)
    nll = -(p.latent.log_prob(data.latents[:, 1:])[data.mask]).sum() / 12
    reward = (p.reward - data.rewards).square()[data.mask].sum() / 12
    end = -torch.distributions.Bernoulli(logits=p.done_logit).log_prob(data.ends)[data.mask].sum() / 12
    for name, expected in (("nll", nll), ("nll_per_dim", nll / 4), ("reward", reward), ("end", end)):
        assert float(loss.parts[name]) == pytest.approx(expected.item(), abs=1e-12)
    assert list(loss.parts) == ["nll", "nll_per_dim", "reward", "end"]
    assert loss.total.item() == pytest.approx((nll + reward + end).item())


def test_the_reward_of_a_distribution_is_its_mean_and_its_loss_a_cross_entropy() -> None:
    m, data = memory("two_hot"), batch(lengths=(6, 2, 4))
    features, _ = m.unroll(data.latents[:, :-1], data.actions)
    logits = m.outcome(features)[..., :-1]
    assert logits.shape == (3, 6, 11)
    expected = logits.softmax(-1) @ m.two_hot.values.double()
    torch.testing.assert_close(m.predict(features).reward, expected)
    chances = logits.log_softmax(-1)[data.mask]
    cross = -(m.two_hot.target(data.rewards[data.mask]) * chances).sum(-1).mean()
    assert float(m.loss(data).parts["reward"]) == pytest.approx(cross.item(), abs=1e-10)


def test_a_head_on_squared_error_is_what_it_always_was() -> None:
    """Old weights fit, by name and shape, and what they say has not changed by a bit."""
    m, h = memory(), torch.randn(5, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert m.state_dict()["outcome.weight"].shape == (2, 16)
    assert [name for name in m.state_dict() if not name.startswith("density.")] == ["outcome.weight", "outcome.bias"]
    reward, done = m.outcome(h).unbind(-1)
    prediction = m.predict(h)
    assert torch.equal(prediction.reward, reward) and torch.equal(prediction.done_logit, done)


def test_ends_that_count_more_are_still_predicted_with_their_chance() -> None:
    """One transition in forty ends the episode, whatever is seen: the chance must come out as 1/40, not as 5/44."""
    torch.manual_seed(0)
    m = Memory(replace(SMALL, density="rmdn", end_balance=5.0))
    ends = torch.zeros(4, 100)
    ends.view(-1)[::40] = 1
    data = SequenceBatch(torch.zeros(4, 101, 4), torch.zeros(4, 100, 2), ends * 0, ends, torch.ones(4, 100).bool())
    optimiser = torch.optim.Adam(m.outcome.parameters(), 0.05)
    for _ in range(250):
        loss = m.loss(data)
        optimiser.zero_grad()
        loss.total.backward()
        optimiser.step()
    with torch.no_grad():
        features, _ = m.unroll(data.latents[:, :-1], data.actions)
        assert m.predict(features).done_logit.sigmoid().mean().item() == pytest.approx(1 / 40, rel=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_gets_a_gradient(kind: str) -> None:
    m = memory(kind)
    m.loss(batch()).total.backward()
    for name, parameter in m.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("kind", KINDS)
def test_learns_a_rotation(kind: str) -> None:
    """z turns by the action's angle: predictable, so the loss must fall far below that of an untrained memory."""
    torch.manual_seed(0)
    m = Memory(replace(SMALL, **KINDS[kind]))
    actions = 0.5 * torch.randn(16, 20, 2)
    angle = torch.cat((torch.zeros(16, 1, 2), actions.cumsum(1)), 1)
    latents = torch.cat((angle.cos(), angle.sin()), -1) + 0.05 * torch.randn(16, 21, 4)
    data = SequenceBatch(latents, actions, actions[..., 0], torch.zeros(16, 20), torch.ones(16, 20, dtype=torch.bool))
    optimiser = torch.optim.Adam(m.parameters(), 1e-2)
    losses = []
    for _ in range(120):
        loss = m.loss(data)
        optimiser.zero_grad()
        loss.total.backward()
        optimiser.step()
        losses.append(loss.total.item())
    assert losses[-1] < losses[0] - 3.0


def test_bf16_autocast_keeps_the_density_in_float32() -> None:
    m, data = memory().float(), batch()
    single = SequenceBatch(*(x.float() for x in (data.latents, data.actions, data.rewards, data.ends)), data.mask)
    expected = m.loss(single).total
    with torch.autocast("cpu", torch.bfloat16):
        loss = m.loss(single)
    assert loss.total.dtype == torch.float32
    loss.total.backward()
    torch.testing.assert_close(loss.total, expected, rtol=0.02, atol=0.05)


@pytest.mark.parametrize(
    "change",
    [
        {"density": "mdn"},
        {"precision": "full"},
        {"latent": 0},
        {"blocks": 0},
        {"reward_head": "median"},
        {"end_balance": 0.0},
    ],
)
def test_mistakes_are_named(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        MemoryConfig(**change)


@pytest.mark.parametrize("kind", ["frmdn", "two_hot"])
def test_each_part_of_the_loss_has_its_own_weight(kind: str) -> None:
    torch.manual_seed(0)
    m = Memory(replace(SMALL, **KINDS[kind], reward_weight=3.0, end_weight=0.25)).double()
    loss = m.loss(batch(lengths=(6, 2, 4)))
    nll, reward, end = (float(loss.parts[name]) for name in ("nll", "reward", "end"))
    assert abs(reward - end) > 0.02  # so that weights on the wrong part would show
    assert loss.total.item() == pytest.approx(nll + 3 * reward + 0.25 * end)


def test_reward_and_end_have_gradients_of_their_own() -> None:
    """A weight of 0 silences its own output of the last layer, and no other."""
    for silent, weights in ((0, {"reward_weight": 0.0}), (1, {"end_weight": 0.0})):
        torch.manual_seed(0)
        m = Memory(replace(SMALL, **weights)).double()
        m.loss(batch()).total.backward()
        moved = m.outcome.weight.grad.abs().sum(1)  # type: ignore[union-attr]
        assert moved[silent] == 0 and moved[1 - silent] > 0
