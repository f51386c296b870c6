"""The spy itself: if it does not notice, nobody does."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time

import gymnasium
import numpy as np
import pytest

from frmdn.envs import Failure, counting_spec, make_slots, read_frame

ZERO = np.zeros(2, np.float32)


def test_every_frame_names_its_seed_and_step():
    env = counting_spec(300).make()
    for seed in (0, 255, 2**30 + 77):
        frame, _ = env.reset(seed=seed)
        seen = [read_frame(frame)]
        while True:
            frame, _, terminated, truncated, _ = env.step(ZERO)
            seen.append(read_frame(frame))
            if terminated or truncated:
                break
        assert seen == [(seed, t) for t in range(301)]


@pytest.mark.parametrize("size", [16, 30, 64])
def test_other_sizes_can_be_read_too(size):
    frame, _ = counting_spec(3, frame_size=size).make().reset(seed=123456789)
    assert read_frame(frame) == (123456789, 0)


def test_a_mixed_frame_is_noticed():
    env = counting_spec().make()
    frame, _ = env.reset(seed=5)
    frame[40, 3, 1] ^= 1
    with pytest.raises(ValueError, match="contradict"):
        read_frame(frame)


def test_rewards_name_step_and_action():
    env = counting_spec().make()
    env.reset(seed=0)
    assert [env.step(np.array([a, 0], np.float32))[1] for a in (1.0, -1.0, 0.5)] == [0.5, 0.5, 2.25]
    env = counting_spec(discrete=4).make()
    env.reset(seed=0)
    assert [env.step(a)[1] for a in (3, 0, 2)] == [1.5, 1.0, 3.0]


@pytest.mark.parametrize("terminates", [True, False])
def test_the_end_is_of_the_kind_that_was_asked_for(terminates):
    env = counting_spec(2, terminates=terminates).make()
    env.reset(seed=0)
    assert env.step(ZERO)[2:4] == (False, False)
    assert env.step(ZERO)[2:4] == (terminates, not terminates)
    with pytest.raises(RuntimeError, match="after the end"):
        env.step(ZERO)


def test_failures_happen_where_they_were_planned():
    spec = counting_spec(failure=Failure("raise", step=2, seed=7))
    assert pickle.loads(pickle.dumps(spec)) is not None
    slots = make_slots(spec, 2)
    for slot, seed in ((0, 6), (1, 7)):
        slots.start(slot, seed)
    both, actions = np.arange(2), np.zeros((2, 2), np.float32)
    slots.step(both, actions)
    slots.step(both, actions)
    slots.step(both[:1], actions[:1])
    with pytest.raises(RuntimeError, match="step 2 of seed 7"):
        slots.step(both[1:], actions[1:])


def test_sleeping_takes_its_time():
    env = counting_spec(failure=Failure("sleep", step=1, seconds=0.05)).make()
    env.reset(seed=0)
    env.step(ZERO)
    begin = time.perf_counter()
    env.step(ZERO)
    assert time.perf_counter() - begin >= 0.05


def test_kill_ends_the_process():
    code = (
        "import numpy, frmdn.envs as envs;"
        "e = envs.counting_spec(failure=envs.Failure('kill', step=1)).make(); e.reset(seed=0);"
        "e.step(numpy.zeros(2)); print('alive', flush=True); e.step(numpy.zeros(2)); print('not reached')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, timeout=60)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "alive\n")


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match="kind must be"):
        Failure("explode")
    with pytest.raises(ValueError, match="length must lie"):
        counting_spec(0)


def test_it_is_registered_nowhere():
    assert not [id for id in gymnasium.registry if "Counting" in id]
