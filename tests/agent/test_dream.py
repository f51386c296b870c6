"""The dream steps as M does, and as its generator says."""

from __future__ import annotations

import pytest
import torch

from frmdn.agent.dream import Dream, DreamState, Noise
from frmdn.agent.memory import Memory, MemoryConfig


def memory() -> Memory:
    torch.manual_seed(0)
    m = Memory(MemoryConfig(latent=4, action=2, hidden=16, components=3, precision="low_rank", rank=2)).double()
    with torch.no_grad():
        for parameter in m.density.flow.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return m


def start(rows: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return tuple(torch.randn(rows, n, generator=generator, dtype=torch.float64) for n in (4, 2))  # type: ignore[return-value]


def walk(dream: Dream, seed: int, steps: int = 4) -> tuple[DreamState, torch.Tensor, torch.Tensor]:
    z, action = start()
    state, generator = dream.initial(z), torch.Generator().manual_seed(seed)
    rewards, dones = [], []
    for _ in range(steps):
        state, reward, done = dream.step(state, action, generator)
        rewards.append(reward)
        dones.append(done)
    return state, torch.stack(rewards), torch.stack(dones)


@pytest.mark.parametrize("threshold", [0.5, None])
def test_one_seed_one_dream(threshold: float | None) -> None:
    dream = Dream(memory(), temperature=1.15, done_threshold=threshold)
    before = torch.get_rng_state()
    first, again, other = walk(dream, 1), walk(dream, 1), walk(dream, 2)
    assert torch.equal(first[0].z, again[0].z) and torch.equal(first[1], again[1]) and torch.equal(first[2], again[2])
    assert not torch.equal(first[0].z, other[0].z)
    assert torch.equal(before, torch.get_rng_state())


def test_step_is_step_then_predict_then_sample() -> None:
    m = memory()
    z, action = start()
    dream = Dream(m, temperature=1.3)
    state, reward, done = dream.step(dream.initial(z), action, torch.Generator().manual_seed(9))
    expected = m.step(z, action, m.initial(5))
    prediction = m.predict(expected.h)
    drawn = prediction.latent.sample(temperature=1.3, generator=torch.Generator().manual_seed(9))
    assert torch.equal(state.z, drawn) and torch.equal(state.memory.h, expected.h)
    assert torch.equal(reward, prediction.reward) and torch.equal(done, prediction.done_logit > 0)
    assert reward.shape == done.shape == (5,) and done.dtype == torch.bool
    assert not state.z.requires_grad


def test_a_state_can_be_stepped_again() -> None:
    """The dream is pure: branching from one state gives the same as the first time."""
    dream, (z, action) = Dream(memory()), start()
    state, _, _ = dream.step(dream.initial(z), action, torch.Generator().manual_seed(0))
    kept = state.memory.c.clone()
    a, _, _ = dream.step(state, action, torch.Generator().manual_seed(1))
    b, _, _ = dream.step(state, action, torch.Generator().manual_seed(1))
    assert torch.equal(a.z, b.z) and torch.equal(kept, state.memory.c)


def test_dones_follow_their_chance() -> None:
    m = memory()
    with torch.no_grad():
        m.outcome.weight.zero_()
        m.outcome.bias.copy_(torch.tensor([0.25, -1.0]))  # reward 0.25, a chance of 0.269
    z, action = start(4000)
    for threshold, share in ((None, 0.269), (0.2, 1.0), (0.5, 0.0)):
        dream = Dream(m, done_threshold=threshold)
        _, reward, done = dream.step(dream.initial(z), action, torch.Generator().manual_seed(0))
        assert done.double().mean().item() == pytest.approx(share, abs=0.02)
        assert torch.equal(reward, torch.full_like(reward, 0.25))


def test_temperature_widens_the_dream() -> None:
    m, (z, action) = memory(), start(1000)
    spread = []
    for temperature in (0.1, 1.0, 2.0):
        dream = Dream(m, temperature=temperature)
        spread.append(dream.step(dream.initial(0 * z), 0 * action, torch.Generator().manual_seed(0))[0].z.std().item())
    assert spread[0] < spread[1] < spread[2]


def test_inference_mode() -> None:
    with torch.inference_mode():
        state, _, _ = walk(Dream(memory()), 0)
    assert torch.isfinite(state.z).all()


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="temperature"):
        Dream(memory(), temperature=0.0)
    with pytest.raises(ValueError, match="done_threshold"):
        Dream(memory(), done_threshold=1.0)


def test_given_numbers_are_used_each_for_its_own_purpose() -> None:
    """The first uniform number chooses the component, the second the end, and the temperature is the dream's."""
    m, (z, action) = memory(), start(200)
    source = torch.Generator().manual_seed(4)
    noise = Noise(
        *(draw(200, n, generator=source, dtype=z.dtype) for draw, n in ((torch.rand, 2), (torch.randn, 4 + 2)))
    )
    dream = Dream(m, temperature=1.6, done_threshold=None)
    assert dream.noise == noise.normal.shape[1]
    state, reward, done = dream.step(dream.initial(z), action, noise=noise)
    expected = m.step(z, action, m.initial(200))
    told = m.predict(expected.h)
    assert torch.equal(state.z, told.latent.sample_from(noise.uniform[:, 0], noise.normal, 1.6))
    assert not torch.allclose(state.z, told.latent.sample_from(noise.uniform[:, 0], noise.normal, 1.0))
    assert torch.equal(done, noise.uniform[:, 1] < torch.sigmoid(told.done_logit))
    assert torch.equal(reward, told.reward) and torch.equal(state.memory.h, expected.h)
    # Whether an episode ends says nothing of where it went: another first number leaves the ends, another second one z.
    swapped = dream.step(dream.initial(z), action, noise=Noise(noise.uniform.flip(1), noise.normal))
    assert not torch.equal(swapped[2], done) and not torch.equal(swapped[0].z, state.z)
    for column in range(2):
        other = noise.uniform.clone()
        other[:, column] = 1 - other[:, column]
        moved, _, ended = dream.step(dream.initial(z), action, noise=Noise(other, noise.normal))
        assert torch.equal(moved.z, state.z) == (column == 1) and torch.equal(ended, done) == (column == 0)


def test_survival_pays_for_every_transition_and_a_threshold_needs_no_number() -> None:
    m, (z, action) = memory(), start(50)
    noise = Noise(torch.rand(50, 2, dtype=z.dtype), torch.randn(50, Dream(m).noise, dtype=z.dtype))
    dream = Dream(m, done_threshold=0.5, reward="survival")
    _, reward, done = dream.step(dream.initial(z), action, noise=noise)
    logit = m.predict(m.step(z, action, m.initial(50)).h).done_logit
    assert torch.equal(reward, torch.ones_like(reward)) and torch.equal(done, logit > 0)
    assert done.any() and not done.all()
