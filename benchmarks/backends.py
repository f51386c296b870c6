"""One agent on both back ends: `python -m frmdn.benchmarks.backends runs/quick --episodes 32`.

Evaluation is always on the official environment; this says how far a score on EnvPool,
where agents are evolved, differs.
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
from frmdn.pipeline.stages.baselines import agent_policy
from frmdn.rollouts.collect import PolicyFactory
from frmdn.rollouts.job import Job
from frmdn.rollouts.run import Runner
from frmdn.rollouts.workers import open_pool


def make_runner(spec: EnvSpec, factory: PolicyFactory, backend: str) -> Runner:
    """Whole episodes, no stall rule: what the evaluation plays, on a back end of choice."""
    return Runner(make_slots(spec, SLOTS, backend), factory(spec, SLOTS))


def measure(session: Session, episodes: int, backend: str, workers: int) -> dict[str, Any]:
    """Returns on the held-out seeds; a seed means another track on the other back end, so compare the distributions."""
    agent, seed = session.agent(), session.config.seed
    seeds = episode_seeds(seed, "evaluate", episodes)
    factory = agent_policy(agent, session.theta(agent))
    with open_pool(partial(make_runner, session.spec, factory, backend), workers) as pool:
        outcomes = sorted(pool.run([Job(i, s) for i, s in enumerate(seeds)]), key=lambda outcome: outcome.index)
    returns = [outcome.total for outcome in outcomes]
    return {
        "backend": backend,
        "episodes": episodes,
        "mean": float(np.mean(returns)),
        "std": float(np.std(returns, ddof=1)),
        "ci95": list(bootstrap_ci(returns, seed)),
        "returns": returns,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="a finished run folder")
    parser.add_argument("--episodes", type=int, default=32)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    session = open_session(options.run)
    rows = [measure(session, options.episodes, name, options.workers) for name in ("gymnasium", "envpool")]
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
