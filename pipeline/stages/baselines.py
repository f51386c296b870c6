"""Rivals of the agent: those that learn nothing, and those that are evolved with the same search budget."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from frmdn.agent.agent import Agent, AgentConfig
from frmdn.agent.device import device_name
from frmdn.agent.seeds import derive
from frmdn.controller.agent import make_agent
from frmdn.envs.spec import EnvSpec
from frmdn.rollouts.collect import PolicyFactory, agent_policy, named_policy
from frmdn.rollouts.policy import HeldPolicy, Policy

from ..disk import remove
from ..files import read_record
from ..session import Session, Work
from ..weights import load_theta
from ..workspace import AGAIN, BEGUN, StageClock
from .evolve import search
from .table import digest

BASELINES = {"vision_only": "z", "untrained_memory": None}  # name -> features; None: the run's own


def fixed_policies(session: Session) -> dict[str, PolicyFactory]:
    """The rivals that learn nothing: random actions, and those that the world names as worth holding down."""
    held: dict[str, PolicyFactory] = {name: partial(_hold, action) for name, action in session.spec.references}
    return {"random": partial(named_policy, "random"), **held}


def _hold(action: int, spec: EnvSpec, slots: int) -> Policy:
    return HeldPolicy(spec.action, action)


def evolved_rival(session: Session, work: Work, name: str, agent: Agent) -> PolicyFactory:
    """A rival controller evolved with the same search budget; kept, and resumed, in baselines/<name>/."""
    features = BASELINES[name] or session.config.agent.features
    memory = session.new_memory() if name == "untrained_memory" else None
    rival = make_agent(agent.vision, memory, session.spec, AgentConfig(features))
    folder = session.workspace.root / "baselines" / name
    clock = _baseline_clock(session, folder)
    if not all((folder / name).exists() for name in ("done.json", "mean.safetensors")):
        with session.progress.task(name, "generations") as task:

            def report(done: int, total: int, note: str) -> None:
                clock.tick(done, total)
                task.update(done, total, note)

            own = Work(folder, clock, report, work.metrics.part(f"search-{name}"))
            evolution = search(session, rival, own, derive(session.config.seed, name))
        clock.finish(evolution.generation, f"{evolution.generation} generations", device_name(session.machine.device))
    theta = load_theta(folder / "mean.safetensors", rival.controller.size)
    return agent_policy(rival, theta, session.machine.acting)


def _baseline_clock(session: Session, folder: Path) -> StageClock:
    """A rival depends on the trained vision and on the search; what belongs to other ones is removed."""
    inputs: Mapping[str, Any] = {"vision": session.workspace.inputs("evolve")["vision"]}
    plain = session.workspace.read_config()
    keys = ("env", "world", "seed", "agent", "search", "memory")
    fingerprint = digest({key: plain[key] for key in keys})
    begun = folder / "begun.json"
    record = read_record(begun, BEGUN, AGAIN) if begun.exists() else None
    if record is None or (record["fingerprint"], record["inputs"]) != (fingerprint, inputs):
        remove(folder)
        record = {"fingerprint": fingerprint, "inputs": inputs, "root": fingerprint, "size": 0}
        record |= {"seconds": 0.0, "units": 0, "total": 0}
    return StageClock(folder, record)
