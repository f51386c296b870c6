"""The agent of a file on held-out seeds, as its run would measure it."""

from __future__ import annotations

from collections.abc import Callable

from frmdn.controller.evaluate import EvaluationReport, evaluate
from frmdn.rollouts.collect import agent_policy
from frmdn.rollouts.job import Outcome

from .file import AgentFile


def measure_file(
    file: AgentFile,
    report: Callable[[int, int, str], None],
    episodes: int | None = None,
    workers: int = 0,
    address: str | None = None,
) -> EvaluationReport:
    """Play whole episodes of the official environment; without a number, those of the run's own evaluation.

    `report(done, episodes, note)` is told of each. ValueError: the environment is not there, or is another world.
    """
    agent = file.agent()

    def progress(done: int, total: int, outcome: Outcome) -> None:
        report(done, total, f"agent {outcome.total:.0f}")

    return evaluate(
        file.official,
        agent_policy(agent, file.theta(agent), str(file.device) if address is None else "cpu"),
        name="agent",
        episodes=episodes or file.header.episodes,
        seed=file.root_seed,
        workers=workers,
        address=address,
        progress=progress,
    )
