"""Where dreams begin, how long they are, and that a search improves in them."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from frmdn.agent.memory import Memory, MemoryConfig
from frmdn.controller.dreaming import DreamConfig, draw_starts, dream_runner
from frmdn.controller.evolution import Evolution, SearchConfig
from frmdn.controller.evolve import Rehearsal, evolve
from frmdn.controller.fitness import RealFitness, Trial
from frmdn.controller.linear import LinearController
from frmdn.envs import get_spec
from frmdn.rollouts.latents import Latents, LatentStore
from frmdn.rollouts.workers import SerialPool, open_pool

CAR = get_spec("CarRacing-v3")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> LatentStore:
    """Three episodes; one is too short for a warm-up."""
    rng, store = np.random.default_rng(0), LatentStore(tmp_path_factory.mktemp("latents"))
    for index, steps in enumerate((30, 4, 12)):
        mean = rng.standard_normal((steps + 1, 4)).astype(np.float32)
        actions = rng.random((steps, 3)).astype(np.float32)
        zeros = np.zeros(steps, np.float32)
        store.write(index, Latents(mean, np.full_like(mean, -4.0), actions, zeros, zeros))
    return store


def memory(seed: int = 0) -> Memory:
    torch.manual_seed(seed)
    return Memory(MemoryConfig(latent=4, hidden=8)).eval()


def test_starts_in_the_middle_remember_what_was_before_them(store: LatentStore) -> None:
    memories = [memory(0), memory(1)]
    config = DreamConfig(starts=40, middle=0.5, warmup=5, start_noise=0.0)
    states = draw_starts(store, [0, 1, 2], memories, config, 3)
    assert torch.equal(states[0].z, states[1].z) and states[0].z.shape == (40, 4)
    assert not torch.equal(states[0].memory.h, states[1].memory.h)
    assert (states[0].memory.h[20:] == 0).all() and (states[0].memory.c[20:] == 0).all()
    episodes = [store.read(i) for i in range(3)]
    for row in range(20):
        places = [
            (i, t) for i, e in enumerate(episodes) for t in range(e.steps) if np.allclose(e.mean[t], states[0].z[row])
        ]
        ((index, t),) = places
        assert t >= 5 and index != 1  # a whole warm-up lies before it
        z, a = (torch.from_numpy(x[None, t - 5 : t]) for x in (episodes[index].mean, episodes[index].actions))
        for m, state in zip(memories, states, strict=True):
            with torch.no_grad():
                _, expected = m.unroll(z, a)
            torch.testing.assert_close(state.memory.h[row], expected.h[0], rtol=0, atol=1e-6)
            torch.testing.assert_close(state.memory.c[row], expected.c[0], rtol=0, atol=1e-6)
    first = {tuple(e.mean[0].tolist()) for e in episodes}
    assert {tuple(z.tolist()) for z in states[0].z[20:]} == first


def test_starts_are_determined_by_their_seed_and_moved_by_noise(store: LatentStore) -> None:
    config = DreamConfig(starts=10)
    first, again, other = (draw_starts(store, [0, 2], [memory()], config, seed)[0] for seed in (1, 1, 2))
    assert torch.equal(first.z, again.z) and torch.equal(first.memory.h, again.memory.h)
    assert not torch.equal(first.z, other.z)
    still = draw_starts(store, [0, 2], [memory()], DreamConfig(starts=10, start_noise=0.0), 1)[0]
    moved = (first.z - still.z).std().item()
    assert moved == pytest.approx(np.exp(-2), rel=0.5)  # one standard deviation of a log-variance of -4


def test_episodes_shorter_than_the_warm_up_give_first_frames(store: LatentStore) -> None:
    (state,) = draw_starts(store, [1], [memory()], DreamConfig(starts=6, warmup=8), 0)
    assert (state.memory.h == 0).all()


def test_a_dream_is_as_long_as_its_horizon_and_no_longer_than_reality() -> None:
    assert DreamConfig().length(77) == 77 and DreamConfig(horizon=50).length(77) == 50
    assert DreamConfig(horizon=90).length(77) == 77


def test_a_search_in_dreams_improves_and_is_checked_in_reality(store: LatentStore) -> None:
    """The dream pays for its hidden state, which actions move; another world stands for reality."""
    models = [memory(0), memory(1)]
    starts = draw_starts(store, [0, 2], models, DreamConfig(starts=16), 0)
    controller, config = LinearController(12, 3), DreamConfig(slots=32, done_threshold=0.999)
    make = partial(dream_runner, CAR, controller, "zh", models, starts, config, 12)
    search = SearchConfig(population=16, episodes=4, generations=24, sigma=0.5, validate_every=8, validate_episodes=3)
    lines: list[dict] = []
    with SerialPool(make) as pool, SerialPool(make) as other:
        evolution = evolve(
            RealFitness(pool),
            Evolution(controller.size, search, 0),
            search,
            seed=0,
            validation=[1, 2, 3],
            length=lambda g: 5 + (g > 5),
            rehearsal=Rehearsal(RealFitness(other)),
            on_generation=lines.append,
        )
    means = [line["mean"] / line["length"] for line in lines]
    assert np.mean(means[-4:]) > np.mean(means[:4]) + 0.02
    assert [line["generation"] for line in lines if "validation" in line] == [9, 17]
    checked = lines[8]
    assert checked["real_steps"] == 36 and checked["steps"] == 16 * 4 * 6 + 3 * 6
    assert checked["validation"] != checked["dream"]  # twelve steps there, six here
    assert evolution.champion is not None and evolution.champion.value == max(
        lines[8]["validation"], lines[16]["validation"]
    )


def test_a_dream_without_rewards_ends_early_and_counts_as_idled_to_its_end(store: LatentStore) -> None:
    model = memory()
    with torch.no_grad():
        model.outcome.bias[0] = -5.0  # no transition is worth anything
    (starts,) = draw_starts(store, [0, 2], [model], DreamConfig(starts=16), 0)
    controller, dreamt = LinearController(12, 3), {}
    for rule in (None, 4):
        config = DreamConfig(slots=4, done_threshold=0.999, stall_steps=rule)
        make = partial(dream_runner, CAR, controller, "zh", [model], [starts], config, 20)
        with SerialPool(make) as pool:
            dreamt[rule] = RealFitness(pool)(np.zeros((1, controller.size)), [1, 2, 3])
    assert (dreamt[None].steps == 20).all() and (dreamt[4].steps == 4).all()
    assert np.all(dreamt[None].total < -50) and np.all(np.abs(dreamt[4].total + 20 + 0.1 * 16) < 4)


@pytest.mark.ray
def test_workers_dream_alike(store: LatentStore) -> None:
    models = [memory(0), memory(1)]
    starts = draw_starts(store, [0, 2], models, DreamConfig(starts=16), 0)
    controller, config = LinearController(12, 3), DreamConfig(slots=8)
    make = partial(dream_runner, CAR, controller, "zh", models, starts, config, 15)
    theta = np.random.default_rng(0).standard_normal((5, controller.size))
    totals = []
    for workers in (0, 2):
        with open_pool(make, workers) as pool:
            totals.append(RealFitness(pool)(theta, [1, 2, 3]).total)
    assert np.array_equal(*totals)


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": 0.0},
        {"middle": 1.5},
        {"starts": 0},
        {"start_noise": -1.0},
        {"done_threshold": 1.0},
        {"slots": 0},
        {"stall_steps": 0},
    ],
)
def test_mistakes_are_named(wrong: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        DreamConfig(**wrong)


def test_a_dream_that_ends_earns_nothing_behind_its_end_and_its_neighbours_dream_on(store: LatentStore) -> None:
    """Cut after 1, 2, 3 ... transitions: the last transition still pays, none after it does, steps are those lived."""
    model, limit = memory(), 9
    with torch.no_grad():
        model.outcome.bias.copy_(torch.tensor([1.0, -1.5]))  # each transition pays, and ends one dream in five
    (starts,) = draw_starts(store, [0, 2], [model], DreamConfig(starts=16), 0)
    controller, config = LinearController(12, 3), DreamConfig(slots=4)
    theta, seeds = np.random.default_rng(0).standard_normal((4, controller.size)), [7, 8, 9]
    with SerialPool(partial(dream_runner, CAR, controller, "zh", [model], [starts], config, limit)) as pool:
        found = RealFitness(pool)(theta, seeds)
        cuts = RealFitness(pool).measure([Trial(theta, seeds, steps) for steps in range(1, limit + 1)])
    assert 1 <= found.steps.min() < found.steps.max() <= limit and len(np.unique(found.steps)) > 2
    for steps, cut in enumerate(cuts, 1):
        assert np.array_equal(cut.steps, np.minimum(found.steps, steps))
    for row, column in np.ndindex(found.steps.shape):
        last, sums = found.steps[row, column], [cut.total[row, column] for cut in cuts]
        gains = np.diff([0.0, *sums])
        assert (gains[:last] > 0).all() and (gains[last:] == 0).all() and sums[-1] == found.total[row, column]


def test_a_candidate_that_stalls_in_a_dream_is_charged_to_the_end_of_its_own_dream(store: LatentStore) -> None:
    """A curriculum's dream of 10 transitions owes what idling to its 10th would cost, not to the 20th of the pool."""
    model = memory()
    with torch.no_grad():
        model.outcome.bias[0] = -5.0
    (starts,) = draw_starts(store, [0, 2], [model], DreamConfig(starts=16), 0)
    controller, config = LinearController(12, 3), DreamConfig(slots=4, done_threshold=0.999, stall_steps=4)
    theta = np.zeros((2, controller.size))
    with SerialPool(partial(dream_runner, CAR, controller, "zh", [model], [starts], config, 20)) as pool:
        lived, short, whole = RealFitness(pool).measure([Trial(theta, [1, 2], n) for n in (4, 10, None)])
    assert CAR.idle_reward == -0.1
    np.testing.assert_allclose(short.total - lived.total, -0.1 * 6)
    np.testing.assert_allclose(whole.total - lived.total, -0.1 * 16)
