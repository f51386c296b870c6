"""What the saved agent is worth: whole episodes in the official environment, on seeds held out from all training."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from frmdn.agent.seeds import derive, episode_seeds
from frmdn.envs.spec import EnvSpec
from frmdn.envs.vector import make_slots
from frmdn.rollouts.collect import PolicyFactory, Progress
from frmdn.rollouts.job import Job, Outcome
from frmdn.rollouts.run import Runner
from frmdn.rollouts.workers import open_pool

from . import measures

SLOTS = 4  # of a worker: the batch of the policy, whose last digits depend on it, so the same for every evaluation
RESAMPLES = 10_000
PACKAGES = {
    "frmdn": ("frmdn",),
    "torch": ("torch",),
    "numpy": ("numpy",),
    "gymnasium": ("gymnasium",),
    "cma": ("cma",),
    "ray": ("ray",),
    "opencv": ("opencv-python", "opencv-python-headless"),
    "gym-super-mario-bros": ("gym-super-mario-bros",),
    "nes-py": ("nes-py",),
}


@dataclass(frozen=True)
class EvaluationReport:
    """One policy on held-out episodes; entry i of seeds, returns and lengths is the same episode.

    >>> report = frmdn.evaluate(frmdn.open("runs/tiny"))
    >>> len(report.returns), report.ci95[0] <= report.mean <= report.ci95[1]
    (2, True)
    >>> report.to_dict()["env"]
    'Counting-v0'
    """

    env: str
    episodes: int
    seeds: list[int]
    returns: list[float]  # undiscounted
    lengths: list[int]  # agent steps
    mean: float
    std: float  # of the sample (ddof 1); 0 for a single episode, where it is undefined
    ci95: list[float]  # [low, high] of the mean, percentile bootstrap
    policy: str
    versions: dict[str, str]
    seconds: float
    baselines: dict[str, dict[str, Any]] = field(default_factory=dict)  # reports by name, without `baselines`
    world: dict[str, str] = field(default_factory=dict)  # what the environment says of itself, e.g. its kind of reward
    measures: dict[str, Any] = field(default_factory=dict)  # what it tells of episodes; in JSON beside the other keys

    def with_baselines(self, reports: Mapping[str, EvaluationReport]) -> EvaluationReport:
        """This report beside others on the same episodes. Raises ValueError where environment or seeds differ."""
        for name, report in reports.items():
            mine = (self.env, self.seeds, self.world)
            if (report.env, report.seeds, report.world) != mine:
                raise ValueError(f"baseline {name!r} was evaluated on other episodes: evaluate it again")
        return replace(self, baselines={name: report.flat() for name, report in reports.items()})

    def flat(self) -> dict[str, Any]:
        report = self.to_dict()
        del report["baselines"]
        return report

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as in JSON; `world` and measures only where the environment has any."""
        report = asdict(self)
        if not self.world:
            del report["world"]
        return report | report.pop("measures")


def evaluate(
    spec: EnvSpec,
    make_policy: PolicyFactory,
    *,
    name: str,
    episodes: int,
    seed: int,
    workers: int,
    address: str | None = None,
    slots: int = SLOTS,
    blind: bool = False,
    progress: Progress | None = None,
    played: Mapping[int, Outcome] | None = None,
) -> EvaluationReport:
    """Play `episodes` whole episodes on `episode_seeds(seed, "evaluate", episodes)`; no stall rule, no shorter limit.

    `make_policy(spec, slots)` is called once in every worker and must therefore pickle. The number of workers changes
    the time that it takes and nothing else; `slots` is the batch of the policy, so keep it when comparing to the bit.
    A `blind` policy looks at no frame, so who paints them changes no return, and the quickest painter does.
    `progress(done, episodes, outcome)` is called as episodes end. Outcomes of an evaluation that was stopped, by
    index, are taken from `played` and not played again.
    """
    if episodes < 1:
        raise ValueError(f"episodes must be at least 1, not {episodes}")
    begin = time.monotonic()
    seeds = episode_seeds(seed, "evaluate", episodes)
    outcomes = {i: outcome for i, outcome in (played or {}).items() if i < episodes and outcome.seed == seeds[i]}
    jobs = [Job(i, s) for i, s in enumerate(seeds) if i not in outcomes]
    if jobs:
        with open_pool(functools.partial(_runner, spec, make_policy, slots, not blind), workers, address) as pool:
            for outcome in pool.run(jobs):
                outcomes[outcome.index] = outcome
                if progress is not None:
                    progress(len(outcomes), episodes, outcome)
    assert sorted(outcomes) == list(range(episodes)), f"{len(outcomes)} of {episodes} episodes were answered"
    return _report(spec, name, [outcomes[i] for i in range(episodes)], seed, time.monotonic() - begin)


def _report(spec: EnvSpec, name: str, outcomes: list[Outcome], seed: int, seconds: float) -> EvaluationReport:
    returns = [float(outcome.total) for outcome in outcomes]
    return EvaluationReport(
        env=spec.id,
        episodes=len(outcomes),
        seeds=[outcome.seed for outcome in outcomes],
        returns=returns,
        lengths=[int(outcome.steps) for outcome in outcomes],
        mean=float(np.mean(returns)),
        std=float(np.std(returns, ddof=1)) if len(returns) > 1 else 0.0,
        ci95=list(bootstrap_ci(returns, seed)),
        policy=name,
        world=dict(spec.about),
        measures=measures.summarise(
            spec.measures, [outcome.measures for outcome in outcomes], lambda each: bootstrap_ci(each, seed)
        ),
        versions=versions(),
        seconds=seconds,
    )


def _runner(spec: EnvSpec, make_policy: PolicyFactory, slots: int, official: bool) -> Runner:
    return Runner(make_slots(spec, slots, official=official), make_policy(spec, slots))


def bootstrap_ci(returns: list[float] | np.ndarray, seed: int) -> tuple[float, float]:
    """The 95 % interval of the mean: quantiles over 10,000 resamples (Efron and Tibshirani 1993, chapter 13).

    It is somewhat narrow below ten returns. Raises ValueError where there are none, or one is not finite.
    """
    values = np.asarray(returns, dtype=np.float64)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise ValueError(f"returns must be finite numbers, at least one of them, not {returns}")
    rng = np.random.default_rng(derive(seed, "bootstrap"))
    means = values[rng.integers(len(values), size=(RESAMPLES, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def versions() -> dict[str, str]:
    """What a figure depends on beside the code: Python, packages ("-" where not installed), platform, processors."""
    found = {"python": platform.python_version()}
    for name, distributions in PACKAGES.items():
        found[name] = next((v for v in map(_version, distributions) if v is not None), "-")
    return found | {"platform": platform.platform(), "cpus": str(os.cpu_count())}


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
