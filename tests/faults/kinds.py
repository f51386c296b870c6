"""What goes wrong: each kind happens at one event, says how the command must end, and is put right afterwards."""

from __future__ import annotations

import datetime
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from .child import Command, Ended
from .tiny import words

FILLER = "filler"


class Broken(AssertionError):
    """A promise was not kept."""


@dataclass
class Trial:
    """One fault: in which folder, and at which event of which stage."""

    folder: Path
    log: Path
    rng: Random
    stage: str
    number: int  # of the events of that stage, from 0

    def once(self, act: Callable[[], Any]) -> Callable[[str], None]:
        """An event handler that acts at the event of this trial."""
        counts: dict[str, int] = {}

        def happen(stage: str) -> None:
            counts[stage] = counts.get(stage, -1) + 1
            if (stage, counts[stage]) == (self.stage, self.number):
                act()

        return happen

    def run(self, fault: Callable[[str], None] | None = None) -> Ended:
        return Command(words(self.folder), self.log, fault).wait()


Kind = Callable[[Trial], None]  # lets it happen, checks how the command ends, and leaves a folder to go on with


def must(true: bool, what: str, ended: Ended) -> None:
    if not true:
        raise Broken(f"{what}: exit code {ended.code}, said: {ended.said[-1500:]}")


def one_line(ended: Ended, *says: str) -> None:
    must(ended.code in (1, 2) and ended.clear, "it must end with one line", ended)
    must(any(word in ended.line for word in says), f"the line must speak of {' or '.join(says)}", ended)


def killed(trial: Trial) -> None:
    """SIGKILL, in the middle of whatever it does."""
    ended = trial.run(trial.once(lambda: os.kill(os.getpid(), signal.SIGKILL)))
    must(ended.code == -signal.SIGKILL, "it must have been killed", ended)


def raises(trial: Trial) -> None:
    """The environment raises."""

    def act() -> None:
        raise RuntimeError("the wheel came off")

    one_line(trial.run(trial.once(act)), "the wheel came off")


def hangs(trial: Trial) -> None:
    """The environment never answers, and somebody presses Ctrl-C, or sends SIGTERM."""
    mark = trial.folder.parent / "hangs"
    mark.unlink(missing_ok=True)

    def act() -> None:
        mark.touch()
        time.sleep(1000)

    command = Command(words(trial.folder), trial.log, trial.once(act))
    while not mark.exists() and time.monotonic() - command.begun < 200:
        time.sleep(0.005)
    chosen, code = trial.rng.choice(((signal.SIGINT, 130), (signal.SIGTERM, 143)))
    os.kill(command.pid, chosen)
    ended = command.wait()
    must(ended.code == code and ended.clear and "interrupted" in ended.line, "it must end as it is told", ended)


def not_a_number(trial: Trial) -> None:
    """A step's reward is NaN."""
    from frmdn.envs.worlds.counting import CountingEnv

    step, wrong = CountingEnv.step, [False]

    def stepped(self: CountingEnv, action: Any) -> Any:
        found = list(step(self, action))
        if wrong[0]:
            found[1], wrong[0] = float("nan"), False
        return tuple(found)

    def act() -> None:
        wrong[0] = True

    CountingEnv.step = stepped  # type: ignore[method-assign]
    try:
        one_line(trial.run(trial.once(act)), "nan", "NaN", "finite")
    finally:
        CountingEnv.step = step  # type: ignore[method-assign]


# Disks


def mounted(folder: Path, *options: str) -> bool:
    return subprocess.run(["mount", *options, str(folder)], capture_output=True).returncode == 0


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """A file system of its own, where that is permitted."""
    there = mounted(folder, "-t", "tmpfs", "-o", "size=64m", "tmpfs")
    try:
        yield there
    finally:
        if there:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def full(trial: Trial) -> None:
    """The disk is full but for some bytes: the next writes fail in their middle."""
    filler = trial.folder.parent / FILLER
    room = trial.rng.choice((0, 0, 4096, 8192, 16384))

    def act() -> None:
        free = os.statvfs(filler.parent)
        with filler.open("wb") as file:
            file.write(bytes(max(0, free.f_bavail * free.f_frsize - room)))

    ended = trial.run(trial.once(act))
    filler.unlink(missing_ok=True)
    if ended.code:  # what was left to write may have found its room
        one_line(ended, "space")


