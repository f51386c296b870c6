"""A state-space model as a world to dream in, and as the eyes and memory of an agent in the real one."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ..agent import Controller
from ..density.mixture import draw
from .model import StateSpace
from .transition import Step

NEVER = -1e9  # logit of the end of an episode in a world that has none


class WorldMemory(NamedTuple):
    """A Markov world remembers the transition under way, and nothing before it."""

    h: Tensor  # f32[B,Z+A], its state and its control


class NextState(NamedTuple):
    """The density of the next state, N(mean, factor factor^T)."""

    step: Step

    def sample(self, *, temperature: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
        """f32[B,Z]; the temperature multiplies the variance."""
        mean = self.step.mean
        shape = (len(mean), self.noise)
        return self.sample_from(mean, draw(torch.randn, shape, mean, generator), temperature)

    @property
    def noise(self) -> int:
        """W, the standard normal numbers of one sample."""
        return self.step.factor.shape[-1]

    def sample_from(self, uniform: Tensor, normal: Tensor, temperature: float = 1.0) -> Tensor:
        """The states f32[B,Z] that normal numbers f32[B,W] make; there is no component to choose by `uniform`."""
        return self.step.at(normal * temperature**0.5)

    @property
    def mode(self) -> Tensor:
        return self.step.mean


class Outcome(NamedTuple):
    """What the world expects of a transition."""

    latent: NextState
    reward: Tensor  # f32[B]
    done_logit: Tensor  # f32[B]


class StateSpaceWorld:
    """What `Dream` asks of a memory, answered by a state-space model whose episodes never end by themselves."""

    def __init__(self, model: StateSpace) -> None:
        self.model = model.eval()

    def initial(self, batch: int, device: torch.device | str | None = None) -> WorldMemory:
        """No transition is under way yet."""
        config, weight = self.model.config, next(self.model.parameters())
        size = (batch, config.latent + config.control)
        return WorldMemory(torch.zeros(size, dtype=weight.dtype, device=device or weight.device))

    def step(self, z: Tensor, a: Tensor, state: WorldMemory) -> WorldMemory:
        """Act with a f32[B,A], in the units of the controls that the model was trained on, in states z f32[B,Z]."""
        return WorldMemory(torch.cat((z, a), -1))

    def predict(self, h: Tensor) -> Outcome:
        """What follows, from h f32[B,Z+A]."""
        z, u = h.split([self.model.config.latent, self.model.config.control], -1)
        reward = self.model.expected_reward(z, u)
        return Outcome(NextState(self.model.step(z, u)), reward, torch.full_like(reward, NEVER))


class FilterState(NamedTuple):
    """What P agents believe; row p belongs to agent p alone."""

    z: Tensor  # f32[P,Z], the state after the last observation
    u: Tensor  # f32[P,A], the last control
    fresh: Tensor  # bool[P], nothing seen yet


class StateSpaceAgent:
    """P agents that filter the state from observations f32[P,D] and act by a controller on it. Inference only."""

    def __init__(self, model: StateSpace, controller: Controller, squash: Callable[[Tensor], Tensor]) -> None:
        c = model.config
        if c.lookahead or c.variant == "iaf-trajectory" or c.recognition == "smooth":
            raise ValueError(
                "an agent needs a model that infers its state as it goes: lookahead 0, recognition filter, and not "
                "variant iaf-trajectory"
            )
        if (controller.inputs, controller.outputs) != (model.config.latent, model.config.control):
            raise ValueError(
                f"controller maps {controller.inputs} numbers to {controller.outputs}, but the model has states of "
                f"{model.config.latent} and controls of {model.config.control}: build it for them"
            )
        self.model, self.controller, self.squash = model.eval(), controller, squash

    def to(self, device: torch.device) -> StateSpaceAgent:
        """This agent on a device: a copy, or itself where it is there already."""
        if next(self.model.parameters()).device == device:
            return self
        moved = copy.copy(self)
        moved.model = copy.deepcopy(self.model).to(device)
        return moved

    def initial(self, rows: int) -> FilterState:
        """The state of `rows` agents that have seen nothing."""
        zero = next(self.model.parameters()).detach().new_zeros(rows, self.model.config.latent)
        return FilterState(
            zero,
            zero.new_zeros(rows, self.model.config.control),
            torch.ones(rows, dtype=torch.bool, device=zero.device),
        )

    @torch.inference_mode()
    def act(self, observations: Tensor, state: FilterState, theta: Tensor) -> tuple[Tensor, FilterState]:
        """Infer, decide: observations f32[P,D] or u8[P,H,W,C], theta f32[P,N] -> actions f32[P,A], next state."""
        scale = 255.0 if observations.dtype == torch.uint8 else 1.0
        x = observations.flatten(1).to(state.z.dtype) / scale
        begun = self.model.initial_state(x.unsqueeze(1), x.new_zeros(len(x), 0, 1), torch.zeros_like(state.z))
        z = torch.where(state.fresh.unsqueeze(-1), begun, self.model.filter(state.z, state.u, x))
        actions = self.squash(self.controller.act(theta, z))
        return actions, FilterState(z, actions, torch.zeros_like(state.fresh))
