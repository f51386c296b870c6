"""A worker killed with SIGKILL while it plays. Whether the run goes on by itself or ends in one line is left to it."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

import psutil

from .child import Command
from .kinds import Broken, Trial, one_line
from .tiny import words

WORKERS = "worker killed"
CALLS = 4  # of the same command until the run must be whole


def worker_killed(trial: Trial) -> float:
    """Kill one worker at the event of this trial, and call the command until it is done; the seconds that it took."""

    def act() -> None:
        players = [each for each in psutil.Process().children(recursive=True) if _plays(each)]
        if players:
            os.kill(trial.rng.choice(sorted(each.pid for each in players)), signal.SIGKILL)

    ended = Command(words(trial.folder, workers=2), trial.log, trial.once(act)).wait()
    begun = time.monotonic()
    for _ in range(CALLS):
        if ended.code == 0:
            return time.monotonic() - begun
        one_line(ended, "died", "worker")
        ended = Command(words(trial.folder, workers=2), trial.log).wait()
    raise Broken(f"{CALLS} calls of the same command did not finish the run: {ended.line}")


def _plays(process: psutil.Process) -> bool:
    """Whether a process is one of Ray's actors that plays for us."""
    with suppress(psutil.Error):
        return "ray::Host" in " ".join(process.cmdline())
    return False
