"""Pools: the same outcomes for any number of workers, and no failure that hangs or hides."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from frmdn.envs.errors import MissingExtra
from frmdn.envs.vector import make_slots
from frmdn.envs.worlds.counting import Failure, counting_spec
from frmdn.rollouts.job import Job
from frmdn.rollouts.policy import BrownianPolicy, RandomPolicy
from frmdn.rollouts.run import Runner
from frmdn.rollouts.workers import RayPool, SerialPool, WorkerError, open_pool
from frmdn.rollouts.workers import crew as crew_module
from frmdn.rollouts.workers.connection import options
from frmdn.rollouts.workers.host import check_code, host_class

SLOTS = 3


def maker(failure=None, poison=None, pause=0.0):
    """A factory of runners with episodes of 3 to 13 steps; it pickles by value, so no worker must import this file."""
    spec = counting_spec(20, failure=failure, frame_size=16)

    class Uneven:
        def __init__(self):
            self.spec, self.slots, self.inner = spec, SLOTS, make_slots(spec, SLOTS)
            self.left = np.zeros(SLOTS, np.int64)

        def start(self, slot, seed):
            self.left[slot] = 3 + seed * 7 % 11
            return self.inner.start(slot, seed)

        def step(self, slots, actions):
            import time

            out = self.inner.step(slots, actions)
            self.left[slots] -= 1
            time.sleep(pause)
            out.truncated[self.left[slots] == 0] = True
            return out

        def close(self):
            self.inner.close()

    class Poisoned(BrownianPolicy):
        bad = np.zeros(SLOTS, bool)  # written by the workers: what travels to them must stay writable

        def start(self, slot, job):
            super().start(slot, job)
            self.bad[slot] = job.index == poison

        def act(self, slots, frames):
            actions = super().act(slots, frames)
            actions[self.bad[slots]] = np.nan
            return actions

    def describe(episode):
        return episode.actions.tobytes() + episode.frames.tobytes()

    return lambda: Runner(Uneven(), Poisoned(spec.action), record=describe)


def jobs(n):
    return [Job(i, 100 + i, candidate=i % 2, theta=np.full(3, i, np.float32)) for i in range(n)]


def by_index(outcomes):
    return sorted(outcomes, key=lambda outcome: outcome.index)


def test_serial_pool_runs_again_and_again():
    with open_pool(maker(), 0) as pool:
        assert isinstance(pool, SerialPool) and pool.workers == 0 and pool.slots == SLOTS
        first, second = by_index(pool.run(jobs(7))), by_index(pool.run(jobs(7)))
    assert first == second and [o.index for o in first] == list(range(7))
    assert [o.candidate for o in first] == [i % 2 for i in range(7)]


def test_numbers_of_workers_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="workers"):
        open_pool(maker(), -1)
    with pytest.raises(ValueError, match="workers"):
        RayPool(maker(), 0)


def test_other_code_in_a_worker_is_refused():
    here = host_class()().survey()
    assert Path(here["origins"]["frmdn.rollouts"]).is_file() and here["pid"] == os.getpid()
    moved = {**here, "origins": {"frmdn.envs": "/elsewhere/envs/__init__.py"}}
    check_code(here, moved)  # the same code in another place will do
    with pytest.raises(WorkerError, match=r"elsewhere.*install the same frmdn"):
        check_code(here, {**moved, "code": "0"})


def test_playing_takes_one_thread_as_in_a_worker_and_gives_the_others_back():
    """Sums on several threads differ in the last digits, so results would follow the number of workers."""
    seen, before = [], torch.get_num_threads()
    spec = counting_spec(3, frame_size=16)

    class Noting(RandomPolicy):
        def act(self, slots, frames):
            seen.append(torch.get_num_threads())
            return super().act(slots, frames)

    torch.set_num_threads(3)
    try:
        with SerialPool(lambda: Runner(make_slots(spec, SLOTS), Noting(spec.action))) as serial:
            for _ in serial.run(jobs(5)):
                assert torch.get_num_threads() == 3
            assert torch.get_num_threads() == 3 and set(seen) == {1}
    finally:
        torch.set_num_threads(before)


@pytest.fixture(scope="module")
def pool():
    """One pool for the tests that leave it whole."""
    with RayPool(maker(), 2) as pool:
        yield pool


@pytest.mark.ray
def test_ray_pool_equals_serial_pool(pool):
    with SerialPool(maker()) as serial:
        expected = by_index(serial.run(jobs(17)))
    assert len({o.payload for o in expected}) == 17 and len({o.steps for o in expected}) == 11
    assert by_index(pool.run(jobs(17))) == expected
    assert by_index(pool.run(jobs(17))) == expected  # the next generation, on the same runners


@pytest.mark.ray
@pytest.mark.parametrize("workers", [1, 3])
def test_the_number_of_workers_changes_nothing(pool, workers):
    with RayPool(maker(), workers) as other:
        assert other.workers == workers and other.slots == workers * SLOTS
        assert by_index(other.run(jobs(11))) == by_index(pool.run(jobs(11)))


@pytest.mark.ray
def test_a_run_left_early_does_not_leak_into_the_next(pool):
    run = pool.run(jobs(40))
    next(run)
    with pytest.raises(ValueError, match="playing already"):
        next(pool.run(jobs(1)))
    run.close()
    assert [o.index for o in by_index(pool.run([Job(i, i) for i in (90, 91, 92, 93)]))] == [90, 91, 92, 93]


@pytest.mark.ray
def test_workers_use_one_thread_each():
    def make():
        import os

        import torch

        raise RuntimeError(f"threads={torch.get_num_threads()} omp={os.environ['OMP_NUM_THREADS']}")

    with pytest.raises(WorkerError, match="threads=1 omp=1"):
        RayPool(make, 1)


@pytest.mark.ray
def test_an_exception_in_a_worker_comes_with_its_traceback():
    failing = RayPool(maker(failure=Failure("raise", step=3, seed=104)), 1)
    start = time.monotonic()
    with pytest.raises(WorkerError, match="on purpose at step 3 of seed 104") as caught:
        list(failing.run(jobs(12)))
    assert time.monotonic() - start < 10
    assert isinstance(caught.value.__cause__, RuntimeError)
    for piece in ("worker 0", "raised RuntimeError", "job 4, seed 104", "run the same command again"):
        assert piece in str(caught.value)
    assert "\n" not in str(caught.value)
    (traceback,) = caught.value.__notes__
    assert "counting.py" in traceback and "\x1b" not in traceback
    with pytest.raises(ValueError, match="closed"):
        list(failing.run(jobs(1)))


@pytest.mark.ray
@pytest.mark.parametrize("error", [ValueError("repeat is wrong"), FileNotFoundError("no such file: x"), None])
def test_a_users_mistake_in_making_a_runner_is_told_as_without_workers(error):
    def make():
        import sys

        from frmdn.envs.worlds.doom import take_cover_spec

        if error is not None:
            raise error
        sys.modules["vizdoom"] = sys.modules["vizdoom.gymnasium_wrapper"] = None  # as if it were not installed
        take_cover_spec().make()

    with pytest.raises(MissingExtra if error is None else type(error)) as caught:
        RayPool(make, 1)
    assert type(caught.value) in (ValueError, FileNotFoundError, MissingExtra)  # not one that Ray made of it
    assert str(caught.value) == (str(error) if error else str(MissingExtra("ViZDoom", "doom", "VizdoomTakeCover-v1")))
    assert isinstance(caught.value.__cause__, WorkerError) and "worker 0" in str(caught.value.__cause__)


@pytest.mark.ray
def test_a_policy_without_numbers_fails_the_run():
    with pytest.raises(WorkerError, match=r"job 5, seed 105") as caught:
        list(RayPool(maker(poison=5), 1).run(jobs(8)))
    assert isinstance(caught.value.__cause__, ValueError)


@pytest.mark.ray
def test_a_worker_that_is_killed_is_replaced_and_nothing_changes(caplog):
    """Each of two workers once: their jobs are played again, by the other and by the new ones."""
    expected = by_index(SerialPool(maker(pause=0.02)).run(jobs(60)))
    with RayPool(maker(pause=0.02), 2) as pool:
        run = pool.run(jobs(60))
        outcomes = [next(run)]
        first = pool.crew.members
        pids = {member.pid for member in first}
        os.kill(first[0].pid, signal.SIGKILL)
        outcomes += [next(run) for _ in range(20)]
        os.kill(first[1].pid, signal.SIGKILL)
        outcomes += run
        assert by_index(outcomes) == expected
        assert by_index(pool.run(jobs(60))) == expected  # all are there again
        assert not pids & {member.pid for member in pool.crew.members} and len(pool.crew.ready(0)) == 2
    assert sum("died" in message and "played again" in message for message in caplog.messages) == 2


@pytest.mark.ray
@pytest.mark.slow
def test_a_job_that_kills_three_workers_ends_the_run():
    pool = RayPool(maker(failure=Failure("kill", step=3, seed=105)), 2)
    with pytest.raises(
        WorkerError, match=r"job 5 \(seed 105\) has killed 3 workers.*died.*run the same command again"
    ) as caught:
        list(pool.run(jobs(12)))
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="closed"):
        list(pool.run(jobs(1)))


@pytest.mark.ray
def test_a_worker_that_dies_while_it_starts_three_times_ends_the_opening():
    def make():
        import os
        import signal

        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(WorkerError, match=r"3 workers in a row did not start.*died"):
        RayPool(make, 1)


@pytest.mark.ray
def test_a_silent_worker_is_replaced_and_found_guilty_in_the_end():
    stuck = RayPool(maker(failure=Failure("sleep", step=3, seed=102, seconds=60)), 1, silence=2.0)
    with pytest.raises(WorkerError, match=r"job 2 \(seed 102\) has killed 3 workers.*silent for [2-9] s"):
        list(stuck.run(jobs(3)))


@pytest.mark.ray
def test_a_stopped_worker_is_told_from_slow_work(monkeypatch):
    """A process that gets no more time shows no sign of life; one that sleeps in a step does, and is left to it."""
    monkeypatch.setattr(crew_module, "QUIET", 1.0)
    monkeypatch.setattr(crew_module, "DEAF", 12.0)
    slow = Failure("sleep", step=3, seed=102, seconds=20)
    with RayPool(maker(failure=slow), 1) as pool:
        assert len(list(pool.run(jobs(4)))) == 4
        (sleeper,) = pool.crew.members
        run = pool.run(jobs(40)[3:])
        next(run)
        os.kill(sleeper.pid, signal.SIGSTOP)
        start = time.monotonic()
        assert len(list(run)) == 36 and time.monotonic() - start < 100
        assert sleeper not in pool.crew.members and not os.path.exists(f"/proc/{sleeper.pid}")


@pytest.mark.ray
def test_a_second_pool_plays_on_the_same_workers(pool):
    """A search in dreams checks in reality: no processor is reserved twice."""
    with SerialPool(maker()) as serial, open_pool(maker(poison=9), 2, beside=pool) as other:
        expected = by_index(serial.run(jobs(8)))
        assert by_index(other.run(jobs(8))) == expected and by_index(pool.run(jobs(8))) == expected
        assert other.slots == pool.slots and other.crew is pool.crew
        run = other.run(jobs(8))
        next(run)
        with pytest.raises(ValueError, match="playing already"):
            next(pool.run(jobs(1)))
        run.close()
        os.kill(pool.crew.members[0].pid, signal.SIGKILL)
        assert by_index(other.run(jobs(8))) == expected  # the new worker has both runners
    assert by_index(pool.run(jobs(8))) == expected
    with SerialPool(maker()) as serial, pytest.raises(AttributeError):
        open_pool(maker(), 0, beside=serial).crew  # noqa: B018


@pytest.mark.ray
def test_another_package_of_the_same_name_in_the_folder_does_no_harm(tmp_path):
    """Ray puts the driver's folder in front of its workers' path; ours have one name that is not in it."""
    for name in ("envs", "rollouts", "agent"):
        (tmp_path / "job" / name).mkdir(parents=True)
        (tmp_path / "job" / name / "__init__.py").write_text("raise ImportError('the wrong package')")
    (tmp_path / "job" / "main.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, tmp_path / "job" / "main.py"],
        cwd=tmp_path / "job",
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.stdout.strip() == "4", done.stderr


@pytest.mark.parametrize(("folder", "kept"), [("/tmp", True), ("/" + "long/" * 20, False)])
def test_a_long_tmpdir_is_left_for_a_short_one(folder, kept, monkeypatch):
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", folder)
    assert options(None).get("_temp_dir") == (None if kept else "/tmp/ray")


@pytest.mark.ray
@pytest.mark.slow
def test_ray_of_our_own_asks_for_a_token_and_listens_here_alone(tmp_path):
    """In a process of its own, with a TMPDIR that Ray's sockets do not fit in."""
    home = tmp_path / ("x" * 90)
    home.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT + LISTENING],
        env=os.environ | {"TMPDIR": str(home)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ["4", "alone", "token"], done.stderr


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "pieces"),
    [
        ("token", ("of another version", "9.9.9", "install the same Python")),
        ("disabled", ("set RAY_AUTH_MODE=token here",)),
    ],
)
def test_a_cluster_that_refuses_is_told_in_one_line(mode, pieces):
    """A real one, whose head asks for a token and says that it is of another Ray."""
    words = [sys.executable, "-c", OTHER]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as head:
        try:
            address = head.stdout.readline().strip()
            program = f"from frmdn.rollouts.workers import RayPool; RayPool(lambda: None, 1, {address!r})"
            # Ray asks a head that refuses it twenty times, a second apart: three say the same.
            env = os.environ | {"RAY_AUTH_MODE": mode, "RAY_NUM_REDIS_GET_RETRIES": "3"}
            words = [sys.executable, "-c", program]
            done = subprocess.run(words, env=env, capture_output=True, text=True)
        finally:
            head.stdin.close()
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ValueError: the Ray cluster at") and all(piece in last for piece in pieces), done.stderr


OTHER = """
import sys
import ray
ray.__version__ = "9.9.9"
head = ray.init(address="local", include_dashboard=False, object_store_memory=2**27)
print(head.address_info["gcs_address"], flush=True)
sys.stdin.read()
"""
LISTENING = """
    import psutil
    me = psutil.Process()
    ports = [c for p in [me, *me.children(recursive=True)] for c in p.net_connections("inet") if c.status == "LISTEN"]
    print("alone" if ports and all(c.laddr.ip.removeprefix("::ffff:") == "127.0.0.1" for c in ports) else ports)
    from ray._private.authentication.authentication_utils import is_token_auth_enabled
    print("token" if is_token_auth_enabled() else "open")
"""
SCRIPT = """
from frmdn.envs.worlds.counting import counting_spec
from frmdn.envs.vector import make_slots
from frmdn.rollouts.job import Job
from frmdn.rollouts.policy import RandomPolicy
from frmdn.rollouts.run import Runner
from frmdn.rollouts.workers import RayPool

spec = counting_spec(3)
with RayPool(lambda: Runner(make_slots(spec, 2), RandomPolicy(spec.action)), 1) as pool:
    print(len(list(pool.run(Job(i, i) for i in range(4)))))
"""
