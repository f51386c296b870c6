"""The sixth stage: play held-out seeds of the official environment."""

from __future__ import annotations

import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from frmdn.agent.device import device_name
from frmdn.controller.evaluate import EvaluationReport, evaluate
from frmdn.rollouts.collect import PolicyFactory, agent_policy
from frmdn.rollouts.job import Outcome

from ..files import History, write_json
from ..metrics.series import Series
from ..session import Result, Session, Work
from .baselines import BASELINES, evolved_rival, fixed_policies
from .table import digest


def run_evaluate(session: Session, work: Work) -> Result:
    config = session.config.evaluate
    report = measure(session, work, config.episodes, config.baselines)
    write_json(session.workspace.root / "evaluation.json", told(session, report))
    low, high = report.ci95
    text = f"mean return {report.mean:.0f} ± {report.std:.0f} over {report.episodes} episodes"
    random = report.baselines["random"]["mean"]
    return Result(report.episodes, f"{text} (its 95 % interval: {low:.0f} to {high:.0f}); random policy {random:.0f}")


def told(session: Session, report: EvaluationReport) -> dict[str, Any]:
    """The report as plain values, and what saw, remembered and acted."""
    return {**report.to_dict(), "device": device_name(session.machine.acting)}


def measure(session: Session, work: Work, episodes: int, baselines: bool) -> EvaluationReport:
    """Evaluate the agent and its baselines on the same held-out seeds."""
    agent = session.kept.agent()
    contenders: dict[str, PolicyFactory] = {
        "agent": agent_policy(agent, session.kept.theta(agent), session.machine.acting),
        **fixed_policies(session),
    }
    if baselines:
        contenders |= {name: evolved_rival(session, work, name, agent) for name in BASELINES}
    work.report(0, episodes * len(contenders), "")
    reports: dict[str, EvaluationReport] = {}

    def progress(name: str, series: Series, done: int, total: int, outcome: Outcome) -> None:
        series.append(asdict(outcome))
        work.report(done + total * len(reports), total * len(contenders), f"{name} {outcome.total:.0f}")

    for name, policy in contenders.items():
        log = History(_played(session, work, name), "index")  # every episode once, also across a kill
        series, past = work.metrics.part(name).series("index", log), log.cut(sys.maxsize)
        series.go_on(past)
        reports[name] = evaluate(
            session.official,
            policy,
            name=name,
            episodes=episodes,
            seed=session.config.seed,
            workers=session.machine.workers,
            address=session.machine.address,
            blind=name in fixed_policies(session),
            progress=partial(progress, name, series),
            played={line["index"]: Outcome(**line) for line in past},
        )
    return reports.pop("agent").with_baselines(reports)


def _played(session: Session, work: Work, name: str) -> Path:
    """Where the episodes of a contender are kept: those of fixed policies beside the stage, for another agent of this
    run changes nothing about them. Another world or step limit does, so both are in the name."""
    if name not in fixed_policies(session):
        return work.folder / f"{name}.jsonl"
    played = session.official
    world = {"world": [asdict(played.world), played.about]} if played.about else {}
    key = digest({"env": played.id, "max_steps": played.max_steps, **world})[:8]
    return session.workspace.root / "baselines" / f"{name}-{key}.jsonl"
