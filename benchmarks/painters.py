"""One agent before both painters: `python -m frmdn.benchmarks.painters runs/quick --episodes 48`.

Evaluation always plays the official environment whole. Collecting and searching paint its frames themselves; this says
what that changes for a finished agent. The tracks are the same, so the difference is paired.
"""

from __future__ import annotations

import argparse
import json
import os
from functools import partial
from typing import Any

import numpy as np

from frmdn.agent.seeds import episode_seeds
from frmdn.controller.evaluate import SLOTS, bootstrap_ci
from frmdn.envs import EnvSpec, make_slots
from frmdn.pipeline.session import Session, open_session
from frmdn.rollouts.collect import PolicyFactory, agent_policy
from frmdn.rollouts.job import Job
from frmdn.rollouts.run import Runner
from frmdn.rollouts.workers import open_pool


def make_runner(spec: EnvSpec, factory: PolicyFactory, official: bool) -> Runner:
    """Whole episodes, no stall rule: what the evaluation plays, before a painter of choice."""
    return Runner(make_slots(spec, SLOTS, official=official), factory(spec, SLOTS))


def returns(session: Session, episodes: int, official: bool, workers: int) -> list[float]:
    """Of the agent that counts, on held-out seeds, in their order."""
    agent, seeds = session.agent(), episode_seeds(session.config.seed, "evaluate", episodes)
    factory = agent_policy(agent, session.theta(agent))
    with open_pool(partial(make_runner, session.spec, factory, official), workers) as pool:
        outcomes = sorted(pool.run([Job(i, s) for i, s in enumerate(seeds)]), key=lambda outcome: outcome.index)
    return [outcome.total for outcome in outcomes]


def compare(session: Session, episodes: int, workers: int) -> dict[str, Any]:
    """Mean and spread before each painter, and the mean of ours - official with its 95 % interval."""
    played = {name: returns(session, episodes, name == "official", workers) for name in ("official", "ours")}
    apart = (np.array(played["ours"]) - np.array(played["official"])).tolist()
    seed = session.config.seed
    return {
        "run": session.workspace.root.name,
        "episodes": episodes,
        **{name: {"mean": float(np.mean(r)), "std": float(np.std(r, ddof=1))} for name, r in played.items()},
        "difference": float(np.mean(apart)),
        "difference_ci95": list(bootstrap_ci(apart, seed)),
        "returns": played,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", help="finished run folders")
    parser.add_argument("--episodes", type=int, default=48)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    rows = [compare(open_session(run), options.episodes, options.workers) for run in options.runs]
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
