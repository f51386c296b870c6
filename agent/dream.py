"""The dream: a transition of the world as M imagines it, batched, in latent space only."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .memory import Memory, MemoryState


class DreamState(NamedTuple):
    """Where B dreams are: latents z f32[B,Z], and the memory of what came before them."""

    z: Tensor
    memory: MemoryState


class Dream:
    """(state, action) -> (state, reward, done), sampled from a Memory. Holds no state: rows are independent dreams.

    temperature tau > 0 makes the dream harder to exploit as it grows (World Models, section 4.1: 1.15 for Doom).
    done_threshold: an episode ends where the predicted chance of the end is above it; None draws the end at random.
    """

    def __init__(self, memory: Memory, *, temperature: float = 1.0, done_threshold: float | None = 0.5) -> None:
        if not temperature > 0:
            raise ValueError(f"temperature must be above 0, not {temperature}; 1 leaves the density as it was learned")
        if done_threshold is not None and not 0 < done_threshold < 1:
            raise ValueError(
                f"done_threshold must be a chance between 0 and 1, not {done_threshold}; None draws the end"
            )
        self.memory, self.temperature, self.done_threshold = memory, temperature, done_threshold

    @torch.no_grad()
    def initial(self, z: Tensor) -> DreamState:
        """Begin B dreams at latents z f32[B,Z] with an empty memory."""
        return DreamState(z, self.memory.initial(len(z), z.device))

    @torch.no_grad()
    def step(
        self, state: DreamState, action: Tensor, generator: torch.Generator | None = None
    ) -> tuple[DreamState, Tensor, Tensor]:
        """Act with action f32[B,A]: the next state, reward f32[B] and done bool[B]."""
        memory = self.memory.step(state.z, action, state.memory)
        prediction = self.memory.predict(memory.h)
        z = prediction.latent.sample(temperature=self.temperature, generator=generator)
        chance = torch.sigmoid(prediction.done_logit)
        if self.done_threshold is not None:
            return DreamState(z, memory), prediction.reward, chance > self.done_threshold
        source = chance.device if generator is None else generator.device
        drawn = torch.rand(chance.shape, generator=generator, device=source, dtype=chance.dtype).to(chance.device)
        return DreamState(z, memory), prediction.reward, drawn < chance
