"""Collecting and evaluating: whole episodes of whoever acts, stored or counted."""

from __future__ import annotations

from pathlib import Path

from frmdn.controller.evaluate import SLOTS, EvaluationReport
from frmdn.controller.evaluate import evaluate as play_all
from frmdn.envs.spec import EnvSpec
from frmdn.rollouts.collect import CollectConfig
from frmdn.rollouts.collect import collect as play_and_store
from frmdn.rollouts.episodes.store import EpisodeStore

from .acting import Who, cast, world_of
from .player import Player
from .run import Run


def collect(
    world: str | EnvSpec, folder: str | Path, episodes: int, who: Who = "brownian", *, seed: int = 0, workers: int = 0
) -> EpisodeStore:
    """Play episodes and store them; called again it makes only those that are missing.

    Args:
        world: a Gymnasium id, or the description that `get_spec` makes of it, e.g. with a step limit.
        folder: where the episodes go, one file each; made if it is not there.
        episodes: how many there shall be in the end.
        who: "brownian", "random", "linear", "ou", a run or player, a function of the frame, or an object with
            `act(frame)` and `reset()`.
        seed: root of the episodes' own seeds; with one seed come the same episodes, whatever the workers.
        workers: processes that play side by side; 0 plays in this one.

    Raises:
        ValueError: `who` cannot act, or the folder holds episodes of another world or seed, or the disk is too small.

    >>> short = frmdn.get_spec("CarRacing-v3", world=frmdn.WorldConfig(max_steps=5))
    >>> store = frmdn.collect(short, "episodes", 2)
    >>> store.indices(), store.read(0).frames.shape
    ([0, 1], (6, 64, 64, 3))
    """
    actor, spec, store = cast(who), world_of(world), EpisodeStore(Path(folder).expanduser())
    named = isinstance(who, str)
    policy = actor.name if named else "agent"
    config = CollectConfig(episodes, policy, slots=actor.slots or CollectConfig.slots)
    play_and_store(spec, config, store, seed=seed, workers=workers, policy_factory=None if named else actor.make)
    return store


def evaluate(
    who: Who,
    world: str | EnvSpec | None = None,
    episodes: int | None = None,
    *,
    seed: int | None = None,
    workers: int = 0,
) -> EvaluationReport:
    """Play whole episodes of the official environment, on seeds held out from collecting and from searching.

    Args:
        who: as for `collect`; most often a run, or the player of a search.
        world: a Gymnasium id or its description; None: the world of the run or player.
        episodes: how many; None: as many as the run's own evaluation has, else 16.
        seed: root of the episodes' seeds; None: that of the run, else 0. A run is measured as `frmdn evaluate` does.
        workers: processes that play side by side; 0 plays in this one. They change the time only.

    Returns:
        The report: `mean`, `ci95` (its 95 % interval, by bootstrap), `returns`, `lengths`, `seeds` and more.

    Raises:
        ValueError: `who` cannot act, or the world is open.

    >>> run = frmdn.open("runs/tiny")
    >>> report = frmdn.evaluate(run)
    >>> report.returns == run.evaluation["returns"]
    True
    >>> short = frmdn.get_spec("CarRacing-v3", world=frmdn.WorldConfig(max_steps=5))
    >>> full_gas = frmdn.evaluate(lambda frame: [0.0, 1.0, 0.0], short, 1)
    >>> full_gas.lengths
    [5]
    """
    if world is None:
        if not isinstance(who, Run | Player):
            raise ValueError(f"world must be named where {who!r} acts: give a Gymnasium id, or what get_spec returns")
        world = who.spec
    if isinstance(who, Run):
        episodes = who.config.evaluate.episodes if episodes is None else episodes
        seed = who.config.seed if seed is None else seed
    actor = cast(who)
    return play_all(
        world_of(world),
        actor.make,
        name=actor.name,
        episodes=16 if episodes is None else episodes,
        seed=seed or 0,
        workers=workers,
        slots=actor.slots or SLOTS,
    )
