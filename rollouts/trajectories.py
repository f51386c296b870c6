"""Trajectories of one length: collected into a store, read as arrays, cut into batches by step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from frmdn.agent.seeds import generator
from frmdn.agent.state_space import Trajectories

from .episodes.store import EpisodeStore


def read_trajectories(
    store: EpisodeStore, indices: Sequence[int], view: Callable[[np.ndarray], np.ndarray] | None = None
) -> Trajectories:
    """Episodes of one length as tensors; `view` turns their observations [T+1,...] into others, e.g. into pictures.

    Pictures u8 become numbers 0..1, and every observation one flat vector. Raises ValueError where lengths differ.
    """
    episodes = [store.read(index) for index in indices]
    lengths = sorted({episode.steps for episode in episodes})
    if len(lengths) != 1:
        raise ValueError(f"{store.folder} holds episodes of {lengths} steps, but trajectories share one length")
    seen = [episode.frames if view is None else view(episode.frames) for episode in episodes]
    frames = np.stack(seen).reshape(len(seen), lengths[0] + 1, -1)
    observations = torch.from_numpy(frames).float() / (255.0 if frames.dtype == np.uint8 else 1.0)
    controls, rewards = (torch.from_numpy(np.stack([getattr(e, n) for e in episodes])) for n in ("actions", "rewards"))
    return Trajectories(observations, controls, rewards)


@dataclass(frozen=True)
class TrajectoryBatches:
    """Batch s of an endless stream of shuffled epochs, with the weight that the KL has at step s.

    Over the first `annealing` steps c rises linearly from `floor` to 1. The KL weighs c, so that reconstruction comes
    first; or, with `tempered`, 1 / c, which is to weigh the likelihood by c: the dynamics come first. A pure function
    of (seed, step), so that training resumes anywhere.
    """

    data: Trajectories
    size: int  # B; the last rows of an epoch that fill no batch are left out
    seed: int
    annealing: int = 0  # steps
    floor: float = 0.01
    tempered: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.size <= len(self.data.observations):
            raise ValueError(f"size must lie in 1..{len(self.data.observations)} trajectories, not {self.size}")

    def __call__(self, step: int) -> Trajectories:
        epoch, place = divmod(step, len(self.data.observations) // self.size)
        order = torch.randperm(len(self.data.observations), generator=generator(self.seed, "epoch", epoch))
        rows = order[place * self.size : (place + 1) * self.size]
        return self.data.rows(rows)._replace(kl_weight=self.weight(step))

    def weight(self, step: int) -> float:
        """Of the KL at a step."""
        share = min(1.0, self.floor + (1 - self.floor) * step / self.annealing) if self.annealing else 1.0
        return 1 / share if self.tempered else share
