"""Evolving a controller: CMA-ES on the returns of real or dreamt episodes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from frmdn.agent.agent import Agent
from frmdn.agent.seeds import derive, episode_seeds
from frmdn.controller.evolution import Evolution, SearchConfig
from frmdn.controller.evolve import evolve as search_on
from frmdn.controller.fitness import RealFitness
from frmdn.controller.subspace import Subspace
from frmdn.envs.spec import EnvSpec
from frmdn.rollouts.workers import open_pool

from ..session import Machine
from ..stages.evolve import search_runner
from ..stages.searched import Searched, choose, lengths, searched, subspace
from .acting import world_of
from .player import Player
from .run import Run


@dataclass(frozen=True)
class Evolved:
    """What a search found.

    >>> found = frmdn.evolve(frmdn.open("runs/tiny"), search=frmdn.SearchConfig(population=4, generations=1))
    >>> found.player, len(found.history)
    (Player(Counting-v0, 82 parameters), 1)
    """

    player: Player  # the agent with the parameters that count, ready to act
    history: list[dict[str, Any]]  # one entry a generation: mean, best, worst, sigma, steps, seconds, validation, ...
    evolution: Evolution  # CMA-ES where it stopped: `mean`, `best`, `sigma`, `fitness`


def evolve(
    who: Run | Agent,
    world: str | EnvSpec | None = None,
    search: SearchConfig | None = None,
    *,
    dreams: bool | None = None,
    seed: int | None = None,
    workers: int = 0,
    device: str = "auto",
) -> Evolved:
    """Search a controller for a vision and a memory; the run folder is left as it is.

    Args:
        who: a run, whose trained vision and memory see and remember; or an agent of your own (`make_agent`).
        world: a Gymnasium id or its description; None: the world of the run.
        search: population, generations, episodes, ...; None: the run's own settings, else the defaults.
        dreams: measure candidates in dreams of the run, as its `config.dream` says; None: as the run's search did.
        seed: root of the random numbers; None: that of the run, else 0.
        workers: processes that play side by side; 0 plays in this one. They change the time only.
        device: what computes: auto, cpu, cuda, cuda:1 or mps; auto is a GPU of CUDA where one works.

    Raises:
        ValueError: an agent needs a world; only a run can dream, or has episodes to find a subspace in.

    >>> run = frmdn.open("runs/tiny")
    >>> found = frmdn.evolve(run, search=frmdn.SearchConfig(population=4, generations=2))
    >>> [line["generation"] for line in found.history]
    [1, 2]
    >>> frmdn.evaluate(found.player, episodes=2).lengths
    [10, 10]
    """
    if isinstance(who, Run):
        return _of_run(who, world, search, dreams, seed, Machine(workers, on=device))
    if world is None:
        raise ValueError("world must be named where an agent is evolved: give a Gymnasium id, or what get_spec returns")
    if dreams:
        raise ValueError("dreams=True needs a run, whose latents dreams begin at: give frmdn.open(folder)")
    spec, config, root = world_of(world), search or SearchConfig(), seed or 0
    if config.subspace is not None:
        raise ValueError("subspace needs a run, whose episodes show what varies: give frmdn.open(folder), or None")
    seeds = episode_seeds(root, "validate", config.validate_episodes)
    make = partial(search_runner, spec, who, config, Machine(workers, on=device).acting)
    with open_pool(make, workers) as pool:
        where = Searched(RealFitness(pool), None, lengths(config, spec), seeds)
        return _search(who, spec, config, where, root, None, None)


def _of_run(
    run: Run,
    world: str | EnvSpec | None,
    search: SearchConfig | None,
    dreams: bool | None,
    seed: int | None,
    machine: Machine,
) -> Evolved:
    session, agent = run.session, run.agent()
    config = replace(session.config, search=search or session.config.search)
    if seed is not None:
        config = replace(config, seed=seed)
    session = replace(session, config=config, machine=machine)
    spec = session.spec if world is None else world_of(world)
    make = partial(search_runner, spec, agent, config.search, machine.acting)
    with searched(session, agent, make, session.dreams if dreams is None else dreams) as where:
        space = subspace(session, agent)
        return _search(agent, spec, config.search, where, session.seed, session.start(agent), space)


def _search(
    agent: Agent,
    spec: EnvSpec,
    config: SearchConfig,
    where: Searched,
    seed: int,
    start: np.ndarray | None,
    space: Subspace | None,
) -> Evolved:
    history: list[dict[str, Any]] = []
    evolution = search_on(
        where.fitness,
        Evolution(agent.controller.size, config, derive(seed, "evolve"), start, space),
        config,
        seed=seed,
        validation=where.seeds,
        length=where.length,
        rehearsal=where.rehearsal,
        on_generation=history.append,
    )
    # As in a run: the last mean of a search in reality, and of a search in dreams the mean that was best in reality.
    dreamt = where.rehearsal is not None and config.validate_every > 0
    theta = choose(where, evolution).theta if dreamt else evolution.agent
    return Evolved(Player(agent, theta.astype(np.float32), spec), history, evolution)
