"""Super Mario Bros behind our interface: both generations of the package must pass this very file."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import textwrap
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from frmdn.envs.catalogue import get_spec
from frmdn.envs.errors import MissingExtra
from frmdn.envs.options import WorldConfig
from frmdn.envs.vector import make_slots
from frmdn.envs.worlds.super_mario import ACTIONS, DEFAULTS, Journey, SuperMario, classic_reward, complete
from frmdn.envs.worlds.super_mario_console import Console, Status, _game_class, package

ROOT = Path(__file__).resolve().parents[2]
missing = find_spec("gym_super_mario_bros") is None
needs_game = pytest.mark.skipif(missing, reason="gym-super-mario-bros is not installed (extra mario)")
rom = lambda test: pytest.mark.rom(needs_game(test))  # noqa: E731
SPEC = get_spec("SuperMarioBros-1-1-v0")
PLAIN = replace(DEFAULTS, noops=0, stuck=0)  # the bare game
WAIT, RIGHT, RIGHT_B = 0, 1, 3
START = Status(x=40, time=400, world=1, stage=1, area=1, life=2, score=0, coins=0, flag=False, dying=False)


def first_generation() -> bool:
    return package().startswith("gym-super-mario-bros 7")


def script(steps: int) -> Iterator[int]:
    """Buttons held for four frames or longer, mostly to the right, the same every time: numbers of SIMPLE actions."""
    rng, action = np.random.default_rng(1), RIGHT
    for step in range(steps):
        if step % 4 == 0 and rng.random() < 0.2:
            action = int(rng.choice([1, 2, 3, 4, 4, 6]))
        yield action


def play(env: gymnasium.Env, seed: int | None, actions: list[int]) -> tuple[np.ndarray, list[float], dict]:
    """Pictures, rewards and the last info of an episode of these actions, or of as many as it lasts."""
    picture, info = env.reset(seed=seed)
    pictures, rewards = [picture], []
    for action in actions:
        picture, reward, terminated, truncated, info = env.step(action)
        pictures.append(picture)
        rewards.append(reward)
        if terminated or truncated:
            break
    return np.stack(pictures), rewards, info


@pytest.fixture
def game() -> Iterator[SuperMario]:
    env = SuperMario((1, 1), PLAIN)
    yield env
    env.close()


@rom
def test_gymnasium_has_nothing_to_say_about_it():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(SPEC.make(render_mode="rgb_array"), skip_render_check=False)


@rom
def test_the_package_is_met_in_silence_and_leaves_the_process_as_it_was():
    program = """
        import os, warnings
        import frmdn.envs.worlds.super_mario
        from frmdn.envs.worlds.super_mario_console import Console
        before = dict(os.environ), list(warnings.filters)
        Console((1, 1)).close()
        assert before == (dict(os.environ), list(warnings.filters))
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)], capture_output=True, text=True, cwd=ROOT
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@rom
def test_bytes_of_the_cartridge_and_of_the_memory_do_not_overflow(game):
    """What stops the first generation on NumPy 2: 16 * header[4], and 256 * ram[0x6d] beyond the first screen."""
    _, rewards, info = play(game, None, list(script(900)))
    assert info["x"] > 256 and sum(rewards) > 256
    assert type(game._console._game.ram[0x6D]) is int or not first_generation()


@rom
def test_both_generations_play_the_same_game_frame_by_frame(game):
    """The figures were recorded on 7.4 and on 9.1: pictures, places and the classic reward."""
    pictures, rewards, info = play(game, None, list(script(900)))
    assert (len(rewards), info["x"], sum(rewards)) == (474, 682, 603.0)
    assert zlib.crc32(pictures.tobytes()) == 4278980859


@rom
@pytest.mark.parametrize(("action", "total"), [(RIGHT, 231), (RIGHT_B, 252)])
def test_buttons_held_down_score_what_others_measured(game, action, total):
    _, rewards, _ = play(game, None, [action] * 1000)
    assert sum(rewards) == total


@rom
def test_the_classic_reward_is_the_first_generations_own_and_the_second_has_another():
    actions = list(script(900))
    totals = {}
    for name in ("classic", "package"):
        env = SuperMario((1, 1), replace(PLAIN, reward=name))
        totals[name] = play(env, None, actions)[1]
        env.close()
    assert (totals["classic"] == totals["package"]) is first_generation()
    other = get_spec("SuperMarioBros-1-1-v0", world=replace(DEFAULTS, reward="package"))
    assert (dict(SPEC.about)["reward"], dict(other.about)["reward"]) == ("classic", "package")


@rom
def test_pictures_are_copies_in_plain_memory(game):
    picture, _ = game.reset()
    kept = picture.copy()
    for _ in range(60):
        later, *_ = game.step(RIGHT_B)
    assert np.array_equal(picture, kept) and not np.array_equal(later, kept)
    assert picture.flags["C_CONTIGUOUS"] and picture.flags["OWNDATA"]
    sky, shown = later[100, 5], game._console._game.screen
    assert sky[2] > sky[0] and np.array_equal(later, shown)  # red, green, blue


