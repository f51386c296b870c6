"""What a candidate is worth in a dream: all its episodes, and those of all candidates, as one batch of tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from frmdn.agent.agent import Controller
from frmdn.agent.dream import Dream, DreamState
from frmdn.agent.seeds import derive, generator

from .fitness import Returns, Trial


@dataclass(frozen=True)
class DreamFitness:
    """Returns of episodes dreamt from given latents; nothing of the real environment is touched.

    Seed s begins at start number derive(s) mod N, the same for all candidates. The noise of a trial comes from one
    generator that its seeds name, so that a trial measured again gives the same returns; candidates share starts, and
    not the noise of each step.
    """

    dream: Dream
    controller: Controller
    squash: Callable[[Tensor], Tensor]  # raw actions -> action vectors, as the codec of the real environment does it
    features: Callable[[DreamState], Tensor]  # what the controller sees of a state: f32[B,F]
    starts: Tensor  # f32[N,Z], latents to begin at
    steps: int  # of an episode that does not end before

    def __post_init__(self) -> None:
        if self.steps < 1 or self.starts.ndim != 2 or not len(self.starts):
            raise ValueError(
                f"a dream needs steps of 1 or more and starts [N,Z], not {self.steps} and {self.starts.shape}"
            )

    def __call__(self, theta: np.ndarray, seeds: Sequence[int]) -> Returns:
        """Returns [P,S] of theta [P,N] on S seeds."""
        return self.measure([Trial(theta, seeds)])[0]

    def measure(self, trials: Sequence[Trial]) -> list[Returns]:
        """As `RealFitness` does, in imagination."""
        return [self._measure(trial) for trial in trials]

    @torch.inference_mode()
    def _measure(self, trial: Trial) -> Returns:
        shape = (len(trial.theta), len(trial.seeds))
        if trial.theta.ndim != 2 or not all(shape):
            raise ValueError(f"a trial needs theta [P,N] and seeds, not {trial.theta.shape} and {shape[1]} seeds")
        theta = torch.as_tensor(np.asarray(trial.theta, np.float32)).repeat_interleave(shape[1], 0)  # [P*S,N]
        rows = torch.tensor([derive(seed, "start") % len(self.starts) for seed in trial.seeds])
        state = self.dream.initial(self.starts[rows].repeat(shape[0], 1))
        noise = generator(0, "dream", *trial.seeds)
        total = torch.zeros(len(theta), dtype=torch.float64)
        steps = torch.zeros(len(theta), dtype=torch.int64)
        alive = torch.ones(len(theta), dtype=torch.bool)
        for _ in range(self.steps):
            action = self.squash(self.controller.act(theta, self.features(state)))
            state, reward, done = self.dream.step(state, action, noise)
            total += torch.where(alive, reward.double(), 0.0)
            steps += alive
            alive &= ~done
            if not alive.any():
                break
        return Returns(total.view(shape).numpy(), steps.view(shape).numpy())
