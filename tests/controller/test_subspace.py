"""Controllers that see the leading principal components only, and the search for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from frmdn.agent.agent import Agent, AgentConfig
from frmdn.agent.memory import Memory, MemoryConfig
from frmdn.agent.vision import ConvVAE
from frmdn.controller.evolution import Evolution, SearchConfig
from frmdn.controller.linear import LinearController
from frmdn.controller.subspace import Subspace, principal, seen
from frmdn.rollouts.latents import Latents, LatentStore

F, A, K = 7, 2, 3


@pytest.fixture
def features() -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.standard_normal((500, F)) @ rng.standard_normal((F, F)) + rng.standard_normal(F)


def test_a_controller_of_components_is_the_linear_controller_of_its_features(features: np.ndarray) -> None:
    space, rng = principal(features, K, A), np.random.default_rng(1)
    u = rng.standard_normal((4, space.size))
    theta = torch.from_numpy(space.expand(u))
    raw = LinearController(F, A).act(theta, torch.from_numpy(features[:4])).numpy()
    # by hand: centred, rotated, divided by the standard deviation, then U y + c
    _, spreads, rotated = np.linalg.svd(features - features.mean(0), full_matrices=False)
    spreads /= np.sqrt(len(features) - 1)
    y = (features[:4] - features.mean(0)) @ (rotated[:K] / spreads[:K, None]).T
    y *= np.sign((rotated[:K] * space.basis[:K, :F]).sum(1))  # the sign of a component is free
    weights, bias = u[:, : K * A].reshape(4, A, K), u[:, K * A :]
    assert space.size == (K + 1) * A
    assert np.allclose(raw, np.einsum("pak,pk->pa", weights, y) + bias)


def test_the_components_have_variance_one_and_are_uncorrelated_over_what_was_seen(features: np.ndarray) -> None:
    space = principal(features, K, 1)
    y = LinearController(F, 1).act  # one unit of u at a time
    ones = np.eye(space.size)[:K]
    looks = np.stack(
        [
            y(torch.from_numpy(np.tile(space.expand(u), (len(features), 1))), torch.from_numpy(features)).numpy()[:, 0]
            for u in ones
        ]
    )
    assert np.allclose(np.cov(looks), np.eye(K)) and np.allclose(looks.mean(1), 0)


def test_the_leading_components_are_those_that_vary_most() -> None:
    rng = np.random.default_rng(0)
    features = rng.standard_normal((1000, 4)) * [0.1, 5.0, 0.2, 3.0]
    weights = np.abs(principal(features, 2, 1).basis[:2, :4])
    assert weights[0].argmax() == 1 and weights[1].argmax() == 3


def test_a_feature_that_never_changes_is_no_obstacle() -> None:
    features = np.random.default_rng(0).standard_normal((100, 3))
    features[:, 1] = 2.0
    assert np.isfinite(principal(features, 3, 1).basis).all()


@pytest.mark.parametrize("components", [0, F + 1])
def test_impossible_counts_are_refused(features: np.ndarray, components: int) -> None:
    with pytest.raises(ValueError, match=r"search\.subspace is \d, but a controller sees 7 features"):
        principal(features, components, A)


def test_the_search_sees_few_numbers_and_all_others_whole_controllers(features: np.ndarray) -> None:
    space, config = principal(features, K, A), SearchConfig(population=8, sigma=0.5)
    size, start = (F + 1) * A, np.arange((F + 1) * A, dtype=float)
    evolution = Evolution(size, config, 1, start, space)
    assert np.array_equal(evolution.mean, start)
    aim = start + space.expand(np.full(space.size, 2.0))
    for _ in range(150):
        candidates = evolution.ask()
        assert candidates.shape == (8, size)
        evolution.tell(-((candidates - aim) ** 2).sum(1))
    assert np.allclose(evolution.mean, aim, atol=0.05) and np.allclose(evolution.agent, evolution.mean)
    apart = np.linalg.lstsq(space.basis.T, evolution.mean - start, rcond=None)[0]
    assert np.allclose(space.expand(apart), evolution.mean - start)  # it never left the subspace


def test_a_search_in_a_subspace_resumes_to_the_bit_and_in_no_other_one(features: np.ndarray) -> None:
    space, config = principal(features, K, A), SearchConfig(population=6, average=0.5)
    size = (F + 1) * A

    def advance(evolution: Evolution, generations: int) -> Evolution:
        for _ in range(generations):
            evolution.tell(-((evolution.ask() - 1) ** 2).sum(1))
        return evolution

    straight = advance(Evolution(size, config, 3, None, space), 12)
    state = advance(Evolution(size, config, 3, None, space), 5).state()
    again = advance(Evolution.resume(size, config, 3, state, space=space), 7)
    assert np.array_equal(again.agent, straight.agent) and np.array_equal(again.ask(), straight.ask())
    with pytest.raises(ValueError, match="numbers searched"):
        Evolution.resume(size, config, 3, state)
    with pytest.raises(ValueError, match="its replay ends elsewhere"):
        Evolution.resume(size, config, 3, state, space=Subspace(space.basis * 1.01))


@pytest.mark.parametrize("kind", ["z", "zh", "zhc"])
def test_what_is_seen_is_what_the_agent_sees_before_each_step(tmp_path: Path, kind: str) -> None:
    torch.manual_seed(0)
    vision, memory = ConvVAE().eval(), Memory(MemoryConfig(latent=32, action=2, hidden=5))
    size = 32 + 5 * (len(kind) - 1)
    agent = Agent(vision, memory, LinearController(size, 2), torch.tanh, AgentConfig(kind))
    store, rng = LatentStore(tmp_path), np.random.default_rng(0)
    for index, steps in enumerate((4, 6)):
        z = rng.standard_normal((steps + 1, 32)).astype(np.float32)
        actions = rng.uniform(-1, 1, (steps, 2)).astype(np.float32)
        none = np.zeros(steps, np.float32)
        store.write(index, Latents(z, np.zeros_like(z), actions, none, none))
    rows = seen(agent, store, [0, 1])
    assert rows.shape == (10, size)
    expected: dict[tuple[int, int], np.ndarray] = {}
    for index in (0, 1):
        episode, state = store.read(index), memory.initial(1)
        for t in range(episode.steps):
            z = torch.from_numpy(episode.mean[t : t + 1])
            expected[t, index] = torch.cat((z, state.h, state.c)[: len(kind)], 1).detach().numpy()[0]
            state = memory.step(z, torch.from_numpy(episode.actions[t : t + 1]), state)
    assert np.allclose(rows, [expected[place] for place in sorted(expected)], atol=1e-5)
