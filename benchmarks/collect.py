"""Frames to disk: collecting random episodes."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from frmdn.envs import get_spec, make_slots
from frmdn.envs.worlds.car_slots import make_world
from frmdn.rollouts.collect import make_runner, named_policy
from frmdn.rollouts.episodes.episode import encode_episode
from frmdn.rollouts.episodes.store import EpisodeStore
from frmdn.rollouts.job import Job, Outcome
from frmdn.rollouts.workers import open_pool

from . import classical
from .row import Meter, Row

SLOTS, STEPS = 8, 200


def collect(workers: int, meter: Meter) -> Iterator[Row]:
    """Random episodes of 200 steps, compressed and safe on disk; the pool is warm, as it is for all but the first."""
    spec = get_spec("CarRacing-v3")
    make = partial(make_runner, spec, partial(named_policy, "random"), SLOTS, STEPS, "random")
    with tempfile.TemporaryDirectory() as folder, open_pool(make, workers) as pool:
        store, index = EpisodeStore(Path(folder) / "ours"), itertools.count()

        def ours() -> float:
            jobs = [Job(index=i, seed=i) for i in itertools.islice(index, 4 * SLOTS * workers)]
            return sum(_keep(store, outcome) for outcome in pool.run(jobs))

        env = spec.build(max_episode_steps=1000)
        rates = meter.measure(
            {
                "ours": ours,
                "classical": lambda: float(
                    classical.random_episode(env, next(index), STEPS, Path(folder) / "classical.npz")
                ),
                "limit": environment_alone(workers),
                "storing": storing(store),
            },
        )
        env.close()
        compression = store.read(0).frames.nbytes / store.path(0).stat().st_size
    yield Row(
        "collect",
        rates["ours"],
        rates["classical"],
        "frames/s",
        rates["limit"],
        f"to disk, {workers} workers x {SLOTS} slots, frames painted by {make_slots(spec, 1).painter}; "
        f"compressing and writing alone {rates['storing']:.0f} frames/s on one core, {compression:.0f} times smaller; "
        "limit: the physics alone on one core, times the workers",
    )


def _keep(store: EpisodeStore, outcome: Outcome) -> float:
    store.put(outcome.index, outcome.payload)
    return outcome.steps + 1


def storing(store: EpisodeStore) -> Callable[[], float]:
    """Compressing one episode and putting it on disk, again and again."""

    def work() -> float:
        episode = store.read(0)
        for _ in range(4):
            store.put(0, encode_episode(episode))
        return 4.0 * len(episode.frames)

    return work


def environment_alone(workers: int) -> Callable[[], float]:
    """One core's steps of the world with nothing painted, times the workers: no loop around it can be faster."""
    world = make_world("CarRacing-v3")
    world.reset(seed=1)
    world.action_space.seed(1)

    def work() -> float:
        for _ in range(100):
            _, _, terminated, truncated, _ = world.step(world.action_space.sample())
            if terminated or truncated:
                world.reset()
        return 100.0 * workers

    return work
