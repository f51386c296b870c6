"""The one door to Ray: how it is started, or found on a cluster, and what is asked of it.

On this machine alone, with a token, and with its refusals in one line.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from frmdn.agent.errors import shortened

from .errors import KEPT, WorkerError
from .probe import answers

OBJECT_STORE = 128 * 2**20  # bytes: results are a few MB, and Docker's /dev/shm is small
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}  # no phoning home, no notices
# Whoever reaches Ray's ports can run code as us. Those of a Ray of our own ask for the token in ~/.ray, and listen on
# this machine alone: the second name is Ray's own, and means "one machine, no cluster" on Linux as well.
# The third: seconds after which what is left of a killed program's Ray gives up looking for the rest, and ends.
ALONE = {
    "RAY_AUTH_MODE": "token",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "20",
}
# seconds: a driver that loses its head is aborted by Ray after this long, and ours has said so in one line before
PATIENT = {"RAY_gcs_rpc_server_reconnect_timeout_s": "600"}
SOCKET, SESSION = 107, 70  # characters: of a socket's path at most, and those that Ray puts behind its folder
SLOW = "timed out during startup"  # Ray gives itself 30 s, which a busy machine may need twice
SHORT = "/tmp/ray"  # Ray's own folder where there is no TMPDIR
PULSE = 5.0  # seconds between two signs of life of a worker
PULSES = b"frmdn-pulse"  # the namespace of them in Ray's store of small values

_users = 0  # pools of this process that are open on a cluster which this process has joined
_own = False  # whether the Ray that runs is one that a pool of this process started
_joined = False  # whether a pool of this process connected it to a cluster


@dataclass(frozen=True)
class Cluster:
    """Ray, connected. `own`: it was started by us on this machine, and nobody else uses it."""

    ray: Any
    own: bool
    where: str  # what people call it
    head: str  # host:port of its head

    def actor(self, made: type) -> Any:
        """`made` as an actor's class. On a cluster each reserves one processor; on a Ray of our own, waiting for one to
        be free would be a silent hang, for two pools may be open at once."""
        return self.ray.remote(num_cpus=0 if self.own else 1, max_restarts=0, scheduling_strategy="SPREAD")(made)

    def put(self, function: Callable[..., Any]) -> Any:
        """A reference to the pickled function: it is sent once to each machine. As bytes, because arrays that Ray
        itself unpickles are read-only, and a runner may need to write into its own."""
        return self.ray.put(self.pickled(function))

    def pickled(self, function: Callable[..., Any]) -> bytes:
        return bytes(self.ray.cloudpickle.dumps(function))

    def processors(self) -> tuple[float, float]:
        """Of the whole cluster, and the free ones among them."""
        return (
            float(self.ray.cluster_resources().get("CPU", 0)),
            float(self.ray.available_resources().get("CPU", 0)),
        )

    def lost(self, node: str) -> bool:
        """Whether Ray knows that this node is gone."""
        return any(each["NodeID"] == node and not each["Alive"] for each in self.ray.nodes())

    def answers(self) -> bool:
        """Whether the head of a cluster is there; a Ray of our own lives and dies with this process."""
        return self.own or answers(self.head)

    def pulses(self, names: Sequence[str]) -> list[bytes | None]:
        """The last sign of life of each worker: it changes as long as the process runs and reaches the head."""
        kv = _kv()
        return [kv._internal_kv_get(name.encode(), namespace=PULSES) for name in names]

    def forget(self, name: str) -> None:
        """The signs of life of a worker that is no more."""
        with suppress(Exception):  # the head may be gone
            _kv()._internal_kv_del(name.encode(), namespace=PULSES)

    def release(self) -> None:
        """A pool is closed. With the last one, leave a cluster that we joined: a stage that trains needs none, and Ray
        aborts the programs of a head that is lost."""
        global _users, _joined
        _users -= 1
        if _joined and _users <= 0:
            _joined = False
            with handler(signal.SIGTERM):
                self.ray.shutdown()


def _kv() -> Any:
    from ray.experimental import internal_kv

    return internal_kv


def node_asker() -> Callable[[], str]:
    """A function that says on which node it runs. Made here so that it travels by value."""

    def ask() -> str:
        import ray

        return str(ray.get_runtime_context().get_node_id())

    return ask


def beat(name: str) -> None:
    """Show signs of life from a thread of this process from now on, whatever its main thread is at."""

    def beating() -> None:
        kv, count = _kv(), 0
        while True:
            with suppress(Exception):  # the head may come back
                kv._internal_kv_put(name.encode(), str(count).encode(), overwrite=True, namespace=PULSES)
            count += 1
            time.sleep(PULSE)

    threading.Thread(target=beating, name="pulse", daemon=True).start()


def connect(address: str | None) -> Cluster:
    """Ray, connected: to what runs in this process, to `address` or RAY_ADDRESS, or to a new one on this machine.

    Raises ValueError within seconds where no cluster answers at the address, or one that refuses; WorkerError where Ray
    of our own does not start.
    """
    global _own, _joined, _users
    address = address or os.environ.get("RAY_ADDRESS")
    if address == "local":
        address = None  # Ray's own word for one of our own
    with environment(QUIET | PATIENT if address else QUIET | ALONE), handler(signal.SIGTERM):
        import ray  # inside: it reads the second of ALONE when it is imported

        if not ray.is_initialized():
            if address:
                _find(address)
            for last in (False, False, True):
                try:
                    ray.init(**options(address), log_to_driver=False, logging_level=logging.ERROR)
                    break
                except Exception as error:  # Ray raises what it likes, down to a bare Exception
                    if last or SLOW not in str(error):
                        raise refused(error, address) from error
            _own, _joined, _users = not address, bool(address), 0
            guard_token()
            _hush()
    _users += 1
    far = address is not None and address.startswith("ray://")
    head = str(address).removeprefix("ray://") if far else str(ray.get_runtime_context().gcs_address)
    return Cluster(ray, _own, f"the Ray cluster at {address!r}" if address else "Ray", head)


def _hush() -> None:
    """Ray prints what its machines report to stdout, which is for JSON; what matters, our own lines say."""
    with suppress(Exception):  # not Ray's public part
        from ray._private import worker

        worker._worker_logs_enabled = False


def _find(address: str) -> None:
    """Raise ValueError unless a head answers at the address; Ray itself tries for many minutes, deaf to Ctrl-C."""
    target: str | None = address.removeprefix("ray://")
    if address == "auto":
        from ray._private import services

        try:
            target = services.canonicalize_bootstrap_address("auto")
        except ConnectionError as error:
            raise refused(error, address) from error
        except Exception:  # not Ray's public part: let it look by itself
            return
    if target and not answers(target):
        raise refused(ConnectionError(f"nothing at {target}"), address if address != "auto" else target)


def options(address: str | None) -> dict[str, Any]:
    """Of `ray.init`, for a cluster or for a Ray of our own."""
    if address:
        return {"address": address}
    # A store of its own size: Ray would take 30 % of the memory. It moves to /tmp where /dev/shm is smaller.
    own: dict[str, Any] = {"address": "local", "include_dashboard": False, "object_store_memory": OBJECT_STORE}
    folder = os.path.join(os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "", "ray")
    if os.name == "posix" and len(folder.encode()) + SESSION > SOCKET:  # no socket may be called so
        own["_temp_dir"] = SHORT
    return own


def refused(error: Exception, address: str | None) -> Exception:
    """What Ray says, as one line with a remedy."""
    text = " ".join(" ".join(map(str, _reasons(error))).split())
    if address and "Version mismatch" in text:
        return ValueError(
            f"the Ray cluster at {address!r} is of another version ({text}): install the same Python and the same ray "
            "on all machines"
        )
    if "InvalidAuthToken" in text or "AuthenticationError" in text:
        return ValueError(
            f"the Ray cluster at {address!r} asks for a token: set RAY_AUTH_MODE=token here too, and copy "
            "~/.ray/auth_token from its first machine"
        )
    if address and isinstance(error, ConnectionError):
        return ValueError(
            f"no Ray cluster answers at {address!r}; start one with `ray start --head --port 6379`, and name its "
            "first machine as HOST:6379"
        )
    where = f"the Ray cluster at {address!r}" if address else "Ray"
    return WorkerError(f"{where} did not start ({shortened(text, 300)}); {KEPT}. --workers 0 works without Ray")


def _reasons(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and what it was raised from: Ray tells the reason deep down."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def guard_token() -> None:
    """Ray leaves its token readable by all who can look into the home."""
    with suppress(OSError):
        os.chmod(os.path.expanduser("~/.ray/auth_token"), 0o600)


@contextmanager
def handler(number: signal.Signals) -> Iterator[None]:
    """Leave the handler of a signal to the program: Ray's own prints a trace of its C++ and aborts."""
    before = signal.getsignal(number)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(number, before)


@contextmanager
def environment(extra: dict[str, str]) -> Iterator[None]:
    """Environment variables for the processes started inside, unless the user has set them."""
    added = {name: value for name, value in extra.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
