"""How long and how fast a density model is trained: by working time, by steps, or as on the MDN slides."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import nn

from frmdn.agent.training import FitConfig

FINAL = 0.01  # share of the learning rate that is left at the end
CHECKS = 20  # validations of a run, evenly spread over its budget
ENDLESS = 2**53


Spent = tuple[float, float]
Clock = Literal["wall", "cpu"]


class Watch:
    """Training time spent and steps done; it stands still while a model is validated or saved."""

    def __init__(
        self,
        budget: float | None,
        steps: int | None,
        spent: Spent = (0.0, 0.0),
        done: int = 0,
        clock: Clock = "wall",
    ) -> None:
        self.budget, self.steps, self.done, self.clock = budget, steps, done, clock
        self._spent, self._since = spent, None

    _since: Spent | None

    def run(self) -> None:
        """Go on counting, if it does not already."""
        if self._since is None:
            self._since = _now()

    def pause(self) -> None:
        self._spent, self._since = self.spent, None

    @property
    def spent(self) -> Spent:
        """Seconds on the clock, and seconds of all processors: far fewer where something else took them."""
        if self._since is None:
            return self._spent
        wall, cpu = (now - since for now, since in zip(_now(), self._since, strict=True))
        return self._spent[0] + wall, self._spent[1] + cpu

    @property
    def seconds(self) -> float:
        return self.spent[0]

    @property
    def share(self) -> float:
        """How much of the budget is used, 0 to 1."""
        if self.steps is not None:
            return min(self.done / self.steps, 1.0)
        return min(self.spent[self.clock == "cpu"] / (self.budget or math.inf), 1.0)


def _now() -> Spent:
    return time.perf_counter(), time.process_time()


@dataclass(frozen=True)
class BudgetFit(FitConfig):
    """Adam with a cosine over the budget that is used, not over steps.

    A slow model makes fewer steps in its seconds than a fast one. A cosine over a fixed number of steps would leave the
    slow one at a high rate when its time is up, and a constant rate would leave both in the noise; over the share of
    the time, all come to rest together.
    """

    watch: Watch = field(default_factory=lambda: Watch(1.0, None))

    def rate(self, step: int) -> float:
        cosine = 0.5 * (1 + math.cos(math.pi * self.watch.share))
        return self.learning_rate * (FINAL + (1 - FINAL) * cosine)


@dataclass(frozen=True)
class SlidesFit(FitConfig):
    """RMSprop as Keras has it by default, at a constant rate."""

    def optimizer(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.RMSprop(parameters, lr=self.learning_rate, alpha=0.9, eps=1e-7)


@dataclass(frozen=True)
class Recipe:
    """What a user may choose about the training of one run."""

    budget: float | None = 60.0  # seconds of training, making the batches included
    steps: int | None = None  # or a number of steps; then the run can be repeated bit for bit
    learning_rate: float = 1e-3  # at first; of Adam
    clip: float | None = 1.0  # largest norm of the gradient
    checks: int = CHECKS
    slides: bool = False  # RMSprop at a constant rate, no clipping
    clock: Clock = "wall"  # or "cpu": the budget is in seconds of the processor, where others use the machine too

    def __post_init__(self) -> None:
        if (self.budget is None) == (self.steps is None):
            raise ValueError(f"give budget or steps, and not both: they are {self.budget} and {self.steps}")
        for name in ("budget", "steps", "learning_rate", "clip", "checks"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} must be a positive number, not {value}")

    def fit_config(self, watch: Watch) -> FitConfig:
        steps = self.steps or ENDLESS
        if self.slides:
            return SlidesFit(steps, self.learning_rate, log_every=10)
        return BudgetFit(steps, self.learning_rate, self.clip, log_every=10, watch=watch)


def slides_recipe(epoch: int) -> Recipe:
    """200 epochs of `epoch` steps, learning rate 0.001."""
    return Recipe(budget=None, steps=200 * epoch, clip=None, slides=True)
