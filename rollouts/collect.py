"""Collect episodes into a store: only the missing ones, on any number of workers, written as they come."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from frmdn.agent.device import choose_device
from frmdn.agent.seeds import episode_seeds
from frmdn.envs.spec import EnvSpec
from frmdn.envs.vector import make_slots

from .episodes.episode import EpisodeSummary, StoreError, encode_episode
from .episodes.store import EpisodeStore
from .job import Job, Outcome
from .policy import (
    Actor,
    AgentPolicy,
    BrownianPolicy,
    OrnsteinUhlenbeckPolicy,
    Policy,
    RandomLinearPolicy,
    RandomPolicy,
)
from .returning import Returning, waves
from .run import Runner
from .workers import open_pool

PolicyFactory = Callable[[EnvSpec, int], Policy]  # (spec, slots) -> policy; must be picklable, for it goes to workers
Progress = Callable[[int, int, Outcome], None]  # (episodes done, episodes wanted, the newest)
POLICIES: dict[str, Callable[..., Policy]] = {
    "brownian": BrownianPolicy,
    "random": RandomPolicy,
    "linear": RandomLinearPolicy,
    "ou": OrnsteinUhlenbeckPolicy,
}


@dataclass(frozen=True)
class CollectConfig:
    """How many episodes to collect, and who acts."""

    episodes: int
    # brownian | random | linear (redrawn per episode) | ou | agent (needs a policy_factory) | recorded (by others)
    policy: str = "brownian"
    max_steps: int | None = None  # None: the limit of the environment
    slots: int = 8  # environments a worker steps side by side
    returning: float = 0.0  # share of the episodes that begin where an earlier one had come; 0: all at the beginning

    def __post_init__(self) -> None:
        if self.episodes < 1 or self.slots < 1 or (self.max_steps is not None and self.max_steps < 1):
            raise ValueError("episodes, slots and max_steps must be at least 1")
        if not 0 <= self.returning <= 1:
            raise ValueError(f"returning must lie in 0..1, not {self.returning}")
        if self.policy not in (*POLICIES, "agent", "recorded"):
            raise ValueError(f"policy must be one of {', '.join((*POLICIES, 'agent'))}, not {self.policy!r}")


def collect(
    spec: EnvSpec,
    config: CollectConfig,
    store: EpisodeStore,
    *,
    seed: int,
    workers: int,
    address: str | None = None,
    progress: Progress | None = None,
    policy_factory: PolicyFactory | None = None,
) -> list[EpisodeSummary]:
    """Bring the store to `config.episodes` episodes; called again after any interruption, it goes on.

    Episode i depends on the root seed and on i alone, and with `config.returning` on the waves of episodes before it,
    whatever the workers, slots and interruptions. Workers send encoded episodes and the driver writes them, so a
    cluster needs no shared file system.

    Args:
        spec: the environment.
        config: how many episodes, which policy.
        store: where they go; episodes already there are kept.
        seed: the root seed.
        workers: processes; 0 runs in this one.
        address: of a Ray cluster, or None for one on this machine.
        progress: called after each episode is safe on disk.
        policy_factory: replaces `config.policy`, e.g. by an agent.

    Returns:
        The summaries of episodes 0 to config.episodes - 1, in order.

    Raises:
        StoreError: the disk is too small, or the store holds episodes of another environment or seed.
    """
    if config.policy in ("agent", "recorded") and policy_factory is None:
        raise ValueError(
            f"policy {config.policy!r} needs a policy_factory; pass one, or collect with brownian, random or linear"
        )
    store.sweep()
    seeds = episode_seeds(seed, "collect", config.episodes)
    missing, plan = set(store.missing(config.episodes)), Returning(store, seeds, config.returning)
    wanted = waves(config.episodes, config.returning)
    if not missing:
        for wave in wanted:
            _check_present(spec, store, plan.jobs(wave))
        return [store.summary(index) for index in range(config.episodes)]
    store.check_disk(len(missing), min(config.max_steps or spec.max_steps, spec.max_steps), spec.frame_shape)
    slots = min(config.slots, -(-len(missing) // max(1, workers)))  # no worker owns slots that never get a job
    factory = policy_factory or partial(named_policy, config.policy)
    make = partial(make_runner, spec, factory, slots, config.max_steps, config.policy)
    done = config.episodes - len(missing)
    with open_pool(make, workers, address) as pool:
        for wave in wanted:
            jobs = plan.jobs(wave)
            _check_present(spec, store, [job for job in jobs if job.index not in missing])
            for outcome in pool.run([job for job in jobs if job.index in missing]):
                store.put(outcome.index, outcome.payload)
                done += 1
                if progress is not None:
                    progress(done, config.episodes, outcome)
    return [store.summary(index) for index in range(config.episodes)]


def named_policy(name: str, spec: EnvSpec, slots: int) -> Policy:
    """The policy of that name for the environment; at module level so that workers can unpickle it."""
    return POLICIES[name](spec.action)


def agent_policy(agent: Actor, theta: np.ndarray, device: str = "cpu") -> PolicyFactory:
    """The agent with these parameters f32[N], made anew in every worker, on the device of that name."""
    return partial(_agent_policy, agent, theta, device)


def _agent_policy(agent: Actor, theta: np.ndarray, device: str, spec: EnvSpec, slots: int) -> Policy:
    return AgentPolicy(agent if device == "cpu" else agent.to(choose_device(device)), slots, theta)


def make_runner(spec: EnvSpec, factory: PolicyFactory, slots: int, max_steps: int | None, policy: str) -> Runner:
    """What a worker builds for itself: the environments, the policy and the encoding of finished episodes."""
    world = make_slots(spec, slots)
    about = {"env": spec.id, "painter": world.painter, "policy": policy, **dict(spec.about)}
    return Runner(world, factory(spec, slots), max_steps=max_steps, record=partial(encode_episode, about=about))


def check_store(spec: EnvSpec, config: CollectConfig, store: EpisodeStore, seed: int) -> None:
    """Raise StoreError unless the episodes of a finished collection are those that `collect` makes of this seed."""
    plan = Returning(store, episode_seeds(seed, "collect", config.episodes), config.returning)
    for wave in waves(config.episodes, config.returning):
        _check_present(spec, store, plan.jobs(wave))


def _check_present(spec: EnvSpec, store: EpisodeStore, jobs: Sequence[Job]) -> None:
    """Refuse to mix: episodes that another seed or environment left in the folder would pass for ours."""
    for job in jobs:
        found = store.summary(job.index)
        if found.seed != job.seed or found.env != spec.id:
            raise StoreError(
                f"{store.path(job.index)} is of {found.env or 'an unknown environment'} with episode seed "
                f"{found.seed}, not of {spec.id} with {job.seed}; collect into another folder, or delete this "
                f"file and run the same command again: only that episode is collected anew"
            )
