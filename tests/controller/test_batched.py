"""A generation as one batch gives what workers give that refill their slots: the same dreams, counted the same way."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from frmdn.agent.agent import select_features
from frmdn.agent.dream import Dream, DreamState
from frmdn.agent.memory import Memory, MemoryConfig
from frmdn.controller.batched import BatchedDreams
from frmdn.controller.dreaming import DreamConfig, dream_batch, dream_runner
from frmdn.controller.fitness import RealFitness, Returns, Trial
from frmdn.controller.hidden import HiddenController
from frmdn.controller.linear import LinearController
from frmdn.envs import get_spec
from frmdn.rollouts.workers import SerialPool

CAR = get_spec("CarRacing-v3")
CPU = torch.device("cpu")
CONFIG = DreamConfig(world="dream", temperature=1.15, slots=7, stall_steps=None, done_threshold=None)
SEEDS, HELD = [3, 14, 159, 2653], [58, 97, 9]


def memory(seed: int, **more: object) -> Memory:
    """Untrained, but its transitions pay, and one in forty is the end."""
    torch.manual_seed(seed)
    made = Memory(MemoryConfig(latent=4, hidden=8, **more)).eval()  # type: ignore[arg-type]
    with torch.no_grad():
        made.outcome.weight.mul_(3)
        made.outcome.bias.copy_(torch.tensor([0.1, -3.8]))
    return made


def starts(memories: list[Memory], count: int = 9) -> list[DreamState]:
    noise = torch.Generator().manual_seed(1)
    z, h = torch.randn(count, 4, generator=noise), 0.3 * torch.randn(count, 8, generator=noise)
    return [DreamState(z, type(m.initial(1))(h * (k + 1), -h * (k + 1))) for k, m in enumerate(memories)]


def trials(controller: LinearController | HiddenController, limit: int | None = None) -> list[Trial]:
    theta = np.random.default_rng(0).standard_normal((5, controller.size))
    return [Trial(theta, SEEDS, limit), Trial(theta[:1] / 2, HELD, limit)]


def both(
    members: list[Memory], config: DreamConfig, features: str = "zh", limit: int | None = None
) -> list[list[Returns]]:
    controller = LinearController({"z": 4, "zh": 12, "zhc": 20}[features], 3)
    parts = (CAR, controller, features, members, starts(members), config, 90)
    with SerialPool(lambda: dream_runner(*parts)) as pool:
        refilled = RealFitness(pool).measure(trials(controller, limit))
    return [refilled, dream_batch(CPU, *parts).measure(trials(controller, limit))]


def assert_same(found: list[list[Returns]]) -> None:
    for slots, batch in zip(*found, strict=True):
        assert slots.total.shape == batch.total.shape
        np.testing.assert_array_equal(slots.steps, batch.steps)
        np.testing.assert_allclose(slots.total, batch.total, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("features", ["z", "zh", "zhc"])
def test_one_batch_dreams_what_slots_dream(features: str) -> None:
    found = both([memory(0)], CONFIG, features)
    assert_same(found)
    steps = found[0][0].steps
    assert len(np.unique(steps)) > 3 and steps.max() > 32, "ends at many places, and a draw beyond the first chunk"


def test_an_ensemble_dreams_each_seed_by_its_member() -> None:
    members = [memory(0), memory(1), memory(2)]
    found = both(members, CONFIG)
    assert_same(found)
    alone = both(members[:1], CONFIG)
    assert not np.array_equal(found[1][0].steps, alone[1][0].steps)


@pytest.mark.parametrize("precision", ["low_rank", "semi_tied"])
def test_every_precision_of_the_memory(precision: str) -> None:
    assert_same(both([memory(0, precision=precision)], CONFIG))


def test_the_threshold_survival_and_a_shorter_horizon() -> None:
    found = both([memory(0)], replace(CONFIG, done_threshold=0.05, reward="survival"), limit=40)
    assert_same(found)
    assert found[1][0].steps.max() <= 40
    np.testing.assert_array_equal(found[1][0].total, found[1][0].steps)  # one for each transition


def test_hopeless_dreams_end_and_are_charged_for_the_rest() -> None:
    sad = memory(0)
    with torch.no_grad():
        sad.outcome.bias[0] -= 1.0  # most transitions cost
    plain, stalled = both([sad], CONFIG), both([sad], replace(CONFIG, stall_steps=6))
    assert_same(stalled)
    assert stalled[1][0].steps.sum() < plain[1][0].steps.sum(), "some stall"


def test_a_batch_is_used_again_and_remembers_nothing() -> None:
    controller, one = LinearController(12, 3), memory(0)
    batch = dream_batch(CPU, CAR, controller, "zh", [one], starts([one]), CONFIG, 90)
    first, other = trials(controller), [Trial(t.theta * 2, t.seeds, 33) for t in trials(controller)]
    before = batch.measure(first)
    batch.measure(other)
    for a, b in zip(before, batch.measure(first), strict=True):
        np.testing.assert_array_equal(a.total, b.total)
        np.testing.assert_array_equal(a.steps, b.steps)
    assert len(batch._batches) == 1, "of one shape there is one batch, or a graph would be recorded each time"


def test_a_hidden_controller_and_discrete_actions() -> None:
    doom = replace(CAR, action=type(CAR.action)("discrete", n=3))
    controller, one = HiddenController(12, 3, 4), memory(0)
    parts = (doom, controller, "zh", [one], starts([one]), CONFIG, 90)
    with SerialPool(lambda: dream_runner(*parts)) as pool:
        refilled = RealFitness(pool).measure(trials(controller))
    assert_same([refilled, dream_batch(CPU, *parts).measure(trials(controller))])


def test_nan_is_named_and_never_a_score() -> None:
    controller, one = LinearController(12, 3), memory(0)
    batch = dream_batch(CPU, CAR, controller, "zh", [one], starts([one]), CONFIG, 90)
    theta = np.zeros((2, controller.size))
    theta[1, 5] = np.nan
    with pytest.raises(ValueError, match="a controller gave NaN"):
        batch.measure([Trial(theta, SEEDS)])
    with pytest.raises(ValueError, match=r"theta \[P,39\]"):
        batch.measure([Trial(np.zeros((2, 7)), SEEDS)])
    with torch.no_grad():
        one.outcome.bias[0] = torch.inf
    broken = dream_batch(CPU, CAR, controller, "zh", [one], starts([one]), CONFIG, 90)
    with pytest.raises(ValueError, match="not finite"):
        broken.measure([Trial(np.zeros((2, controller.size)), SEEDS)])


def test_every_dream_needs_starts() -> None:
    one = memory(0)
    with pytest.raises(ValueError, match="starts of its own"):
        BatchedDreams(CAR, LinearController(12, 3), "zh", [Dream(one)], [], max_steps=9)
    assert select_features("zh", starts([one])[0].z, starts([one])[0].memory).shape == (9, 12)
