"""Open-loop dreams: the same steps as a dream takes, errors in units of reality's spread, steps counted right."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from frmdn.agent.dream import Dream
from frmdn.agent.memory import Memory, MemoryConfig
from frmdn.agent.open_loop import longest_below, open_loop, spread_of, squared_errors, steps_below, warm_up, watch

B, T, Z, A = 3, 6, 4, 2


def memory(density: str = "frmdn") -> Memory:
    torch.manual_seed(0)
    return Memory(MemoryConfig(latent=Z, action=A, hidden=16, components=3, density=density)).double()  # type: ignore[arg-type]


def real() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return (
        torch.randn(B, T + 1, Z, generator=generator, dtype=torch.float64),
        torch.randn(B, T, A, generator=generator, dtype=torch.float64),
    )


@pytest.mark.parametrize("density", ["frmdn", "rmdn"])
def test_a_warmed_up_dream_remembers_what_an_unrolled_memory_does(density: str) -> None:
    m, (z, a) = memory(density), real()
    state = warm_up(m, z, a)
    _, last = m.unroll(z[:, :-1], a)
    assert torch.equal(state.z, z[:, -1])
    torch.testing.assert_close(state.memory.h, last.h)
    torch.testing.assert_close(state.memory.c, last.c)


@pytest.mark.parametrize("density", ["frmdn", "rmdn"])
def test_an_open_loop_dream_takes_the_steps_of_the_dream(density: str) -> None:
    """With one random number generator both must meet the same latents, rewards and chances, to the bit."""
    m, (z, a) = memory(density), real()
    dream = Dream(m, temperature=1.3)
    start = warm_up(m, z[:, :3], a[:, :2])
    found, last = open_loop(dream, start, a[:, 2:], torch.Generator().manual_seed(5))
    state, generator = start, torch.Generator().manual_seed(5)
    for t in range(2, T):
        state, reward, done = dream.step(state, a[:, t], generator)
        assert torch.equal(found.latents[:, t - 2], state.z) and torch.equal(found.rewards[:, t - 2], reward)
        assert torch.equal(found.ends[:, t - 2] > 0.5, done)
    assert torch.equal(last.z, state.z) and torch.equal(last.memory.h, state.memory.h)
    assert found.weights.shape == (B, T - 2, 3)
    torch.testing.assert_close(found.weights.sum(-1), torch.ones(B, T - 2, dtype=torch.float64))


def test_without_a_generator_it_follows_the_modes() -> None:
    m, (z, a) = memory(), real()
    dream, start = Dream(m, temperature=5.0), warm_up(m, z[:, :1], a[:, :0])
    first, again = open_loop(dream, start, a)[0], open_loop(dream, start, a)[0]
    assert torch.equal(first.latents, again.latents)
    after = m.step(z[:, 0], a[:, 0], m.initial(B))
    torch.testing.assert_close(first.latents[:, 0], m.predict(after.h).latent.mode)


def test_watching_expects_from_reality_alone() -> None:
    m, (z, a) = memory(), real()
    seen = watch(m, z, a)
    h, _ = m.unroll(z[:, :-1], a)
    prediction = m.predict(h)
    torch.testing.assert_close(seen.latents, prediction.latent.mode)
    torch.testing.assert_close(seen.rewards, prediction.reward)
    assert watch(m, z[:, :1], a[:, :0]).weights.shape == (B, 0, 0)


def test_the_average_has_error_one_and_a_stranger_two() -> None:
    y = torch.randn(1, 4000, 5, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 2, 3, 4, 5])
    spread = spread_of(y[0])
    average = y.mean(1, keepdim=True).expand_as(y)
    stranger = y[:, torch.randperm(4000, generator=torch.Generator().manual_seed(1))]
    assert float(squared_errors(average, y, spread).mean()) == pytest.approx(1, abs=1e-5)
    assert float(squared_errors(stranger, y, spread).mean()) == pytest.approx(2, abs=0.1)
    assert float(squared_errors(y, y, spread).max()) == 0


@pytest.mark.parametrize(
    ("curve", "first", "run"),
    [
        ([0, 0, 2, 0], 2, (0, 2)),
        ([2, 0, 0, 0], 0, (1, 4)),
        ([0, 0, 0, 0], 4, (0, 4)),
        ([1, 1, 1, 1], 0, (0, 0)),
        ([0, 2, 0, 2], 1, (0, 1)),
        ([0, 2, 0, 0], 1, (2, 4)),
    ],
)
def test_steps_are_counted(curve: list[float], first: int, run: tuple[int, int]) -> None:
    errors = torch.tensor(curve, dtype=torch.float64)
    assert steps_below(errors, 1.0) == first
    assert steps_below(errors, torch.ones(4)) == first
    assert longest_below(errors, torch.ones(4)) == run


def test_what_does_not_fit_is_refused() -> None:
    m, (z, a) = memory(), real()
    with pytest.raises(ValueError, match="W transitions lie between"):
        warm_up(m, z, a[:, :-1])
    with pytest.raises(ValueError, match="one per dream"):
        open_loop(Dream(m), warm_up(m, z, a), a[:1])
    with pytest.raises(ValueError, match="spread"):
        squared_errors(z, z, 0.0)
    with pytest.raises(ValueError, match="alike"):
        squared_errors(z, z[:, 1:], 1.0)