@rom
def test_an_episode_depends_on_its_seed_and_actions_alone():
    env, other, actions = SPEC.make(), SPEC.make(), [1, 4, 4, 3, 2, 6, 1, 4] * 6
    first, rewards, info = play(env, 5, actions)
    second = play(env, 6, actions)[0]
    assert len(first) != len(second) or not np.array_equal(first, second)
    for again in (env, other):  # after other episodes, and in another emulator
        pictures, same, told = play(again, 5, actions)
        assert np.array_equal(first, pictures) and rewards == same and info == told
    env.close()
    other.close()


@rom
def test_the_seed_draws_the_idle_start():
    env = SuperMario((1, 1), replace(PLAIN, noops=30))
    starts = {env.reset(seed=seed)[0].tobytes() for seed in range(12)}
    clocks = {env.reset(seed=seed)[1]["time"] for seed in range(12)}
    env.close()
    assert len(clocks) > 1 or len(starts) > 1


@rom
def test_an_emulator_refuses_to_be_pickled_or_copied_but_its_description_travels(game):
    for thing in (game, game._console):
        for take in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="send the EnvSpec"):
                take(thing)
    sent = pickle.loads(pickle.dumps(SPEC))
    assert replace(sent, build=SPEC.build) == SPEC  # partial functions are equal to themselves alone
    assert sent.build.args == SPEC.build.args


@rom
def test_after_the_end_it_asks_for_a_reset_and_closes_twice(game):
    with pytest.raises(gymnasium.error.ResetNeeded):
        game.step(RIGHT)
    play(game, None, [RIGHT] * 1000)
    with pytest.raises(gymnasium.error.ResetNeeded):
        game.step(RIGHT)
    game.reset()
    game.step(RIGHT)
    game.close()
    game.close()
    with pytest.raises(ValueError, match="closed"):
        game.reset()


@rom
def test_the_end_of_an_episode_says_what_became_of_it(game):
    _, _, info = play(game, None, [RIGHT] * 1000)
    assert (info["completed"], info["deaths"]) == (0.0, 1.0)
    assert 250 < info["distance"] <= info["x"]


@rom
def test_the_flag_is_the_end_that_counts(game):
    """The game's memory is told that the world is over."""
    game.reset()
    game._console._game.ram[0x0770] = 2
    _, _, terminated, truncated, info = game.step(WAIT)
    assert terminated and not truncated and (info["completed"], info["deaths"]) == (1.0, 0.0)


@rom
def test_limits_truncate():
    stuck = replace(DEFAULTS, noops=0, sticky=0.0, stuck=5)
    env = get_spec("SuperMarioBros-1-1-v0", world=stuck).make()
    env.reset(seed=0)
    assert [env.step(WAIT)[2:4] for _ in range(5)] == [(False, False)] * 4 + [(False, True)]
    env.reset(seed=0)
    assert [env.step(RIGHT)[2:4] for _ in range(10)] == [(False, False)] * 10  # who walks is not stuck
    env.close()
    env = get_spec("SuperMarioBros-1-1-v0", world=replace(stuck, stuck=0, max_steps=7)).make()
    env.reset(seed=0)
    assert [env.step(WAIT)[2:4] for _ in range(7)] == [(False, False)] * 6 + [(False, True)]
    env.close()


@rom
def test_slots_play_it_and_tell_of_it():
    world = make_slots(SPEC, 2)
    assert world.start(0, 5).shape == (64, 64, 3)
    assert world.measures(0) == {"completion_rate": 0.0, "distance": 40.0, "deaths": 0.0}
    world.start(1, 6)
    hold = SPEC.action.sample(np.random.default_rng(0), 2) * 0
    hold[:, RIGHT_B] = 1
    for _ in range(12):
        step = world.step(np.array([0, 1]), hold)
    assert step.rewards.min() > 0 and world.measures(1)["distance"] > 60
    world.close()


@rom
def test_the_whole_game_goes_on_after_a_death():
    env = SuperMario(None, replace(PLAIN, max_steps=None))
    _, rewards, info = play(env, None, [RIGHT] * 3000)
    env.close()
    assert (info["deaths"], info["completed"], info["life"]) == (3.0, 0.0, 255)
    assert len(rewards) > 3 * 150 and 250 < info["distance"] < 400  # the same stage three times counts once


@rom
@pytest.mark.slow
def test_every_stage_begins_where_its_name_says_and_survives_its_idle_start():
    for world in range(1, 9):
        for stage in range(1, 5):
            env = get_spec(f"SuperMarioBros-{world}-{stage}-v0").make()
            frames, _, info = play(env, 0, [RIGHT] * 12)
            env.close()
            assert (info["world"], info["stage"]) == (world, stage)
            assert info["distance"] > 40 and frames[-1].std() > 10


