"""The agent: what its controller sees, the order of see-decide-remember, rows that never mix, pickling, refusals."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from frmdn.agent.agent import Agent, AgentConfig, AgentState
from frmdn.agent.memory import Memory, MemoryConfig
from frmdn.agent.seeds import generator
from frmdn.agent.vision import ConvVAE, VisionConfig

Z, H, A, P = 6, 10, 3, 4


class Linear:
    """A controller as the protocol asks for it; remembers what it was shown."""

    def __init__(self, inputs: int, outputs: int = A) -> None:
        self.inputs, self.outputs, self.size = inputs, outputs, (inputs + 1) * outputs
        self.seen: list[Tensor] = []

    def act(self, theta: Tensor, features: Tensor) -> Tensor:
        self.seen.append(features.clone())
        weights = theta.view(len(theta), self.outputs, self.inputs + 1)
        return torch.einsum("pof,pf->po", weights[..., :-1], features) + weights[..., -1]


def squash(raw: Tensor) -> Tensor:
    return torch.tanh(raw)


def build(features: str = "zh", memory: bool = True, wrap: Callable[[Tensor], Tensor] = squash) -> Agent:
    torch.manual_seed(0)
    vision = ConvVAE(VisionConfig(latent=Z, decoder="fast"))
    model = Memory(MemoryConfig(latent=Z, action=A, hidden=H, components=2, flow_hidden=8)) if memory else None
    inputs = Z + H * (len(features) - 1)
    return Agent(vision, model, Linear(inputs), wrap, AgentConfig(features))


def frames(seed: int, rows: int = P) -> Tensor:
    return torch.randint(0, 256, (rows, 64, 64, 3), dtype=torch.uint8, generator=generator(seed, "frames"))


def theta(agent: Agent, seed: int = 0, rows: int = P) -> Tensor:
    return 0.3 * torch.randn(rows, agent.controller.size, generator=generator(seed, "theta"))


def play(agent: Agent, pictures: list[Tensor], parameters: Tensor) -> tuple[list[Tensor], AgentState]:
    state, actions = agent.initial(len(parameters)), []
    for picture in pictures:
        action, state = agent.act(picture, state, parameters)
        actions.append(action)
    return actions, state


@pytest.mark.parametrize("features", ["z", "zh", "zhc"])
def test_the_controller_sees_the_features_in_order(features: str) -> None:
    agent = build(features)
    assert agent.feature_size == {"z": Z, "zh": Z + H, "zhc": Z + 2 * H}[features]
    parameters, state = theta(agent), agent.initial(P)
    for seed in range(3):
        before = AgentState(*state)
        action, state = agent.act(frames(seed), before, parameters)
        z = agent.vision.encode_mean(frames(seed))
        parts = {"z": z, "h": before.memory.h, "c": before.memory.c}
        assert torch.equal(agent.controller.seen[-1], torch.cat([parts[name] for name in features], 1))
        # The memory steps on what was seen and done now, after the controller looked at the old memory.
        with torch.inference_mode():
            expected = agent.memory.step(z, action, before.memory)
        assert torch.equal(state.z, z) and torch.equal(state.memory.h, expected.h)
        assert not torch.equal(state.memory.h, before.memory.h)
        assert action.shape == (P, A) and float(action.abs().max()) <= 1


def test_an_agent_without_memory() -> None:
    agent = build("z", memory=False)
    actions, state = play(agent, [frames(0), frames(0)], theta(agent))
    assert state.memory is None and torch.equal(actions[0], actions[1])
    assert agent.reset(state, 1).memory is None
    with pytest.raises(ValueError, match="no memory"):
        agent.expect_next(state)


def test_memory_makes_the_same_frame_a_different_moment() -> None:
    agent = build("zh")
    actions, _ = play(agent, [frames(0), frames(0)], theta(agent))
    assert not torch.equal(actions[0], actions[1])


def test_rows_never_mix() -> None:
    agent = build("zhc")
    pictures, parameters = [frames(s) for s in range(3)], theta(agent)
    actions, state = play(agent, pictures, parameters)
    for row in range(P):
        strangers = [255 - picture for picture in pictures]
        others = -parameters
        others[row] = parameters[row]
        for stranger, picture in zip(strangers, pictures, strict=True):
            stranger[row] = picture[row]
        again, other = play(agent, strangers, others)
        for left, right in zip(actions, again, strict=True):
            assert torch.equal(left[row], right[row])
        assert torch.equal(state.memory.c[row], other.memory.c[row])
        assert not torch.equal(actions[0][row - 1], again[0][row - 1])


@pytest.mark.parametrize("rows", [2, [0, 2], torch.tensor([0, 2])], ids=["one", "list", "tensor"])
def test_reset_clears_the_rows_named_and_no_other(rows: object) -> None:
    agent = build()
    _, state = play(agent, [frames(0)], theta(agent))
    kept = AgentState(state.z.clone(), type(state.memory)(*(part.clone() for part in state.memory)))
    fresh, start = agent.reset(state, rows), agent.initial(P)
    cleared = {2} if isinstance(rows, int) else {0, 2}
    for row in range(P):
        source = start if row in cleared else state
        for new, old in zip((fresh.z, *fresh.memory), (source.z, *source.memory), strict=True):
            assert torch.equal(new[row], old[row])
    assert torch.equal(state.z, kept.z) and torch.equal(state.memory.h, kept.memory.h), "the argument must not change"
    # A reset row acts as a new one.
    parameters = theta(agent)
    assert torch.equal(agent.act(frames(1), fresh, parameters)[0][2], agent.act(frames(1), start, parameters)[0][2])


def test_a_bad_action_names_its_row() -> None:
    agent = build()
    parameters = theta(agent)
    parameters[2, 0] = float("nan")
    with pytest.raises(ValueError, match=r"row 2 is not finite.*theta"):
        agent.act(frames(0), agent.initial(P), parameters)


def test_pickle_round_trip() -> None:
    agent = build()
    expected, _ = play(agent, [frames(0), frames(1)], theta(agent))
    agent.controller.seen.clear()
    copied = pickle.loads(pickle.dumps(agent))
    actual, _ = play(copied, [frames(0), frames(1)], theta(agent))
    assert all(torch.equal(left, right) for left, right in zip(expected, actual, strict=True))


def test_pictures_of_mind() -> None:
    agent = build()
    parameters = theta(agent)
    _, state = agent.act(frames(0), agent.initial(P), parameters)
    seen, expected = agent.reconstruct(frames(0)), agent.expect_next(state)
    assert seen.shape == expected.shape == (P, 64, 64, 3)
    with torch.inference_mode():
        latent = agent.memory.predict(state.memory.h).latent.mode
        assert torch.equal(expected, agent.vision.decode(latent))
        assert torch.equal(seen, agent.vision.decode(state.z))
    assert not torch.equal(seen, expected)


def test_acting_leaves_no_graph_and_no_training_mode() -> None:
    agent = build()
    action, state = agent.act(frames(0), agent.initial(P), theta(agent))
    assert not action.requires_grad and not state.memory.h.requires_grad
    assert not agent.vision.training and not agent.memory.training


def test_parts_that_do_not_fit_are_refused() -> None:
    agent = build()
    vision, memory = agent.vision, agent.memory
    with pytest.raises(ValueError, match="features"):
        AgentConfig("h")
    with pytest.raises(ValueError, match="need a memory"):
        Agent(vision, None, Linear(Z), squash, AgentConfig("zh"))
    with pytest.raises(ValueError, match=f"inputs={Z + H}"):
        Agent(vision, memory, Linear(Z), squash, AgentConfig("zh"))
    with pytest.raises(ValueError, match="latents of 5"):
        Agent(vision, Memory(MemoryConfig(latent=5, hidden=H)), Linear(Z + H), squash)
    with pytest.raises(ValueError, match="actions of 3"):
        Agent(vision, memory, Linear(Z + H, outputs=2), squash)
    with pytest.raises(ValueError, match="4, 4 and 3 rows"):
        agent.act(frames(0), agent.initial(P), theta(agent, rows=3))
