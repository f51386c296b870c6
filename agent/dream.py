"""The dream: a transition of the world as M imagines it, batched, in latent space only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from .density.mixture import draw


class Expectation(Protocol):
    """What a world model expects of a transition; `agent.memory.Prediction` is one."""

    @property
    def latent(self) -> Any: ...  # with sample, sample_from and noise, as `agent.density.FlowedDistribution` has them

    @property
    def reward(self) -> Tensor: ...  # f32[B]

    @property
    def done_logit(self) -> Tensor: ...  # f32[B]


class WorldModel(Protocol):
    """What one can dream in: a `Memory`, or a state-space model (`agent.state_space.StateSpaceWorld`)."""

    def initial(self, batch: int, device: torch.device | str | None = None) -> Any:
        """What B rows remember before their first transition: a named tuple whose field `h` `predict` reads."""

    def step(self, z: Tensor, a: Tensor, state: Any) -> Any:
        """Begin a transition: latents z f32[B,Z], actions a f32[B,A] and what was remembered -> what is now."""

    def predict(self, h: Any) -> Expectation:
        """What follows, from the field `h` of what is remembered."""


class Noise(NamedTuple):
    """The random numbers of one transition: drawn beforehand, they make a row's dream depend on that row alone."""

    uniform: Tensor  # f32[B,2] in [0, 1): the component of the mixture, and the end
    normal: Tensor  # f32[B,N] with N = `Dream.noise`


class DreamState(NamedTuple):
    """Where B dreams are: latents z f32[B,Z], and the memory of what came before them.

    >>> dream = frmdn.Dream(frmdn.Memory(frmdn.MemoryConfig(hidden=16)))
    >>> dream.initial(torch.zeros(4, 32)).memory.h.shape
    torch.Size([4, 16])
    """

    z: Tensor
    memory: Any  # MemoryState, or whatever the world model remembers by


class Dream:
    """(state, action) -> (state, reward, done), sampled from a world model. Stateless: rows are independent dreams.

    temperature tau > 0 makes the dream harder to exploit as it grows (World Models, section 4.1: 1.15 for Doom).
    done_threshold: an episode ends where the predicted chance of the end is above it; None draws the end at random.
    reward: "learned" by the world model, or "survival": 1 for every transition, for worlds that pay for staying alive.
    actions: f32[B,A] as they come -> f32[B,A] as the real world plays them, e.g. `ActionCodec.play`, which clips; None
    takes them as they are, and beyond the bounds the dream is of no world.

    >>> dream = frmdn.Dream(frmdn.Memory(frmdn.MemoryConfig()), temperature=1.15)
    >>> state = dream.initial(torch.zeros(4, 32))
    >>> state, reward, done = dream.step(state, torch.zeros(4, 3))
    >>> state.z.shape, reward.shape, done.dtype
    (torch.Size([4, 32]), torch.Size([4]), torch.bool)
    """

    def __init__(
        self,
        memory: WorldModel,
        *,
        temperature: float = 1.0,
        done_threshold: float | None = 0.5,
        reward: Literal["learned", "survival"] = "learned",
        actions: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        if not temperature > 0:
            raise ValueError(f"temperature must be above 0, not {temperature}; 1 leaves the density as it was learned")
        if done_threshold is not None and not 0 < done_threshold < 1:
            raise ValueError(
                f"done_threshold must be a chance between 0 and 1, not {done_threshold}; None draws the end"
            )
        if reward not in ("learned", "survival"):
            raise ValueError(f"reward must be learned or survival, not {reward!r}")
        self.memory, self.temperature, self.done_threshold, self.reward = memory, temperature, done_threshold, reward
        self.actions = actions

    @torch.no_grad()
    def initial(self, z: Tensor) -> DreamState:
        """Begin B dreams at latents z f32[B,Z] with an empty memory."""
        return DreamState(z, self.memory.initial(len(z), z.device))

    @property
    def noise(self) -> int:
        """N, the standard normal numbers that one transition takes."""
        with torch.no_grad():
            return int(self.memory.predict(self.memory.initial(1).h).latent.noise)

    @torch.no_grad()
    def step(
        self, state: DreamState, action: Tensor, generator: torch.Generator | None = None, *, noise: Noise | None = None
    ) -> tuple[DreamState, Tensor, Tensor]:
        """Act with action f32[B,A]: the next state, reward f32[B] and done bool[B].

        The random numbers are `noise`, or else they come from `generator` for all rows together.
        """
        action = action if self.actions is None else self.actions(action)
        memory = self.memory.step(state.z, action, state.memory)
        prediction = self.memory.predict(memory.h)
        if noise is None:
            z = prediction.latent.sample(temperature=self.temperature, generator=generator)
        else:
            z = prediction.latent.sample_from(noise.uniform[:, 0], noise.normal, self.temperature)
        chance = torch.sigmoid(prediction.done_logit)
        reward = prediction.reward if self.reward == "learned" else torch.ones_like(prediction.reward)
        if self.done_threshold is not None:
            return DreamState(z, memory), reward, chance > self.done_threshold
        drawn = draw(torch.rand, chance.shape, chance, generator) if noise is None else noise.uniform[:, 1]
        return DreamState(z, memory), reward, drawn < chance