@rom
def test_an_unknown_action_is_named(game):
    game.reset()
    with pytest.raises(ValueError, match="0 to 6"):
        game.step(7)


def test_a_missing_package_says_how_to_get_it(monkeypatch):
    for name in ("gym_super_mario_bros", "gym_super_mario_bros.smb_env"):
        monkeypatch.setitem(sys.modules, name, None)
    _game_class.cache_clear()
    with pytest.raises(MissingExtra, match=r"frmdn\[mario\]"):
        Console((1, 1))
    _game_class.cache_clear()


@pytest.mark.parametrize(
    "id", ["SuperMarioBros-9-1-v0", "SuperMarioBros-1-5-v0", "SuperMarioBros-v1", "SuperMarioBros"]
)
def test_an_id_that_is_no_stage_is_refused(id):
    with pytest.raises(ValueError, match="is no stage"):
        get_spec(id)


@pytest.mark.parametrize(("option", "value"), [("actions", "all"), ("reward", "score")])
def test_a_choice_that_does_not_exist_is_refused_with_those_that_do(option, value):
    with pytest.raises(ValueError, match=f"{option} must be one of"):
        get_spec("SuperMarioBros-1-1-v0", world=replace(DEFAULTS, **{option: value}))


def test_what_is_left_open_is_as_usual():
    spec = get_spec("SuperMarioBros-1-1-v0", world=WorldConfig(actions="complex"))
    assert (spec.action.size, spec.repeat, spec.world.sticky, spec.world.stuck) == (12, 4, 0.0, 100)
    assert get_spec("SuperMarioBros-v0").max_steps == complete(WorldConfig(), None).max_steps == 20_000
    assert [len(names) for names in ACTIONS.values()] == [5, 7, 12]
    assert dict(SPEC.references) == {"hold_right": RIGHT, "hold_right_and_b": RIGHT_B}


@pytest.mark.parametrize(
    ("change", "reward"),
    [
        ({"x": 43}, 3),
        ({"x": 38}, -2),
        ({"x": 46}, 0),  # further than Mario can move: a pipe
        ({"x": 43, "time": 399}, 2),
        ({"time": 401}, 0),  # set anew
        ({"x": 41, "dying": True}, -15),  # 1 - 25, cut
    ],
)
def test_the_classic_reward_by_hand(change, reward):
    assert classic_reward(START, START._replace(**change)) == reward


def test_a_journey_counts_the_places_of_a_stage_once():
    journey = Journey(START)
    journey.follow(START._replace(x=300))
    journey.follow(START._replace(area=3, x=20))  # down a pipe
    assert journey.waited == 0 and journey.measures((1, 1))["distance"] == 300
    journey.follow(START._replace(area=3, x=20))
    assert journey.waited == 1
    journey.follow(START._replace(area=3, x=20, dying=True))
    journey.follow(START._replace(area=3, x=20, dying=True))
    journey.follow(START._replace(x=40, life=1))  # again from the start
    told = journey.measures((1, 1))
    assert told == {"completed": 0.0, "distance": 300.0, "deaths": 1.0} and journey.waited == 4
    journey.follow(START._replace(x=310, flag=True))
    journey.follow(START._replace(x=10, stage=2))
    assert journey.measures((1, 1)) == {"completed": 1.0, "distance": 320.0, "deaths": 1.0}
    assert journey.measures(None)["completed"] == 0.0
    journey.follow(START._replace(world=8, stage=4, flag=True))
    assert journey.measures(None)["completed"] == 1.0


def test_the_rows_that_the_agent_sees_leave_the_score_out_and_end_in_the_ground():
    """Of 240 rows: 32 of score above, then 192 that are whole pixels of the frame; no ROM is needed to say so."""
    for id in ("SuperMarioBros-1-1-v0", "SuperMarioBros-v0"):
        spec = get_spec(id)
        picture = np.zeros((240, 256, 3), np.uint8)
        picture[:32], picture[224:] = 255, 255  # what must not be seen
        picture[32:35], picture[221:224] = 90, 60  # the first and the last three rows that must
        frame = spec.pipe(picture)
        assert (frame[0] == 90).all() and (frame[-1] == 60).all() and not frame[1:-1].any()


@rom
def test_the_score_stands_above_the_rows_that_are_kept_and_the_sky_begins_within_them(game):
    picture, _ = game.reset()
    first, last = SPEC.rows
    sky = picture[first, 0]
    assert (picture[first : first + 8] == sky).all()  # nothing but sky at the top
    assert (picture[first - 16 : first] != sky).any()  # the score and the clock stand right above
    assert (picture[last - 8 : last] != sky).any(-1).all()  # the ground reaches from one side to the other
