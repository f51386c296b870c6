"""Returning: an episode goes on where an earlier one had come, exactly, and only what is new is stored."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from frmdn.agent.seeds import episode_seeds
from frmdn.envs import get_spec
from frmdn.envs.vector import make_slots
from frmdn.envs.worlds.counting import counting_spec, read_frame
from frmdn.rollouts.collect import CollectConfig, collect
from frmdn.rollouts.episodes.episode import Episode, Origin, StoreError, decode_episode, encode_episode
from frmdn.rollouts.episodes.store import EpisodeStore
from frmdn.rollouts.job import Job
from frmdn.rollouts.policy import BrownianPolicy, RandomPolicy
from frmdn.rollouts.returning import FRONT, WAVE, Returning, waves
from frmdn.rollouts.run import Runner

LENGTH = 40
EPISODES = 3 * WAVE


def run(folder: Path, episodes: int = EPISODES, returning: float = 0.75, **more: Any) -> EpisodeStore:
    store = EpisodeStore(folder)
    settings = {"seed": 5, "workers": 0, **more}
    spec = settings.pop("spec", counting_spec(length=LENGTH))
    config = CollectConfig(episodes, "random", None, settings.pop("slots", 5), returning)
    collect(spec, config, store, **settings)
    return store


def contents(store: EpisodeStore) -> list[bytes]:
    return [store.path(index).read_bytes() for index in store.indices()]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> EpisodeStore:
    return run(tmp_path_factory.mktemp("returning"))


def test_an_episode_begins_exactly_where_its_origin_ends(store: EpisodeStore) -> None:
    begun = 0
    for index in store.indices():
        episode = store.read(index)
        first = 0 if episode.origin is None else len(episode.origin.actions)
        assert [read_frame(frame) for frame in episode.frames] == [
            (episode.seed, step) for step in range(first, LENGTH + 1)
        ]
        np.testing.assert_allclose(episode.rewards, first + np.arange(episode.steps) + 0.5 * episode.actions[:, 0])
        begun += first > 0
    assert EPISODES // 3 < begun < EPISODES - WAVE


def test_origins_are_ways_of_earlier_waves(store: EpisodeStore) -> None:
    ways = [store.read_way(index) for index in store.indices()]
    for index in store.indices():
        origin = store.read(index).origin
        if origin is None:
            continue
        assert index >= WAVE
        known = ways[: index // WAVE * WAVE]
        length = len(origin.actions)
        assert any(np.array_equal(way.actions[:length], origin.actions) for way in known)


def test_a_way_is_the_whole_episode_of_its_seed(store: EpisodeStore) -> None:
    for index in store.indices():
        way = store.read_way(index)
        np.testing.assert_allclose(way.rewards, np.arange(LENGTH) + 0.5 * way.actions[:, 0])


def test_two_episodes_from_one_place_differ(store: EpisodeStore) -> None:
    actions = [store.read(index).actions[-3:].tobytes() for index in store.indices()]
    assert len(set(actions)) == len(actions)


def test_slots_and_the_number_of_episodes_change_no_episode(store: EpisodeStore, tmp_path: Path) -> None:
    assert contents(run(tmp_path / "slots", slots=1)) == contents(store)
    assert contents(run(tmp_path / "fewer", EPISODES - 20)) == contents(store)[: EPISODES - 20]


@pytest.mark.ray
def test_workers_change_no_episode(store: EpisodeStore, tmp_path: Path) -> None:
    assert contents(run(tmp_path / "ray", workers=2)) == contents(store)


def test_goes_on_where_it_was_interrupted(store: EpisodeStore, tmp_path: Path) -> None:
    def interrupt(done: int, total: int, outcome: Any) -> None:
        if done == WAVE + 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, progress=interrupt)
    assert len(EpisodeStore(tmp_path).indices()) == WAVE + 7
    whole = run(tmp_path)
    assert contents(whole) == contents(store)
    whole.path(WAVE + 3).unlink()
    assert contents(run(tmp_path)) == contents(store)


def test_another_share_is_refused(store: EpisodeStore, tmp_path: Path) -> None:
    run(tmp_path, returning=0.0)
    with pytest.raises(StoreError, match="collect into another folder"):
        run(tmp_path, returning=1.0)


def test_without_a_share_all_begin_at_the_beginning(tmp_path: Path) -> None:
    plain = run(tmp_path, returning=0.0)
    assert all(plain.read(index).origin is None for index in plain.indices())
    assert [plain.summary(index).seed for index in plain.indices()] == episode_seeds(5, "collect", EPISODES)


@pytest.mark.parametrize(("count", "returning", "sizes"), [(5, 0.0, [5]), (5, 0.5, [5]), (40, 1.0, [16, 16, 8])])
def test_waves(count: int, returning: float, sizes: list[int]) -> None:
    found = waves(count, returning)
    assert [len(wave) for wave in found] == sizes
    assert [index for wave in found for index in wave] == list(range(count))


def climb(height: int, seed: int, dead: bool = False) -> Episode:
    """An episode whose return is its number of steps, or one less where it ends in a fall."""
    rewards = np.ones(height, np.float32)
    rewards[-1] = -1.0 if dead else 1.0
    frames = np.zeros((height + 1, 4, 4, 3), np.uint8)
    return Episode(frames, np.full((height, 2), seed, np.float32), rewards, dead, not dead, seed)


def test_two_thirds_go_on_from_the_furthest_and_a_third_from_anywhere(tmp_path: Path) -> None:
    store = EpisodeStore(tmp_path)
    for index in range(WAVE):
        store.put(index, encode_episode(climb(100 if index < FRONT else 50, index)))
    wave = range(WAVE, WAVE + 2000)
    jobs = Returning(store, episode_seeds(0, "collect", wave.stop), 1.0).jobs(wave)
    places = np.array([0 if job.origin is None else len(job.origin.actions) for job in jobs])
    seeds = np.array([job.seed for job in jobs])
    assert (places < 100).all()
    assert 0.9 < (places > 50).mean() / (49 / 60 * 2 / 3 + 0.5 / 3) < 1.1
    assert set(seeds[places > 50]) == set(range(FRONT))
    assert set(seeds[(places > 0) & (places < 40)]) == set(range(WAVE))


def test_nothing_returns_behind_a_fall(tmp_path: Path) -> None:
    store = EpisodeStore(tmp_path)
    for index in range(WAVE):
        store.put(index, encode_episode(climb(10, index, dead=True)))
    jobs = Returning(store, episode_seeds(0, "collect", 300), 1.0).jobs(range(WAVE, 300))
    assert all(job.origin is None or len(job.origin.actions) < 9 for job in jobs)


def test_episodes_that_never_gain_begin_anew(tmp_path: Path) -> None:
    store = EpisodeStore(tmp_path)
    for index in range(WAVE):
        episode = climb(10, index)
        store.put(index, encode_episode(replace(episode, rewards=-episode.rewards)))
    jobs = Returning(store, episode_seeds(0, "collect", 100), 1.0).jobs(range(WAVE, 100))
    assert all(job.origin is None for job in jobs)


def test_an_origin_survives_its_file() -> None:
    origin = Origin(np.arange(6, dtype=np.float32).reshape(3, 2), np.array([1, -2, 3], np.float32))
    found = decode_episode(encode_episode(replace(climb(4, 1), origin=origin))).origin
    assert found is not None
    np.testing.assert_array_equal(found.actions, origin.actions)
    np.testing.assert_array_equal(found.rewards, origin.rewards)


def test_a_world_that_does_not_repeat_itself_is_refused() -> None:
    spec = counting_spec(length=8)
    runner = Runner(make_slots(spec, 1), RandomPolicy(spec.action))
    right = np.array([0.0, 1.0, 2.0], np.float32)
    origin = Origin(np.zeros((3, 2), np.float32), right)
    assert [outcome.steps for outcome in runner.advance([Job(0, 1, origin=origin)])] == [5]
    wrong = Origin(origin.actions, right + np.float32(0.5) * (np.arange(3) == 2))
    with pytest.raises(ValueError, match="went another way at step 2") as error:
        runner.advance([Job(0, 1, origin=wrong)])
    assert "job 0, seed 1" in "".join(error.value.__notes__)
    with pytest.raises(ValueError, match="went another way at step 7"):
        runner.clear()
        runner.advance([Job(0, 1, origin=Origin(np.zeros((8, 2), np.float32), np.arange(8, dtype=np.float32)))])


@pytest.mark.parametrize("returning", [-0.1, 1.1, float("nan")])
def test_the_share_is_checked(returning: float) -> None:
    with pytest.raises(ValueError, match=r"returning must lie in 0\.\.1"):
        CollectConfig(4, returning=returning)


def test_the_front_moves_on(tmp_path: Path) -> None:
    """Each wave of a world that ends episodes early goes further than the one before, which is the purpose."""
    store = EpisodeStore(tmp_path)
    config = CollectConfig(4 * WAVE, "random", 70, 5, 1.0)  # 70 steps an episode, in a world of 300
    collect(counting_spec(length=300), config, store, seed=1, workers=0)
    lengths = [len(store.read_way(index).actions) for index in store.indices()]
    best = [max(lengths[wave.start : wave.stop]) for wave in waves(4 * WAVE, 1.0)]
    assert best[0] == 70
    assert all(later > earlier for earlier, later in pairwise(best))


@pytest.mark.rom
@pytest.mark.skipif(find_spec("gym_super_mario_bros") is None, reason="gym-super-mario-bros is not installed")
@pytest.mark.parametrize("sticky", [0.0, 0.25])
def test_mario_comes_back_to_the_very_picture(sticky: float) -> None:
    spec = get_spec("SuperMarioBros-1-1-v0", world=replace(get_spec("SuperMarioBros-1-1-v0").world, sticky=sticky))
    runner = Runner(make_slots(spec, 2), BrownianPolicy(spec.action), max_steps=30, record=lambda episode: episode)
    first: Episode = runner.advance([Job(0, seed=4)])[0].payload
    origin = Origin(first.actions[:20], first.rewards[:20])
    jobs = [Job(1, seed=4, origin=origin, luck=1), Job(2, seed=4, origin=origin, luck=2)]
    again: list[Episode] = [outcome.payload for outcome in runner.advance(jobs) + runner.advance()]
    assert first.frames[20].std() > 0 and first.rewards.any()
    for episode in again:
        np.testing.assert_array_equal(episode.frames[0], first.frames[20])
        assert not np.array_equal(episode.actions[:10], first.actions[20:])
    runner.close()
