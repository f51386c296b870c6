"""A state-space model to dream in and to act with."""

from __future__ import annotations

import pytest
import torch

from frmdn.agent.dream import Dream
from frmdn.agent.state_space import StateSpace, StateSpaceAgent, StateSpaceConfig, StateSpaceWorld
from frmdn.controller.linear import LinearController


def model(variant: str = "dvbf", **changes: int | str) -> StateSpace:
    torch.manual_seed(0)
    config = StateSpaceConfig(variant=variant, matrices=3, hidden=8, width=8, **changes)  # type: ignore[arg-type]
    return StateSpace(config).double()


@pytest.mark.parametrize("variant", ["dvbf", "gaussian", "iaf-step", "iaf-trajectory"])
def test_a_dream_steps_as_the_model_does(variant: str) -> None:
    made = model(variant)
    dream = Dream(StateSpaceWorld(made), temperature=0.5)
    z, u = (torch.randn(6, n, dtype=torch.float64) for n in (4, 1))
    state, reward, done = dream.step(dream.initial(z), u, torch.Generator().manual_seed(1))
    noise = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(state.z, made.step(z, u).at(noise * 0.5**0.5))
    torch.testing.assert_close(reward, made.expected_reward(z, u))
    assert not done.any()


def test_a_random_end_never_comes() -> None:
    dream = Dream(StateSpaceWorld(model()), done_threshold=None)
    z, u = (torch.randn(200, n, dtype=torch.float64) for n in (4, 1))
    assert not dream.step(dream.initial(z), u, torch.Generator().manual_seed(1))[2].any()


def test_the_agent_filters_and_forgets_nothing() -> None:
    made = model()
    agent = StateSpaceAgent(made, LinearController(4, 1), lambda raw: 2 * raw.tanh())
    theta = torch.randn(3, 5, dtype=torch.float64)
    x = torch.randn(3, 5, 3, dtype=torch.float64)
    state, actions = agent.initial(3), []
    for t in range(5):
        action, state = agent.act(x[:, t], state, theta)
        actions.append(action)
    u = torch.stack(actions, 1)
    centre = made.posterior(x, u[:, :4], torch.zeros(3, 5, 4, dtype=torch.float64)).states
    torch.testing.assert_close(state.z, centre[:, -1])
    torch.testing.assert_close(actions[-1], 2 * agent.controller.act(theta, centre[:, -1]).tanh())


def test_an_agent_is_refused_where_it_could_not_infer_its_state() -> None:
    for made in (model("iaf-trajectory"), model(lookahead=2), model(recognition="smooth")):
        with pytest.raises(ValueError, match="iaf-trajectory"):
            StateSpaceAgent(made, LinearController(4, 1), torch.tanh)
    with pytest.raises(ValueError, match="controller"):
        StateSpaceAgent(model(), LinearController(3, 1), torch.tanh)
