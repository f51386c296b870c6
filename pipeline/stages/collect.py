"""The first stage: play and store episodes."""

from __future__ import annotations

from functools import partial

import numpy as np

from frmdn.agent.agent import Agent
from frmdn.agent.device import choose_device
from frmdn.envs.spec import EnvSpec
from frmdn.rollouts.collect import PolicyFactory, collect
from frmdn.rollouts.episodes.episode import EpisodeSummary
from frmdn.rollouts.episodes.store import EpisodeStore
from frmdn.rollouts.exploring import ExploringPolicy
from frmdn.rollouts.job import Outcome
from frmdn.rollouts.policy import Policy

from ..session import Result, Session, Work


def run_collect(session: Session, work: Work) -> Result:
    config, spec, machine = session.config, session.spec, session.machine
    store = EpisodeStore(work.folder / "episodes")
    missing = store.missing(config.collect.episodes)
    if missing:
        steps = config.collect.max_steps or spec.max_steps
        size = store.check_disk(len(missing), steps, spec.frame_shape)
        session.progress.line(
            f"collect: {len(missing)} episodes of up to {steps} steps, about {size / 1e6:.0f} MB of disk"
        )
    work.report(config.collect.episodes - len(missing), config.collect.episodes, "")

    series = work.metrics.series("episode")
    series.go_on([_line(index, store.summary(index)) for index in store.indices()])

    def progress(done: int, total: int, outcome: Outcome) -> None:
        series.append(_line(outcome.index, outcome))
        work.report(done, total, f"last return {outcome.total:.0f}")

    summaries = collect(
        spec,
        config.collect,
        store,
        seed=session.seed,
        workers=machine.workers,
        address=machine.address,
        progress=progress,
        policy_factory=_explorer(session),
    )
    steps, mean = sum(s.steps for s in summaries), sum(s.total for s in summaries) / len(summaries)
    size = sum(path.stat().st_size for path in store.folder.glob("*.h5"))
    return Result(
        len(summaries), f"{len(summaries)} episodes, {steps:,} steps, mean return {mean:.0f}, {size / 1e6:.0f} MB"
    )


def _line(index: int, episode: Outcome | EpisodeSummary) -> dict[str, float]:
    return {"episode": index, "return": episode.total, "steps": episode.steps}


def _explorer(session: Session) -> PolicyFactory | None:
    """Who collects: in a further round the agents of the round before, exploring; None leaves it to the settings.

    They are those between the mean that was kept and the last one. Where the search was cheated the memory must see
    what became of the last one, or it will be cheated in the same way for ever.
    """
    if session.before is None:
        return None
    agent, rounds = session.before.agent(), session.config.rounds
    thetas = session.before.theta(agent), session.before.last_theta()
    noise = rounds.parameter_noise, rounds.action_noise
    return partial(_explore, agent, session.machine.acting, thetas, noise)


def _explore(
    agent: Agent,
    device: str,
    thetas: tuple[np.ndarray, np.ndarray],
    noise: tuple[float, float],
    spec: EnvSpec,
    slots: int,
) -> Policy:
    theta, towards = thetas
    return ExploringPolicy(agent.to(choose_device(device)), spec.action, slots, theta, *noise, towards=towards)
