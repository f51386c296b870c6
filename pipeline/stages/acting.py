"""The stages that act: evolve, evaluate, report."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from frmdn.agent.agent import Agent, AgentConfig
from frmdn.agent.seeds import derive
from frmdn.controller.evaluate import EvaluationReport, evaluate
from frmdn.controller.evolution import Evolution, SearchConfig
from frmdn.controller.evolve import evolve
from frmdn.envs.spec import EnvSpec
from frmdn.envs.vector import make_slots
from frmdn.rollouts.collect import PolicyFactory
from frmdn.rollouts.job import Outcome, StallRule
from frmdn.rollouts.policy import AgentPolicy, HeldPolicy, Policy, RandomPolicy
from frmdn.rollouts.run import Runner

from ..files import History, read_json, write_json
from ..progress import duration
from ..session import Result, Session, Work, make_agent
from ..weights import load_state, load_theta, save_state
from ..workspace import StageClock
from .searched import keep, kept_text, searched
from .table import digest
from .training import held_out_frames

BASELINES = {"vision_only": "z", "untrained_memory": None}  # name -> features; None: the run's own


def run_evolve(session: Session, work: Work) -> Result:
    agent = session.agent()
    evolution = search(session, agent, work, derive(session.seed, "evolve"), dreams=session.dreams)
    shape = {"inputs": agent.controller.inputs, "outputs": agent.controller.outputs, "size": agent.controller.size}
    about = {"controller": shape, "config": asdict(agent.config), "world": dict(session.spec.about)}
    write_json(work.folder / "agent.json", about)
    last = History(work.folder / "history.jsonl", "generation").read()[-1]
    text = f"{evolution.generation} generations, population mean {last['mean']:.0f}, its best {last['best']:.0f}"
    return Result(evolution.generation, text + kept_text(work.folder))


def search(session: Session, agent: Agent, work: Work, seed: int, *, dreams: bool = False) -> Evolution:
    """Evolve a controller of `agent` in the real environment or in dreams, from the last finished generation on."""
    config, start = session.config.search, session.start(agent)
    path, history = work.folder / "search.safetensors", History(work.folder / "history.jsonl", "generation")
    size = agent.controller.size
    evolution = (
        Evolution.resume(size, config, seed, load_state(path), start=start)
        if path.exists()
        else Evolution(size, config, seed, start)
    )
    history.cut(evolution.generation)
    work.report(evolution.generation, config.generations, "")

    def on_generation(line: dict[str, Any]) -> None:
        history.append(line)
        note = f"mean {line['mean']:.0f}, best {line['best']:.0f}"
        if config.seconds is not None:
            note += f", ends in {duration(remaining())} at the latest"
        work.report(line["generation"], config.generations, note)

    def remaining() -> float:
        return max(1e-6, (config.seconds or math.inf) - work.clock.seconds)

    limited = config if config.seconds is None else replace(config, seconds=remaining())
    make = partial(search_runner, session.spec, agent, config, session.config.backend)
    with searched(session, agent, make, dreams) as world:
        evolve(
            world.fitness,
            evolution,
            limited,
            seed=session.seed,
            validation=world.seeds,
            rehearsal=world.rehearsal,
            on_generation=on_generation,
            checkpoint=lambda state: save_state(path, state),
        )
        theta = keep(session, world, evolution, work.folder)
    save_state(work.folder / "mean.safetensors", {"theta": theta.astype(np.float32)})
    assert evolution.best is not None
    save_state(work.folder / "best.safetensors", {"theta": evolution.best.theta.astype(np.float32)})
    return evolution


def search_runner(spec: EnvSpec, agent: Agent, config: SearchConfig, backend: str) -> Runner:
    """What a worker of the search builds for itself."""
    stall = None if config.stall_steps is None else StallRule(config.stall_steps, spec.idle_reward)
    world = make_slots(spec, config.slots, backend)
    return Runner(world, AgentPolicy(agent, config.slots), max_steps=config.max_steps, stall=stall)


def run_evaluate(session: Session, work: Work) -> Result:
    config = session.config.evaluate
    report = measure(session, work, config.episodes, config.baselines)
    write_json(session.workspace.root / "evaluation.json", report.to_dict())
    low, high = report.ci95
    text = f"mean return {report.mean:.0f} ± {report.std:.0f} over {report.episodes} episodes"
    random = report.baselines["random"]["mean"]
    return Result(report.episodes, f"{text} (its 95 % interval: {low:.0f} to {high:.0f}); random policy {random:.0f}")


def measure(session: Session, work: Work, episodes: int, baselines: bool) -> EvaluationReport:
    """Evaluate the agent and its baselines on the same held-out seeds."""
    agent = session.kept.agent()
    contenders: dict[str, PolicyFactory] = {
        "agent": agent_policy(agent, session.kept.theta(agent)),
        **fixed_policies(session),
    }
    if baselines:
        contenders |= {name: _baseline(session, name, agent) for name in BASELINES}
    work.report(0, episodes * len(contenders), "")
    reports: dict[str, EvaluationReport] = {}

    def progress(name: str, log: History, done: int, total: int, outcome: Outcome) -> None:
        log.append(asdict(outcome))
        work.report(done + total * len(reports), total * len(contenders), f"{name} {outcome.total:.0f}")

    for name, policy in contenders.items():
        log = History(_played(session, work, name), "index")  # every episode once, also across a kill
        reports[name] = evaluate(
            _official(session),
            policy,
            name=name,
            episodes=episodes,
            seed=session.config.seed,
            workers=session.machine.workers,
            address=session.machine.address,
            progress=partial(progress, name, log),
            played={line["index"]: Outcome(**line) for line in log.cut(sys.maxsize)},
        )
    return reports.pop("agent").with_baselines(reports)


def _played(session: Session, work: Work, name: str) -> Path:
    """Where the episodes of a contender are kept: those of fixed policies beside the stage, for another agent of this
    run changes nothing about them. Another world or step limit does, so both are in the name."""
    if name not in fixed_policies(session):
        return work.folder / f"{name}.jsonl"
    official = _official(session)
    world = {"world": [asdict(official.world), official.about]} if official.about else {}
    key = digest({"env": official.id, "max_steps": official.max_steps, **world})[:8]
    return session.workspace.root / "baselines" / f"{name}-{key}.jsonl"


def agent_policy(agent: Agent, theta: np.ndarray) -> PolicyFactory:
    """The agent with these parameters, made anew in every worker."""
    return partial(_play, agent, theta)


def _play(agent: Agent, theta: np.ndarray, spec: EnvSpec, slots: int) -> Policy:
    return AgentPolicy(agent, slots, theta)


def fixed_policies(session: Session) -> dict[str, PolicyFactory]:
    """The rivals that learn nothing: random actions, and those that the world names as worth holding down."""
    held: dict[str, PolicyFactory] = {name: partial(_hold, action) for name, action in session.spec.references}
    return {"random": random_policy, **held}


def random_policy(spec: EnvSpec, slots: int) -> Policy:
    return RandomPolicy(spec.action)


def _hold(action: int, spec: EnvSpec, slots: int) -> Policy:
    return HeldPolicy(spec.action, action)


def _official(session: Session) -> EnvSpec:
    """The environment of the evaluation, with its own step limit unless the configuration shortens it."""
    limit = session.config.evaluate.max_steps
    return session.spec if limit is None else replace(session.spec, max_steps=min(limit, session.spec.max_steps))


def _baseline(session: Session, name: str, agent: Agent) -> PolicyFactory:
    """A rival controller evolved with the same search budget; kept, and resumed, in baselines/<name>/."""
    features = BASELINES[name] or session.config.agent.features
    memory = session.new_memory() if name == "untrained_memory" else None
    rival = make_agent(agent.vision, memory, session.spec, AgentConfig(features))
    folder = session.workspace.root / "baselines" / name
    clock = _baseline_clock(session, folder)
    if not (folder / "done.json").exists():
        with session.progress.task(name, "generations") as task:

            def report(done: int, total: int, note: str) -> None:
                clock.tick(done, total)
                task.update(done, total, note)

            evolution = search(session, rival, Work(folder, clock, report), derive(session.config.seed, name))
        clock.finish(evolution.generation, f"{evolution.generation} generations")
    return agent_policy(rival, load_theta(folder / "mean.safetensors", rival.controller.size))


def _baseline_clock(session: Session, folder: Path) -> StageClock:
    """A rival depends on the trained vision and on the search; what belongs to other ones is removed."""
    inputs: Mapping[str, Any] = {"vision": session.workspace.inputs("evolve")["vision"]}
    plain = session.workspace.read_config()
    keys = ("env", "world", "seed", "backend", "agent", "search", "memory")
    fingerprint = digest({key: plain[key] for key in keys})
    begun = folder / "begun.json"
    record = read_json(begun) if begun.exists() else None
    if record is None or (record["fingerprint"], record["inputs"]) != (fingerprint, inputs):
        shutil.rmtree(folder, ignore_errors=True)
        record = {"fingerprint": fingerprint, "inputs": inputs, "seconds": 0.0, "units": 0, "total": 0}
    return StageClock(folder, record)


def _typical_seed(root: Path) -> int:
    """The seed of the evaluated episode in the middle of all returns: neither the luckiest drive nor the worst."""
    evaluation = read_json(root / "evaluation.json")
    ranked = sorted(zip(evaluation["returns"], evaluation["seeds"], strict=True))
    return int(ranked[len(ranked) // 2][1])


def run_report(session: Session, work: Work) -> Result:
    from ..report.film import record_agent
    from ..report.tensorboard import TensorBoardLog
    from ..report.write import write_report

    torch.set_num_threads(1)  # the drive is one frame at a time: a second thread only waits for the first
    root, agent = session.workspace.root, session.kept.agent()
    work.report(0, 3, "drive")
    drive = record_agent(agent, session.kept.theta(agent), _official(session), _typical_seed(root))
    work.report(1, 3, "TensorBoard")
    TensorBoardLog(root / "tensorboard").write_run(root)
    work.report(2, 3, "page")
    path = write_report(root, agent=agent, drive=drive, held_out=held_out_frames(session))
    work.report(3, 3, "")
    return Result(3, path.name)
