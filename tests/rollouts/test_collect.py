"""Collecting: every episode once, whatever interrupts it, and the same one whoever collects it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from frmdn.agent.seeds import episode_seeds
from frmdn.envs.spec import EnvSpec
from frmdn.envs.worlds.counting import Failure, counting_spec, read_frame
from frmdn.rollouts.collect import CollectConfig, check_store, collect, named_policy
from frmdn.rollouts.episodes.store import EpisodeStore, StoreError
from frmdn.rollouts.job import Job, Outcome

played: list[int] = []  # seeds of the episodes started in this process


class Noting:
    """The random policy, which also notes every episode that it starts."""

    def __init__(self, spec: EnvSpec, slots: int) -> None:
        self.inner = named_policy("random", spec, slots)

    def start(self, slot: int, job: Job) -> None:
        played.append(job.seed)
        self.inner.start(slot, job)

    def act(self, slots: np.ndarray, frames: np.ndarray) -> np.ndarray:
        return self.inner.act(slots, frames)


@pytest.fixture
def store(tmp_path: Path) -> EpisodeStore:
    played.clear()
    return EpisodeStore(tmp_path / "episodes")


def run(store: EpisodeStore, episodes: int = 12, **more: Any) -> Any:
    settings: dict[str, Any] = {
        "seed": 5,
        "workers": 0,
        "policy_factory": Noting,
        "slots": 3,
        "max_steps": None,
        **more,
    }
    spec = settings.pop("spec", None) or counting_spec(length=7)
    policy = settings.pop("policy", "random")
    config = CollectConfig(episodes, policy, settings.pop("max_steps"), settings.pop("slots"))
    return collect(spec, config, store, **settings)


def contents(store: EpisodeStore) -> list[bytes]:
    return [store.path(index).read_bytes() for index in store.indices()]


def test_collects_all_and_reports(store: EpisodeStore) -> None:
    seen: list[tuple[int, int, int]] = []
    summaries = run(store, progress=lambda done, total, outcome: seen.append((done, total, outcome.index)))
    assert store.indices() == list(range(12))
    assert [at.seed for at in summaries] == episode_seeds(5, "collect", 12)
    assert [(at.steps, at.terminated, at.truncated) for at in summaries] == [(7, True, False)] * 12
    assert {(at.env, at.painter, at.policy) for at in summaries} == {("Counting-v0", "official", "random")}
    assert [at[:2] for at in seen] == [(done, 12) for done in range(1, 13)]
    assert sorted(at[2] for at in seen) == list(range(12))
    assert [at.total for at in summaries] == [pytest.approx(store.read(index).rewards.sum()) for index in range(12)]


def test_slots_and_the_number_of_episodes_change_no_episode(store: EpisodeStore, tmp_path: Path) -> None:
    run(store)
    for slots in (1, 8, 64):
        other = EpisodeStore(tmp_path / f"slots{slots}")
        run(other, slots=slots)
        assert contents(other) == contents(store)
    more = EpisodeStore(tmp_path / "more")
    run(more, 20)
    assert contents(more)[:12] == contents(store)


@pytest.mark.ray
def test_workers_change_no_episode(store: EpisodeStore, tmp_path: Path) -> None:
    run(store, policy_factory=None)
    other = EpisodeStore(tmp_path / "ray")
    run(other, policy_factory=None, workers=2)
    assert contents(other) == contents(store)


def test_goes_on_where_it_was_interrupted(store: EpisodeStore, tmp_path: Path) -> None:
    def interrupt(done: int, total: int, outcome: Outcome) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(store, progress=interrupt)
    kept = store.indices()
    assert len(kept) == 5
    written = {index: store.path(index).stat().st_mtime_ns for index in kept}
    (store.folder / "000099.h5.tmp").touch()
    played.clear()
    seen: list[int] = []
    run(store, progress=lambda done, total, outcome: seen.append(done))
    seeds = episode_seeds(5, "collect", 12)
    assert sorted(played) == sorted(seeds[index] for index in range(12) if index not in kept)
    assert seen == list(range(6, 13))
    assert {index: store.path(index).stat().st_mtime_ns for index in kept} == written
    assert not list(store.folder.glob("*.tmp"))
    whole = EpisodeStore(tmp_path / "whole")
    run(whole)
    assert contents(whole) == contents(store)
    played.clear()
    run(store)
    assert played == []


def test_a_deleted_episode_alone_is_collected_anew(store: EpisodeStore) -> None:
    run(store)
    before = contents(store)
    store.path(4).unlink()
    played.clear()
    run(store)
    assert played == [episode_seeds(5, "collect", 12)[4]]
    assert contents(store) == before


def test_a_damaged_episode_stops_the_run_before_any_work(store: EpisodeStore) -> None:
    run(store)
    store.path(4).write_bytes(store.path(4).read_bytes()[:900])
    played.clear()
    with pytest.raises(StoreError, match=r"000004\.h5.*delete it"):
        run(store, 20)
    assert played == []


@pytest.mark.parametrize("change", [{"seed": 6}, {"spec": "other"}])
def test_episodes_of_another_run_are_not_mixed_in(store: EpisodeStore, change: dict[str, Any]) -> None:
    run(store, 2)
    if "spec" in change:
        spec = counting_spec(length=7)
        change = {"spec": EnvSpec("Other-v0", spec.action, spec.build, max_steps=7)}
    with pytest.raises(StoreError, match=r"000000\.h5 is of Counting-v0.*another folder"):
        run(store, 4, **change)


def test_a_failing_world_fails_the_run_and_keeps_what_was_done(store: EpisodeStore) -> None:
    seeds = episode_seeds(5, "collect", 12)
    broken = counting_spec(length=7, failure=Failure("raise", step=3, seed=seeds[9]))
    with pytest.raises(Exception, match="fails on purpose"):
        run(store, spec=broken, slots=2)
    kept = store.indices()
    assert kept == list(range(8))
    run(store, slots=2)
    assert store.indices() == list(range(12))
    assert played.count(seeds[0]) == 1


def test_max_steps_truncates(store: EpisodeStore) -> None:
    assert [(at.steps, at.terminated, at.truncated) for at in run(store, 2, max_steps=4)] == [(4, False, True)] * 2


@pytest.mark.parametrize("policy", ["brownian", "random", "linear"])
@pytest.mark.parametrize("discrete", [0, 3])
def test_every_policy_collects(store: EpisodeStore, policy: str, discrete: int) -> None:
    run(store, 6, policy=policy, policy_factory=None, spec=counting_spec(length=7, discrete=discrete))
    first = store.read(0)
    assert store.summary(0).policy == policy
    assert first.actions.shape == (7, discrete or 2)
    assert any(not np.array_equal(first.actions, store.read(index).actions) for index in range(1, 6))
    assert [read_frame(frame) for frame in first.frames] == [(first.seed, t) for t in range(8)]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [((0,), "at least 1"), ((2, "random", 0), "at least 1"), ((2, "random", None, 0), "at least 1"), ((2, "x"), "'x'")],
)
def test_wrong_settings_are_refused(arguments: Sequence[Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        CollectConfig(*arguments)


def test_an_agent_needs_a_factory(store: EpisodeStore) -> None:
    with pytest.raises(ValueError, match="needs a policy_factory"):
        run(store, policy="agent", policy_factory=None)


def test_a_full_disk_stops_the_run_before_any_work(store: EpisodeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EpisodeStore, "disk_needed", lambda *_: 10**18)
    with pytest.raises(StoreError, match="free some space"):
        run(store)
    assert played == []


def test_an_episode_of_another_seed_is_not_trained_on(store: EpisodeStore, tmp_path: Path) -> None:
    config, spec, other = CollectConfig(3, policy="random"), counting_spec(5), EpisodeStore(tmp_path / "other")
    collect(spec, config, store, seed=5, workers=0)
    collect(spec, config, other, seed=6, workers=0)
    check_store(spec, config, store, 5)
    store.path(1).write_bytes(other.path(1).read_bytes())
    with pytest.raises(StoreError, match=r"000001\.h5 is of Counting-v0 with episode seed .* delete this file and run"):
        check_store(spec, config, store, 5)
