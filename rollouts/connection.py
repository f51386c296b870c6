"""How Ray is started, or found on a cluster: on this machine alone, with a token, and with its refusals in one line."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from .host import WorkerError

OBJECT_STORE = 128 * 2**20  # bytes: results are a few MB, and Docker's /dev/shm is small
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}  # no phoning home, no notices
# Whoever reaches Ray's ports can run code as us. Those of a Ray of our own ask for the token in ~/.ray, and listen on
# this machine alone: the second name is Ray's own, and means "one machine, no cluster" on Linux as well.
ALONE = {"RAY_AUTH_MODE": "token", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
SOCKET, SESSION = 107, 70  # characters: of a socket's path at most, and those that Ray puts behind its folder
SLOW = "timed out during startup"  # Ray gives itself 30 s, which a busy machine may need twice
SHORT = "/tmp/ray"  # Ray's own folder where there is no TMPDIR
KEPT = "what is finished is kept: run the same command again, and it resumes"
HINT = "If memory ran out, use fewer workers or slots; if an environment crashed, workers=0 shows its own messages"
REMEDY = f"{KEPT}. {HINT}"


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
        return ValueError(f"no Ray cluster answers at {address!r}; start one with `ray start --head`")
    where = f"the Ray cluster at {address!r}" if address else "Ray"
    return WorkerError(f"{where} did not start ({text[:300]}); {KEPT}. --workers 0 works without Ray")


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
