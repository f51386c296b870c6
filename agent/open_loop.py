"""Open-loop dreams beside what really happened: how far they stray, and for how many steps they are worth having."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from .dream import Dream, DreamState, Expectation, WorldModel


class OpenLoop(NamedTuple):
    """What B dreams went through in H steps; entry t is what action t led to."""

    latents: Tensor  # f32[B,H,Z]
    rewards: Tensor  # f32[B,H]
    ends: Tensor  # f32[B,H], the chance that the episode ends here; the dream goes on all the same
    weights: Tensor  # f32[B,H,K], of the mixture as learned; K = 0 where the density is no single mixture


@torch.no_grad()
def warm_up(model: WorldModel, latents: Tensor, actions: Tensor) -> DreamState:
    """Where a dream begins that has watched reality: latents f32[B,W+1,Z], actions f32[B,W,A], both real."""
    _check(latents, actions, latents.shape[1] - 1)
    memory = model.initial(len(latents), latents.device)
    for t in range(actions.shape[1]):
        memory = model.step(latents[:, t], actions[:, t], memory)
    return DreamState(latents[:, -1], memory)


@torch.no_grad()
def watch(model: WorldModel, latents: Tensor, actions: Tensor) -> OpenLoop:
    """Closed loop, for comparison: each of W steps expected from the real latents f32[B,W+1,Z] before it.

    The latents are those of the mode, the point prediction.
    """
    _check(latents, actions, latents.shape[1] - 1)
    memory, seen = model.initial(len(latents), latents.device), []
    for t in range(actions.shape[1]):
        memory = model.step(latents[:, t], actions[:, t], memory)
        expected = model.predict(memory.h)
        seen.append(_entry(expected, expected.latent.mode))
    return _stack(seen, latents)


@torch.no_grad()
def open_loop(
    dream: Dream, start: DreamState, actions: Tensor, generator: torch.Generator | None = None
) -> tuple[OpenLoop, DreamState]:
    """Dream H steps with given actions f32[B,H,A], seeing nothing: what was dreamt, and the state after it.

    Latents are drawn at the dream's temperature with `generator`; without one they are the mode of every step, the
    path of point predictions.
    """
    if actions.ndim != 3 or len(actions) != len(start.z):
        raise ValueError(f"actions must be [B,H,A] with {len(start.z)} rows, one per dream, not {tuple(actions.shape)}")
    z, memory, dreamt = start.z, start.memory, []
    for t in range(actions.shape[1]):
        memory = dream.memory.step(z, actions[:, t], memory)
        expected = dream.memory.predict(memory.h)
        if generator is None:
            z = expected.latent.mode
        else:
            z = expected.latent.sample(temperature=dream.temperature, generator=generator)
        dreamt.append(_entry(expected, z))
    return _stack(dreamt, start.z), DreamState(z, memory)


def squared_errors(predicted: Tensor, actual: Tensor, spread: float) -> Tensor:
    """Squared distances f[B,H] of predicted from actual [B,H,...], in units of `spread`.

    With the mean squared distance of reality from its own average as `spread`, 1 is the error of whoever knows
    the world and not where in it he is; two unrelated moments are 2 apart.
    """
    if predicted.shape != actual.shape or predicted.ndim < 3:
        raise ValueError(f"predicted {tuple(predicted.shape)} and actual {tuple(actual.shape)} must be [B,H,...] alike")
    if not spread > 0:
        raise ValueError(f"spread must be above 0, not {spread}: a reality that never changes has no scale for errors")
    return (predicted - actual).square().flatten(2).sum(-1) / spread


def spread_of(actual: Tensor) -> float:
    """The mean squared distance of vectors or pictures [N,...] from their average."""
    return float((actual - actual.mean(0)).square().flatten(1).sum(-1).mean())


def steps_below(errors: Tensor, limit: Tensor | float) -> int:
    """How many first steps of a curve f[H] lie below a limit (one number, or f[H]); H where all do."""
    above = (errors >= limit).nonzero()
    return int(above[0, 0]) if len(above) else len(errors)


def longest_below(errors: Tensor, limit: Tensor) -> tuple[int, int]:
    """The longest run of steps of a curve f[H] below another f[H]: the index of its first, and one behind its last.

    (0, 0) where there is none; of equally long runs the earliest.
    """
    best, first = (0, 0), None
    for place, below in enumerate([*(errors < limit).tolist(), False]):
        if below and first is None:
            first = place
        elif not below and first is not None:
            best, first = max(best, (first, place), key=lambda run: run[1] - run[0]), None
    return best


def _check(latents: Tensor, actions: Tensor, steps: int) -> None:
    if latents.ndim != 3 or actions.ndim != 3 or actions.shape[:2] != (len(latents), steps):
        raise ValueError(
            f"latents {tuple(latents.shape)} and actions {tuple(actions.shape)} do not fit: they must be [B,W+1,Z] and "
            "[B,W,A], for W transitions lie between W+1 latents"
        )


def _entry(expected: Expectation, z: Tensor) -> OpenLoop:
    logits: Any = getattr(getattr(expected.latent, "base", None), "logits", None)
    joint = isinstance(logits, Tensor) and logits.ndim == 2  # one mixture over all dimensions
    weights = torch.softmax(logits, -1) if joint else z.new_zeros(len(z), 0)
    return OpenLoop(z, expected.reward, torch.sigmoid(expected.done_logit), weights.expand(len(z), -1))


def _stack(entries: list[OpenLoop], like: Tensor) -> OpenLoop:
    if not entries:
        none = like.new_zeros(len(like), 0)
        return OpenLoop(like.new_zeros(len(like), 0, like.shape[-1]), none, none, like.new_zeros(len(like), 0, 0))
    return OpenLoop(*(torch.stack(part, 1) for part in zip(*entries, strict=True)))
