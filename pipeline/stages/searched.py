"""Where a search measures its candidates, in reality or in dreams, and which of CMA's means it keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from frmdn.agent.agent import Agent
from frmdn.agent.seeds import derive, episode_seeds
from frmdn.controller.dreaming import draw_starts, dream_batch, dream_runner
from frmdn.controller.evolution import Evolution, SearchConfig
from frmdn.controller.evolve import Rehearsal, check
from frmdn.controller.fitness import Fitness, RealFitness, Trial
from frmdn.controller.subspace import Subspace, principal, seen
from frmdn.envs.spec import EnvSpec
from frmdn.rollouts.run import Runner
from frmdn.rollouts.workers import open_pool

from ..files import read_history, read_record, write_json
from ..session import Session
from ..weights import load_state, save_state


@dataclass(frozen=True)
class Searched:
    """The world of a search while its workers are there."""

    fitness: Fitness
    rehearsal: Rehearsal | None  # None: candidates play for real
    length: Callable[[int], int] | None  # generations complete -> steps of a candidate's episode; None: a whole one
    seeds: Sequence[int]  # of the validation: those of the run in every round, so that rounds can be compared


@contextmanager
def searched(session: Session, agent: Agent, make: Callable[[], Runner], dreams: bool) -> Iterator[Searched]:
    """Open the workers of a search: real ones that `make` runners, and in a search in dreams dreaming ones as well."""
    config, machine = session.config, session.machine
    seeds = episode_seeds(config.seed, "validate", config.search.validate_episodes)
    with ExitStack() as pools:

        def opened(recipe: Callable[[], Runner], beside: RealFitness | None = None) -> RealFitness:
            other = None if beside is None else beside.pool
            return RealFitness(pools.enter_context(open_pool(recipe, machine.workers, machine.address, beside=other)))

        if not dreams:
            yield Searched(opened(make), None, lengths(config.search, session.spec), seeds)
            return
        limit = min(config.search.max_steps or session.spec.max_steps, session.spec.max_steps)
        # The same workers dream and check in reality, never at once: no processor is reserved twice.
        reality = opened(make) if config.search.validate_every else None
        dreamt = partial(config.search.steps_at, limit=config.dream.length(limit))
        dreaming = _dreaming(session, agent, limit, partial(opened, beside=reality))
        yield Searched(dreaming, Rehearsal(reality), dreamt, seeds)


def lengths(search: SearchConfig, spec: EnvSpec) -> Callable[[int], int] | None:
    """How long the candidates' episodes are in reality, where they grow from generation to generation."""
    return None if search.first_steps is None else partial(search.steps_at, limit=spec.max_steps)


def subspace(session: Session, agent: Agent, folder: Path | None = None) -> Subspace | None:
    """What a search of `agent` varies; kept in `folder`, so that a search that goes on finds it to the last bit."""
    count = session.config.search.subspace
    if count is None:
        return None
    path = None if folder is None else folder / "subspace.safetensors"
    if path is None or not path.exists():
        training, _ = session.split("memory", session.config.memory_data.validation)
        space = principal(seen(agent, session.latents(), training), count, agent.controller.outputs)
        if path is not None:
            save_state(path, {"basis": space.basis})
        return space
    basis = load_state(path).get("basis", np.empty(0))
    if basis.shape != ((count + 1) * agent.controller.outputs, agent.controller.size):
        raise ValueError(f"{path} is of another search: delete its folder and run the same command again")
    return Subspace(basis)


def _dreaming(
    session: Session, agent: Agent, limit: int, opened: Callable[[Callable[[], Runner]], RealFitness]
) -> Fitness:
    """Where candidates dream: in all workers on the CPU, or as one batch on a GPU."""
    parts, device = _dreams(session, agent, limit), session.machine.device
    return opened(partial(dream_runner, *parts)) if device.type == "cpu" else dream_batch(device, *parts)


def _dreams(session: Session, agent: Agent, limit: int) -> tuple[Any, ...]:
    """What the dreams of a search are made of: all members of the memory, begun at latents of all rounds so far."""
    config, memories = session.config, session.memories()
    training, held = session.split("memory", config.memory_data.validation)
    indices = sorted({*training, *held})
    starts = draw_starts(session.latents(), indices, memories, config.dream, derive(session.seed, "dream"))
    features = agent.config.features
    return session.spec, agent.controller, features, memories, starts, config.dream, limit


def keep(session: Session, world: Searched, evolution: Evolution, folder: Path) -> np.ndarray:
    """The parameters f64[N] that become the agent: CMA's last means, or an earlier one that was better in reality.

    Searches in dreams, and those of several rounds, check that on the validation seeds too, and leave
    `kept.json` {generation, validation, last, real_steps}. Without validation, and in one search in reality, it is
    what `Evolution.agent` says.
    """
    rounds, theta = session.config.rounds, evolution.agent
    if world.rehearsal is None and rounds.count == rounds.number == 1:
        return theta
    if not session.config.search.validate_every:
        record = {"generation": evolution.generation, "validation": None, "last": None}
        write_json(folder / "kept.json", {**record, "real_steps": _real_steps(folder, world)})
        return theta
    chosen = choose(world, evolution)
    real = _real_steps(folder, world) + chosen.steps
    kept = {"generation": chosen.generation, "validation": chosen.validation, "last": chosen.last}
    write_json(folder / "kept.json", {**kept, "real_steps": real})
    return chosen.theta


@dataclass(frozen=True)
class Choice:
    """The mean of a search that was best in reality, on the validation seeds."""

    theta: np.ndarray  # f64[N]
    generation: int  # complete when it was the mean
    validation: float
    last: float  # what the last mean is worth there
    steps: int  # real ones, that it took to find out


def choose(world: Searched, evolution: Evolution) -> Choice:
    """Validate where the search ended, and take an earlier mean in its place where that one was better."""
    theta = evolution.agent
    if world.rehearsal is None:
        played = world.fitness.measure([Trial(theta[None], world.seeds)])[0]
    else:
        played = check(world.rehearsal, theta, world.seeds)
    last, steps, champion = float(played.total.mean()), int(played.steps.sum()), evolution.champion
    if champion is not None and champion.value > last:
        return Choice(champion.theta, champion.generation, champion.value, last, steps)
    return Choice(theta, evolution.generation, last, last, steps)


def kept_text(folder: Path) -> str:
    """What people read about `kept.json`; nothing where there is none."""
    path = folder / "kept.json"
    if not path.exists():
        return ""
    kept = read_record(path, {"generation": int, "real_steps": int, "validation": object})
    value = "" if kept["validation"] is None else f": {kept['validation']:.0f} in reality"
    return f"; kept the mean of generation {kept['generation']}{value} ({kept['real_steps']:,} real steps)"


def _real_steps(folder: Path, world: Searched) -> int:
    """Steps of the real environment that the search took."""
    key = "steps" if world.rehearsal is None else "real_steps"
    lines = read_history(folder / "history.jsonl", ("generation", "mean"), all_numbers=True)
    return sum(int(line.get(key, 0)) for line in lines)
