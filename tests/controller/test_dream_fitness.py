"""Returns in a dream, and the controller that a pendulum needs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from frmdn.agent.dream import Dream
from frmdn.agent.seeds import derive, generator
from frmdn.agent.state_space import StateSpace, StateSpaceConfig, StateSpaceWorld
from frmdn.controller.dream_fitness import DreamFitness
from frmdn.controller.fitness import Trial
from frmdn.controller.hidden import HiddenController


def fitness(steps: int = 6) -> DreamFitness:
    torch.manual_seed(0)
    world = StateSpaceWorld(StateSpace(StateSpaceConfig(matrices=3, hidden=8, width=8)))
    starts = torch.randn(10, 4)
    return DreamFitness(Dream(world), HiddenController(4, 1, 3), torch.tanh, lambda state: state.z, starts, steps)


def thetas(rows: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((rows, HiddenController(4, 1, 3).size))


def test_returns_are_those_of_the_dream_played_by_hand() -> None:
    measured, seeds, theta = fitness(), [7, 8], thetas(3)
    found = measured(theta, seeds)
    rows = torch.tensor([derive(s, "start") % 10 for s in seeds])
    state = measured.dream.initial(measured.starts[rows].repeat(3, 1))
    noise, total = generator(0, "dream", *seeds), torch.zeros(6)
    each = torch.tensor(theta, dtype=torch.float32).repeat_interleave(2, 0)
    for _ in range(6):
        action = torch.tanh(measured.controller.act(each, state.z))
        state, reward, _ = measured.dream.step(state, action, noise)
        total += reward
    np.testing.assert_allclose(found.total, total.view(3, 2), rtol=1e-5)
    assert (found.steps == 6).all()


def test_a_trial_measured_again_is_the_same_and_seeds_matter() -> None:
    measured, theta = fitness(), thetas(4)
    first, again = measured(theta, [1, 2]), measured.measure([Trial(theta, [3]), Trial(theta, [1, 2])])[1]
    np.testing.assert_array_equal(first.total, again.total)
    assert (first.total != measured(theta, [3, 4]).total).all()


def test_equal_candidates_start_alike() -> None:
    theta = np.repeat(thetas(1), 5, 0)
    total = fitness(steps=1)(theta, [1, 2, 3]).total  # the first reward has no noise
    np.testing.assert_allclose(total, np.broadcast_to(total[0], total.shape), atol=1e-5)


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"starts": torch.zeros(0, 4)}])
def test_an_empty_dream_is_refused(wrong: dict[str, object]) -> None:
    good = fitness()
    settings = {name: getattr(good, name) for name in good.__dataclass_fields__} | wrong
    with pytest.raises(ValueError, match=r"steps|starts"):
        DreamFitness(**settings)


def test_hidden_controller_is_two_layers_with_a_tanh_between() -> None:
    controller = HiddenController(3, 2, 4)
    theta, features = (torch.randn(5, n, dtype=torch.float64) for n in (controller.size, 3))
    w, b, v, c = theta[2].split([12, 4, 8, 2])
    expected = v.view(2, 4) @ (w.view(4, 3) @ features[2] + b).tanh() + c
    torch.testing.assert_close(controller.act(theta, features)[2], expected)
    assert controller.size == 26
    with pytest.raises(ValueError, match="one row per"):
        controller.act(theta, features[:4])
    with pytest.raises(ValueError, match="hidden"):
        HiddenController(3, 2, 0)
