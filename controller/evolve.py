"""The generation loop: ask, play, tell, report, save."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from frmdn.agent.seeds import episode_seeds

from .evolution import Evolution, SearchConfig
from .fitness import Fitness, Returns, Trial


@dataclass(frozen=True)
class Rehearsal:
    """A search whose fitness is dreamt: how its mean is checked in reality."""

    reality: Fitness | None  # where CMA's mean is validated; None where `validate_every` is 0


def evolve(
    fitness: Fitness,
    evolution: Evolution,
    config: SearchConfig,
    *,
    seed: int,
    validation: Sequence[int] | None = None,
    length: Callable[[int], int] | None = None,
    rehearsal: Rehearsal | None = None,
    on_generation: Callable[[dict[str, Any]], None] | None = None,
    checkpoint: Callable[[dict[str, np.ndarray]], None] | None = None,
) -> Evolution:
    """Run the search from where `evolution` stands to its last generation, and return it.

    Generation g plays `episode_seeds(seed, "evolve", S, g * S)`, so a resumed search meets the seeds that it would have
    met. `on_generation` gets a history line of plain numbers and then `checkpoint` the state. A run killed between the
    two repeats one generation exactly: on resuming, cut the history to the `evolution.generation` lines of the state.

    `length` says how long a candidate's episode is after so many complete generations; None: as the fitness has it.
    `validation` are the episodes of CMA's mean, by default `episode_seeds(seed, "validate", validate_episodes)`. They
    are whole ones, played in reality: with a `rehearsal`, `fitness` dreams, and a line says what the mean was worth in
    reality (`validation`) and in a dream of that length (`dream`), and how many real steps that took (`real_steps`).
    """
    begin = time.monotonic()
    held = validation or episode_seeds(seed, "validate", config.validate_episodes)
    while not _finished(evolution, config, time.monotonic() - begin):
        line = _generation(fitness, evolution, config, seed, held, length, rehearsal)
        if on_generation is not None:
            on_generation(line)
        if checkpoint is not None:
            checkpoint(evolution.state())
    return evolution


def _finished(evolution: Evolution, config: SearchConfig, elapsed: float) -> bool:
    if evolution.generation >= config.generations:
        return True
    # One generation is always played: a search without any has no agent, and a resumed one could never end.
    if config.seconds is not None and evolution.generation and elapsed >= config.seconds:
        return True
    # Asked of the saved history, not of this call: a resumed search that had reached its goal stays finished.
    return config.stop_at is not None and any(value >= config.stop_at for value in evolution.validations)


def _generation(
    fitness: Fitness,
    evolution: Evolution,
    config: SearchConfig,
    seed: int,
    held: Sequence[int],
    length: Callable[[int], int] | None,
    rehearsal: Rehearsal | None,
) -> dict[str, Any]:
    begin = time.monotonic()
    limit = None if length is None else length(evolution.generation)
    seeds = episode_seeds(seed, "evolve", config.episodes, evolution.generation * config.episodes)
    trials = [Trial(evolution.ask(), seeds, limit)]
    if _validates(evolution, config):
        trials.append(Trial(evolution.mean[None], held, None if rehearsal is None else limit))
    played = fitness.measure(trials)
    values = played[0].total.mean(axis=1)
    validation = float(played[1].total.mean()) if len(played) > 1 else float("nan")
    extra: dict[str, Any] = {} if limit is None else {"length": limit}
    if rehearsal is not None and len(played) > 1:
        real = check(rehearsal, evolution.mean, held)
        extra |= {"dream": validation, "real_steps": int(real.steps.sum())}
        validation = float(real.total.mean())
    evolution.tell(values, validation)
    return _line(evolution, values, validation, played, time.monotonic() - begin) | extra


def check(rehearsal: Rehearsal, theta: np.ndarray, seeds: Sequence[int]) -> Returns:
    """What theta f[N] is worth in reality: returns [1,S]."""
    assert rehearsal.reality is not None, "a search that validates needs a real world to do it in"
    return rehearsal.reality.measure([Trial(theta[None], seeds)])[0]


def _validates(evolution: Evolution, config: SearchConfig) -> bool:
    """Whether to validate the mean that this generation (0 for the first) is drawn around.

    A start at zero is no agent; one at an earlier controller is.
    """
    if config.validate_every < 1 or evolution.generation % config.validate_every:
        return False
    return evolution.generation > 0 or evolution.warm


def _line(
    evolution: Evolution, values: np.ndarray, validation: float, played: list[Returns], seconds: float
) -> dict[str, Any]:
    """`validation` is the mean return of the mean that these candidates were drawn around; counts include it."""
    steps = sum(int(returns.steps.sum()) for returns in played)
    line: dict[str, Any] = {
        "generation": evolution.generation,
        **_figures(values),
        "sigma": evolution.sigma,
        "episodes": sum(returns.steps.size for returns in played),
        "steps": steps,
        "seconds": seconds,
        "steps_per_second": steps / max(seconds, 1e-9),
    }
    if np.isfinite(validation):
        line["validation"] = validation
    return line


def told(evolution: Evolution, sigmas: Sequence[float]) -> list[dict[str, Any]]:
    """History lines out of the search itself, where those that were written are lost: without what only the players
    knew (episodes, steps, seconds). `sigmas` has one for each generation, as `Evolution.resume` shows them."""
    lines = []
    for place, (values, sigma) in enumerate(zip(evolution.fitness, sigmas, strict=True)):
        line = {"generation": place + 1, **_figures(values), "sigma": sigma}
        if np.isfinite(evolution.validations[place]):
            line["validation"] = evolution.validations[place]
        lines.append(line)
    return lines


def _figures(values: np.ndarray) -> dict[str, float]:
    """Of a generation's returns f64[P]."""
    figures = {"mean": values.mean(), "best": values.max(), "worst": values.min(), "std": values.std()}
    return {name: float(value) for name, value in figures.items()}
