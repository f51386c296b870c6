"""What dreams are worth as a judge: the same controllers dreamt at several temperatures, and played in reality."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frmdn.agent.agent import Agent
from frmdn.agent.device import choose_device
from frmdn.agent.seeds import derive, episode_seeds
from frmdn.controller.replay import Selected, select
from frmdn.controller.transfer import Correlation, rank_correlation
from frmdn.envs.spec import EnvSpec
from frmdn.envs.vector import make_slots
from frmdn.rollouts.job import Job, Outcome
from frmdn.rollouts.policy import AgentPolicy, ControllerPolicy
from frmdn.rollouts.run import Runner
from frmdn.rollouts.workers import open_pool

from ..files import History
from ..session import Session
from ..stages.searched import subspace
from ..stages.table import digest
from ..weights import load_state
from .worlds import dream_slots

Report = Callable[[int, int, str], None]
REAL_SLOTS, DREAM_SLOTS = 16, 256  # of one worker: small enough for the processor's cache, large enough to fill it

BEAT = 2.0  # seconds between reports of a dream's progress


@dataclass(frozen=True)
class TransferPlan:
    """How much to play."""

    controllers: int = 24
    episodes: int = 4  # real ones of each controller
    dreams: int = 8  # dreamt ones of each controller at each temperature
    temperatures: tuple[float, ...] = (0.1, 0.5, 1.0, 1.15, 1.3)
    dream_steps: int | None = None  # of a dream that does not end by itself; None: as in reality

    def __post_init__(self) -> None:
        for name, least in (("controllers", 3), ("episodes", 1), ("dreams", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, not {getattr(self, name)}")
        if not self.temperatures or min(self.temperatures) <= 0:
            raise ValueError(f"temperatures must be numbers above 0, at least one, not {self.temperatures}")


def controllers(session: Session, agent: Agent, count: int) -> list[Selected]:
    """Controllers spread over the run's search."""
    state = load_state(session.workspace.folder("evolve") / "search.safetensors")
    config, seed = session.config.search, derive(session.seed, "evolve")
    space = subspace(session, agent, session.workspace.folder("evolve"))
    return select(agent.controller.size, config, seed, state, count, start=session.start(agent), space=space)


def play_for_real(
    session: Session, agent: Agent, chosen: Sequence[Selected], plan: TransferPlan, report: Report
) -> NDArray[np.float64]:
    """Returns f64[P,E] of whole real episodes, without a stall rule, on seeds that nothing else of the run uses.

    Every episode is kept as it ends and is never played twice, whichever controllers or however many episodes later
    calls ask for.
    """
    seeds = episode_seeds(session.config.seed, "transfer", plan.episodes)
    spec = session.official
    log = _log(session, spec)
    names = [hashlib.sha256(one.theta.tobytes()).hexdigest()[:16] for one in chosen]
    returns = {(line["theta"], line["seed"]): line["total"] for line in log.cut(sys.maxsize)}
    jobs = [
        Job(len(seeds) * p + s, seed, p, one.theta)
        for p, one in enumerate(chosen)
        for s, seed in enumerate(seeds)
        if (names[p], seed) not in returns
    ]
    total, lines = len(chosen) * len(seeds), len(returns)
    report(total - len(jobs), total, "")
    machine = session.machine
    make = partial(_real_runner, spec, agent, machine.acting)
    if jobs:
        with open_pool(make, machine.workers, machine.address) as pool:
            for count, outcome in enumerate(pool.run(jobs), start=1):
                key = (names[outcome.candidate], outcome.seed)
                line = {"theta": key[0], "seed": key[1], "total": outcome.total, "steps": outcome.steps}
                log.append({"line": lines + count, **line})
                returns[key] = outcome.total
                report(total - len(jobs) + count, total, f"{chosen[outcome.candidate].name} {outcome.total:.0f}")
    return np.array([[returns[name, seed] for seed in seeds] for name in names])


def _log(session: Session, spec: EnvSpec) -> History:
    """The real episodes of this world, played through this vision and memory."""
    made = session.workspace.inputs("evolve")
    key = digest({"env": spec.id, "max_steps": spec.max_steps, "made": made})[:8]
    return History(session.workspace.root / "dream" / f"real-{key}.jsonl", "line")


def _real_runner(spec: EnvSpec, agent: Agent, device: str) -> Runner:
    return Runner(make_slots(spec, REAL_SLOTS), AgentPolicy(agent.to(choose_device(device)), REAL_SLOTS))


def play_in_dreams(
    session: Session, agent: Agent, chosen: Sequence[Selected], plan: TransferPlan, temperature: float, report: Report
) -> tuple[NDArray[np.float64], float]:
    """Returns f64[P,D] of dreams, the same starts and luck for all controllers, and the mean length in steps."""
    seeds = episode_seeds(session.config.seed, "transfer", plan.dreams)
    jobs = [Job(len(seeds) * p + s, seed, p, one.theta) for p, one in enumerate(chosen) for s, seed in enumerate(seeds)]
    slots = min(DREAM_SLOTS, len(jobs))
    world = dream_slots(session, agent, session.dreamers(agent), temperature, slots, plan.dream_steps)
    runner = Runner(world, ControllerPolicy(agent.controller, agent.squash, slots))
    outcomes: dict[int, Outcome] = {}
    waiting, limit = jobs, world.spec.max_steps
    while waiting or runner.pending:  # by the clock, not by episodes: dreams that never end all finish together
        for outcome in runner.advance(waiting, seconds=BEAT):
            outcomes[outcome.index] = outcome
        waiting, ended = [], sum(outcome.steps for outcome in outcomes.values())
        report(runner.alive_steps, ended + runner.pending * limit, f"temperature {temperature:g}")
    totals = np.array([outcomes[i].total for i in range(len(jobs))]).reshape(len(chosen), -1)
    return totals, float(np.mean([outcome.steps for outcome in outcomes.values()]))


def compare(
    chosen: Sequence[Selected], real: NDArray[np.float64], dreamt: NDArray[np.float64], temperature: float, seed: int
) -> dict[str, Any]:
    """One row of the temperature table: real f64[P,E] beside dreamt f64[P,D] returns.

    `agent` is the search's last mean, `preferred` the controller that these dreams rank first, `optimum` the one that
    is best in reality: what a search in such a dream would bring home, and what it would miss.
    """
    a, b = real.mean(1), dreamt.mean(1)
    last = max((i for i, one in enumerate(chosen) if one.kind == "mean"), key=lambda i: chosen[i].generation)
    return {
        "temperature": temperature,
        "spearman": correlation_json(rank_correlation(b, a, seed)),
        "gap": float((b - a).mean()),
        "agent": _entry(chosen, real, dreamt, last),
        "preferred": _entry(chosen, real, dreamt, int(np.argmax(b))),
        "optimum": _entry(chosen, real, dreamt, int(np.argmax(a))),
        "returns": b.tolist(),
    }


def _entry(
    chosen: Sequence[Selected], real: NDArray[np.float64], dreamt: NDArray[np.float64], i: int
) -> dict[str, Any]:
    return {"name": chosen[i].name, "dream": mean_std(dreamt[i]), "real": mean_std(real[i])}


def mean_std(values: NDArray[np.float64]) -> dict[str, float]:
    """Mean and sample standard deviation (0 of a single value)."""
    return {"mean": float(values.mean()), "std": float(values.std(ddof=1)) if len(values) > 1 else 0.0}


def correlation_json(found: Correlation) -> dict[str, float | None]:
    """None where there is nothing to rank: JSON knows no NaN."""
    return {name: value if np.isfinite(value) else None for name, value in found._asdict().items()}
