"""Whether a cluster answers is told within seconds; what a killed driver leaves behind is nothing."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from frmdn.rollouts.workers.connection import connect
from frmdn.rollouts.workers.probe import HELLO, SETTINGS, answers


@pytest.fixture
def listener():
    """Accepts connections, and says what a test puts in its `reply`; None: nothing at all."""

    class Listener:
        reply: bytes | None = None
        heard = b""

    server = socket.create_server(("127.0.0.1", 0))
    Listener.address = f"127.0.0.1:{server.getsockname()[1]}"

    def serve():
        while True:
            try:
                line, _ = server.accept()
            except OSError:
                return
            Listener.heard = line.recv(100)
            if Listener.reply is not None:
                line.sendall(Listener.reply)
                line.close()

    threading.Thread(target=serve, daemon=True).start()
    yield Listener
    server.close()


def test_a_head_is_told_from_what_only_listens(listener):
    listener.reply = bytes([0, 0, 6, SETTINGS, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 1])
    assert answers(listener.address) and listener.heard == HELLO
    listener.reply = b"HTTP/1.1 400 Bad Request\r\n\r\n"
    assert not answers(listener.address)
    listener.reply = b""
    assert not answers(listener.address)
    listener.reply = None  # a head that is stopped
    start = time.monotonic()
    assert not answers(listener.address, wait=0.3) and time.monotonic() - start < 5


@pytest.mark.parametrize("address", ["127.0.0.1:1", "no-such-machine.invalid:6379", "127.0.0.1:99999"])
def test_nobody_answers_where_nobody_is(address):
    assert not answers(address)


@pytest.mark.parametrize("address", ["machine", "machine:", ":6379", "machine:port"])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(ValueError, match="HOST:PORT"):
        answers(address)


@pytest.mark.ray
@pytest.mark.parametrize("silent", [False, True])
def test_a_wrong_address_fails_within_seconds(silent, listener):
    import ray

    if ray.is_initialized():
        ray.shutdown()
    start = time.monotonic()
    with pytest.raises(ValueError, match=r"no Ray cluster answers at '127.*start one with"):
        connect(listener.address if silent else "127.0.0.1:1")
    assert time.monotonic() - start < 15


DRIVER = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs begin with it ignored
from frmdn.envs.worlds.counting import counting_spec
from frmdn.envs.vector import make_slots
from frmdn.rollouts.job import Job
from frmdn.rollouts.policy import RandomPolicy
from frmdn.rollouts.run import Runner
from frmdn.rollouts.workers import RayPool

spec = counting_spec(1000)
pool = RayPool(lambda: Runner(make_slots(spec, 2), RandomPolicy(spec.action)), 2)
run = pool.run(Job(i, i) for i in range(10**6))
next(run)
print("plays", flush=True)
for _ in run:
    pass
"""


def family(pid):
    import psutil

    return [child.pid for child in psutil.Process(pid).children(recursive=True)]


def stays(pids):
    return [pid for pid in pids if os.path.exists(f"/proc/{pid}") and "State:\tZ" not in _status(pid)]


def _status(pid):
    try:
        return Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return "State:\tZ"


def _name(pid):
    return pid, Path(f"/proc/{pid}/cmdline").read_bytes()[:60]


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc and /dev/shm")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_nothing_stays_behind_a_driver_that_ends(number):
    """No process of Ray, no worker, no shared memory, however the driver ends; Ctrl-C works at once."""
    with subprocess.Popen([sys.executable, "-c", DRIVER], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as driver:
        assert driver.stdout.readline() == b"plays\n"
        started = family(driver.pid)
        shared = {
            os.readlink(f"/proc/{pid}/fd/{fd}")
            for pid in started
            for fd in os.listdir(f"/proc/{pid}/fd")
            if os.path.islink(f"/proc/{pid}/fd/{fd}") and "/shm/" in os.readlink(f"/proc/{pid}/fd/{fd}")
        }
        assert len(started) > 3 and shared
        begin = time.monotonic()
        driver.send_signal(number)
        driver.wait(timeout=60)
        while stays(started):
            assert time.monotonic() - begin < 100, [_name(pid) for pid in stays(started)]
            time.sleep(0.2)
        left = [path for path in shared if os.path.exists(path)]
        assert not left