def read_only(trial: Trial) -> None:
    """The file system can only be read from now on."""
    place = trial.folder.parent

    def act() -> None:
        subprocess.run(["mount", "-o", "remount,ro,size=64m", str(place)], capture_output=True)

    ended = trial.run(trial.once(act))
    subprocess.run(["mount", "-o", "remount,rw,size=64m", str(place)], check=True)
    if ended.code:
        one_line(ended, "can only be read")


# Time, halves, and company


def clock(trial: Trial) -> None:
    """The clock on the wall jumps by years, forwards or back; the second command sees it where it was."""
    from frmdn.pipeline import workspace

    years = trial.rng.choice((-20, -1, 1, 10)) * 365.25 * 86400
    real, moment = time.time, workspace.datetime

    class Moved(datetime.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return moment.now(tz) + datetime.timedelta(seconds=years)

    def act() -> None:
        time.time = lambda: real() + years
        workspace.datetime = Moved  # type: ignore[misc]
        if again:
            os.kill(os.getpid(), signal.SIGKILL)

    again = trial.rng.random() < 0.5
    ended = trial.run(trial.once(act))
    must(ended.code == (-signal.SIGKILL if again else 0), "it must not care", ended)


def halves(trial: Trial) -> None:
    """Killed, and then a file is found cut: healed, or named with a remedy that mends it."""
    killed(trial)
    config = (trial.folder / "config.json").read_bytes() if (trial.folder / "config.json").exists() else b""
    files = sorted(path for path in trial.folder.rglob("*") if path.is_file() and path.name not in (".lock", "log.txt"))
    # A kill tears what was being written. What a finished stage left is read, and named, only by whoever needs it.
    files = [path for path in files if not any((above / "done.json").exists() for above in path.parents)]
    if not files:
        return
    victim = trial.rng.choice(files)
    data = victim.read_bytes()
    victim.write_bytes(data[: trial.rng.randrange(len(data) + 1)])
    for _ in range(4):
        ended = trial.run()
        if ended.code == 0:
            return
        one_line(ended, str(victim), str(victim.parent))
        if victim.name == "config.json":
            victim.write_bytes(config)  # "restore it from a copy"
        else:
            victim.unlink(missing_ok=True)  # "delete it"
    raise Broken(f"{victim.relative_to(trial.folder)} was cut, and its remedy does not help: {ended.line}")


def second(trial: Trial) -> None:
    """The same command once more while the first one is at work."""
    here, go = trial.folder.parent / "paused", trial.folder.parent / "go"
    for mark in (here, go):
        mark.unlink(missing_ok=True)

    def act() -> None:
        here.touch()
        while not go.exists():
            time.sleep(0.005)

    first = Command(words(trial.folder), trial.log, trial.once(act))
    while not here.exists():
        time.sleep(0.005)
    other = Command(words(trial.folder), trial.log.with_suffix(".second")).wait()
    go.touch()
    one_line(other, f"in use by process {first.pid}")
    ended = first.wait()
    must(ended.code == 0, "the first one must not notice", ended)


KINDS: dict[str, Kind] = {
    "driver killed": killed,
    "environment raises": raises,
    "environment hangs": hangs,
    "environment returns NaN": not_a_number,
    "disk full": full,
    "read-only folder": read_only,
    "clock jumps": clock,
    "file cut": halves,
    "second run": second,
}
PLAYED = ("environment raises", "environment hangs", "environment returns NaN")
MOUNTED = ("disk full", "read-only folder")
