"""What a model is told of the past, and drawing on: one loop for every model of strokes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from .distribution import PENS, StrokeDistribution

LIFT, END = 1, 2
Step = Callable[[Tensor, Any], tuple[StrokeDistribution, Any]]  # context f32[B,T,C], state -> over [B,T], state


def told(target: Tensor) -> Tensor:
    """What is told after each row of targets f32[B,T,D]: dx, dy, [log wait,] the pen as one of three, f32[B,T,C]."""
    pen = functional.one_hot(target[..., -1].long(), PENS).to(target.dtype)
    wait = [target[..., 2:3].log()] if target.shape[-1] == 4 else []
    return torch.cat([target[..., :2], *wait, pen], -1)


def contexts(target: Tensor) -> Tensor:
    """What is told before each row: the row before, zeros before the first; f32[B,T,D] -> f32[B,T,C]."""
    after = told(target)
    return torch.cat([torch.zeros_like(after[:, :1]), after[:, :-1]], 1)


@torch.no_grad()
def generate(
    step: Step,
    like: Tensor,
    most: int,
    *,
    prime: Tensor | None = None,
    temperature: float = 1.0,
    bias: float = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Rows that a model makes up, each fed its own past: f32[B,T,D] with T up to `most`, behind the `prime`.

    It ends when the pen has finished in every row; what a row has behind its END means nothing.

    Args:
        step: one step of any model: `model` for prediction, `lambda c, s: model(c, text, s)` for synthesis, and
            `lambda c, s: model(c, z, s)` for sketches.
        like: f32[B,D], for the number of rows, their width, type and device.
        most: rows at most.
        prime: f32[B,P,D], what was drawn before: a hand to go on with, a call to answer, a drawing to complete. Where
            its last row has finished, it is told as one that leaves the paper.
        temperature: see `StrokeDistribution.sample`.
        bias: see there.
        generator: of the random numbers.

    Raises:
        ValueError: most below 1.
    """
    if most < 1:
        raise ValueError(f"most is {most}, but at least 1 row must be drawn")
    width = 5 if like.shape[-1] == 3 else 6
    context, state = like.new_zeros(len(like), 1, width), None
    if prime is not None and prime.shape[1]:
        prime = torch.cat([prime[..., :-1], prime[..., -1:].clamp_max(LIFT)], -1)
        context = torch.cat([context, told(prime)], 1)
    made: list[Tensor] = []
    finished = torch.zeros(len(like), dtype=torch.bool, device=like.device)
    while len(made) < most and not bool(finished.all()):
        distribution, state = step(context, state)
        rows = distribution.sample(temperature=temperature, bias=bias, generator=generator)[:, -1]
        finished = finished | (rows[:, -1] == END)
        made.append(rows)
        context = told(rows.unsqueeze(1))
    return torch.stack(made, 1)
