"""The fifth stage: evolve the controller with CMA-ES."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import numpy as np

from frmdn.agent.agent import Agent
from frmdn.agent.device import choose_device
from frmdn.agent.seeds import derive
from frmdn.controller.evolution import Evolution, SearchConfig
from frmdn.controller.evolve import evolve
from frmdn.envs.spec import EnvSpec
from frmdn.envs.vector import make_slots
from frmdn.rollouts.job import StallRule
from frmdn.rollouts.policy import AgentPolicy
from frmdn.rollouts.run import Runner

from ..files import write_json
from ..progress import duration
from ..saved_search import SavedSearch
from ..session import Result, Session, Work
from ..weights import save_state
from .searched import keep, kept_text, searched, subspace


def run_evolve(session: Session, work: Work) -> Result:
    agent = session.agent()
    evolution = search(session, agent, work, derive(session.seed, "evolve"), dreams=session.dreams)
    shape = {"inputs": agent.controller.inputs, "outputs": agent.controller.outputs, "size": agent.controller.size}
    about = {"controller": shape, "config": asdict(agent.config), "world": dict(session.spec.about)}
    write_json(work.folder / "agent.json", about)
    last = SavedSearch(work.folder).lines()[-1]
    text = f"{evolution.generation} generations, population mean {last['mean']:.0f}, its best {last['best']:.0f}"
    return Result(evolution.generation, text + kept_text(work.folder))


def search(session: Session, agent: Agent, work: Work, seed: int, *, dreams: bool = False) -> Evolution:
    """Evolve a controller of `agent` in the real environment or in dreams, from the last finished generation on."""
    config, start = session.config.search, session.start(agent)
    saved = SavedSearch(work.folder)
    evolution = saved.open(agent.controller.size, config, seed, start, subspace(session, agent, work.folder))
    series = work.metrics.series("generation", saved.history)
    series.go_on(saved.lines())
    work.report(evolution.generation, config.generations, "")

    def on_generation(line: dict[str, Any]) -> None:
        series.append(line)
        note = f"mean {line['mean']:.0f}, best {line['best']:.0f}"
        if config.seconds is not None:
            note += f", ends in {duration(remaining())} at the latest"
        work.report(line["generation"], config.generations, note)

    def remaining() -> float:
        return max(1e-9, (config.seconds or math.inf) - work.clock.seconds)

    limited = config if config.seconds is None else replace(config, seconds=remaining())
    make = partial(search_runner, session.spec, agent, config, session.machine.acting)
    with searched(session, agent, make, dreams) as world:
        evolve(
            world.fitness,
            evolution,
            limited,
            seed=session.seed,
            validation=world.seeds,
            length=world.length,
            rehearsal=world.rehearsal,
            on_generation=on_generation,
            checkpoint=saved.save,
        )
        theta = keep(session, world, evolution, work.folder)
    save_state(work.folder / "mean.safetensors", {"theta": theta.astype(np.float32)})
    assert evolution.best is not None
    save_state(work.folder / "best.safetensors", {"theta": evolution.best.theta.astype(np.float32)})
    return evolution


def search_runner(spec: EnvSpec, agent: Agent, config: SearchConfig, device: str = "cpu") -> Runner:
    """What a worker of the search builds for itself: its worlds, and the agent on the device of that name."""
    stall = None if config.stall_steps is None else StallRule(config.stall_steps, spec.idle_reward)
    world = make_slots(spec, config.slots)
    policy = AgentPolicy(agent.to(choose_device(device)), config.slots)
    return Runner(world, policy, max_steps=config.max_steps, stall=stall)
