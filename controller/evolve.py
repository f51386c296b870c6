"""The generation loop: ask, play, tell, report, save."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from agent.seeds import episode_seeds

from .evolution import Evolution, SearchConfig
from .fitness import Fitness, Returns, Trial


def evolve(
    fitness: Fitness,
    evolution: Evolution,
    config: SearchConfig,
    *,
    seed: int,
    on_generation: Callable[[dict[str, Any]], None] | None = None,
    checkpoint: Callable[[dict[str, np.ndarray]], None] | None = None,
) -> Evolution:
    """Run the search from where `evolution` stands to its last generation, and return it.

    Generation g plays `episode_seeds(seed, "evolve", S, g * S)`, so a resumed search meets the seeds that it would have
    met. `on_generation` gets a history line of plain numbers and then `checkpoint` the state. A run killed between the
    two repeats one generation exactly: on resuming, cut the history to the `evolution.generation` lines of the state.
    """
    begin = time.monotonic()
    while not _finished(evolution, config, time.monotonic() - begin):
        line = _generation(fitness, evolution, config, seed)
        if on_generation is not None:
            on_generation(line)
        if checkpoint is not None:
            checkpoint(evolution.state())
    return evolution


def _finished(evolution: Evolution, config: SearchConfig, elapsed: float) -> bool:
    if evolution.generation >= config.generations:
        return True
    if config.seconds is not None and elapsed >= config.seconds:
        return True
    # Asked of the saved history, not of this call: a resumed search that had reached its goal stays finished.
    return config.stop_at is not None and any(value >= config.stop_at for value in evolution.validations)


def _generation(fitness: Fitness, evolution: Evolution, config: SearchConfig, seed: int) -> dict[str, Any]:
    begin = time.monotonic()
    trials = [
        Trial(evolution.ask(), episode_seeds(seed, "evolve", config.episodes, evolution.generation * config.episodes))
    ]
    if _validates(evolution.generation, config):
        trials.append(Trial(evolution.mean[None], episode_seeds(seed, "validate", config.validate_episodes)))
    played = fitness.measure(trials)
    values = played[0].total.mean(axis=1)
    validation = float(played[1].total.mean()) if len(played) > 1 else float("nan")
    evolution.tell(values, validation)
    return _line(evolution, values, validation, played, time.monotonic() - begin)


def _validates(generation: int, config: SearchConfig) -> bool:
    """Whether to validate the mean that this generation (0 for the first) is drawn around; the start is no agent."""
    return config.validate_every > 0 and generation > 0 and generation % config.validate_every == 0


def _line(
    evolution: Evolution, values: np.ndarray, validation: float, played: list[Returns], seconds: float
) -> dict[str, Any]:
    """`validation` is the mean return of the mean that these candidates were drawn around; counts include it."""
    steps = sum(int(returns.steps.sum()) for returns in played)
    line: dict[str, Any] = {
        "generation": evolution.generation,
        "mean": float(values.mean()),
        "best": float(values.max()),
        "worst": float(values.min()),
        "std": float(values.std()),
        "sigma": evolution.sigma,
        "episodes": sum(returns.steps.size for returns in played),
        "steps": steps,
        "seconds": seconds,
        "steps_per_second": steps / max(seconds, 1e-9),
    }
    if np.isfinite(validation):
        line["validation"] = validation
    return line
