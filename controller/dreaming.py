"""A search in dreams: its settings, the real latents that its dreams begin at, and what a worker builds for it."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from frmdn.agent.agent import Controller
from frmdn.agent.dream import Dream, DreamState
from frmdn.agent.memory import Memory
from frmdn.agent.rows import map_rows
from frmdn.agent.seeds import derive
from frmdn.envs.dream import DreamSlots
from frmdn.envs.spec import EnvSpec
from frmdn.rollouts.episodes.joined import LatentSource
from frmdn.rollouts.job import StallRule
from frmdn.rollouts.policy import ControllerPolicy
from frmdn.rollouts.run import Runner

from .batched import BatchedDreams


@dataclass(frozen=True)
class DreamConfig:
    """Whether the controller is evolved in dreams, and in which; all else about dreams counts only where it is."""

    world: Literal["reality", "dream"] = "reality"  # where candidates are measured
    temperature: float = 1.15  # above 1 the dream is less certain than the memory, and harder to exploit
    horizon: int | None = None  # transitions of a dream; None: as many as an episode of the search in reality
    starts: int = 512  # real latents that dreams begin at
    middle: float = 0.5  # share of the starts in the middle of an episode; the others are first frames
    warmup: int = 8  # real transitions that the memory sees before a start in the middle
    start_noise: float = 1.0  # of the starts, in standard deviations of the vision's own uncertainty
    done_threshold: float | None = None  # chance above which a dream ends; None: ends are drawn by their chance
    reward: Literal["learned", "survival"] = "learned"  # survival: 1 a transition
    stall_steps: int | None = None  # a dream ends after so many transitions whose expected reward is not positive
    slots: int = 256  # dreams that one worker advances together

    def __post_init__(self) -> None:
        counts = ("horizon", "starts", "warmup", "stall_steps", "slots")
        for name in counts:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise ValueError(f"temperature must be a number above 0, not {self.temperature}")
        if not 0 <= self.middle <= 1:
            raise ValueError(f"middle must be a share from 0 to 1, not {self.middle}")
        if not self.start_noise >= 0:
            raise ValueError(f"start_noise must not be negative, not {self.start_noise}")
        if self.done_threshold is not None and not 0 < self.done_threshold < 1:
            raise ValueError(f"done_threshold must lie between 0 and 1, or be null, not {self.done_threshold}")

    def length(self, limit: int) -> int:
        """Transitions of a whole dream, where an episode of the search in reality has `limit`."""
        return min(self.horizon or limit, limit)


def draw_starts(
    latents: LatentSource, indices: Sequence[int], memories: Sequence[Memory], config: DreamConfig, seed: int
) -> list[DreamState]:
    """Where dreams begin: N real latents, the same for all memories, each with what that memory knows of its past.

    A share `middle` of them lies in the middle of episodes, `warmup` real transitions after a place drawn uniformly
    from all; the others are first frames, before which nothing is known. Deterministic in `seed`.
    """
    rng = np.random.default_rng(derive(seed, "starts"))
    steps = np.array([latents.shape(index)[0] for index in indices])
    inner = np.maximum(steps - config.warmup, 0)  # places from which a whole warm-up fits, and a transition after it
    middle = round(config.middle * config.starts) if inner.sum() else 0
    which = np.searchsorted(np.cumsum(inner), rng.integers(max(inner.sum(), 1), size=middle), side="right")
    begins = [(int(w), int(rng.integers(inner[w])), config.warmup) for w in which]
    begins += [(int(w), 0, 0) for w in rng.integers(len(indices), size=config.starts - middle)]
    parts = [latents.read_slice(indices[w], first, first + warm) for w, first, warm in begins]
    noise = [config.start_noise * rng.standard_normal(part.mean.shape).astype(np.float32) for part in parts]
    z = [torch.from_numpy(p.mean + np.exp(p.logvar / 2) * n) for p, n in zip(parts, noise, strict=True)]
    actions = [torch.from_numpy(part.actions) for part in parts]
    return [_warmed(memory, z, actions, middle) for memory in memories]


@torch.no_grad()
def _warmed(memory: Memory, z: Sequence[Tensor], actions: Sequence[Tensor], middle: int) -> DreamState:
    """The last of each piece of latents, and the memory after those before it; the first `middle` pieces have some."""
    empty = memory.initial(len(z), "cpu")
    state = type(empty)(*(part.clone() for part in empty))  # they may share storage
    if middle:
        before, acts = torch.stack([piece[:-1] for piece in z[:middle]]), torch.stack(list(actions[:middle]))
        _, warm = memory.unroll(before, acts)
        for mine, theirs in zip(state, warm, strict=True):
            mine[:middle] = theirs
    return DreamState(torch.stack([piece[-1] for piece in z]), state)


def dream_runner(
    spec: EnvSpec,
    controller: Controller,
    features: str,
    memories: Sequence[Memory],
    starts: Sequence[DreamState],
    config: DreamConfig,
    max_steps: int,
) -> Runner:
    """What a worker of a search in dreams builds for itself: as many slots in every worker, whatever their number."""
    world = DreamSlots(spec, _dreams(memories, config), starts, config.slots, features=features, max_steps=max_steps)
    squash: Callable[[Tensor], Tensor] = spec.action.squash
    return Runner(world, ControllerPolicy(controller, squash, config.slots), stall=_stall(spec, config))


def dream_batch(
    device: torch.device,
    spec: EnvSpec,
    controller: Controller,
    features: str,
    memories: Sequence[Memory],
    starts: Sequence[DreamState],
    config: DreamConfig,
    max_steps: int,
) -> BatchedDreams:
    """What takes the place of all workers of a search in dreams on a GPU: the same dreams as one batch."""
    dreams = _dreams([copy.deepcopy(m).to(device) for m in memories], config)
    begun = [map_rows(lambda tensor: tensor.to(device), start) for start in starts]
    stall = _stall(spec, config)
    return BatchedDreams(spec, controller, features, dreams, begun, max_steps=max_steps, stall=stall)


def _dreams(memories: Sequence[Memory], config: DreamConfig) -> list[Dream]:
    return [
        Dream(m, temperature=config.temperature, done_threshold=config.done_threshold, reward=config.reward)
        for m in memories
    ]


def _stall(spec: EnvSpec, config: DreamConfig) -> StallRule | None:
    return StallRule(config.stall_steps, spec.idle_reward) if config.stall_steps else None
