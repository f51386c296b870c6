"""The workers of this process on a Ray: started, watched, and replaced when they are lost."""

from __future__ import annotations

import logging
import os
import re
import signal
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from frmdn.agent.errors import MissingExtra, shortened

from ..job import Job
from ..run import Runner
from .connection import Cluster, beat, node_asker
from .errors import KEPT, REMEDY, WorkerError
from .host import check_code, host_class
from .member import Member, Report, Stage

BEAT = 5.0  # seconds after which a worker reports even if no episode ended
TICK = 1.0  # seconds that one look at the workers waits at most
QUIET = 10.0  # seconds without a report, after which a worker's signs of life are looked at
DEAF = 20.0  # seconds without a sign of life: the process is stopped, or its machine cut off
ROOM = 10.0  # seconds that a cluster has to find a free processor
START = 300.0  # seconds for a worker to be started and to prepare itself
ABSENCE = 60.0  # seconds without any worker, while a cluster looks for room, until a run ends
LOOKS = 4  # times in a row, a BEAT apart, that a cluster's head may not answer
PAUSE = 30.0  # seconds at most between two tries to start a worker that does not start
STARTS = 3  # workers in a row that may die while they start
MISTAKES = (ValueError, FileNotFoundError, MissingExtra)  # the user's, where a runner is made
NODE_LOST = "node has died"  # Ray's words
NAMES = re.compile(r"\b(class_name|actor_id|namespace|pid|ip|name|Node Id): \S+ ?")  # Ray's, which tell people nothing
COLOUR = re.compile(r"\x1b\[[0-9;]*m")  # Ray paints its tracebacks

say = logging.getLogger("frmdn.workers").warning


_open: list[Crew] = []  # of this process


def at_work() -> list[tuple[str, int]]:
    """Host and process id of every worker of the pools that are open in this process."""
    crews = tuple(_open)  # at once: another thread may ask while a pool opens
    return sorted((member.host, member.pid) for crew in crews for member in crew.members if member.pid)


class _Lost(Exception):
    """A worker that does not answer any more; the message is Ray's reason."""


class Crew:
    """`size` places for workers. A place whose worker is lost is filled again as soon as there is room for one.

    Pools that never play at once share a crew: every worker has a runner for each `recipe`.
    """

    def __init__(self, cluster: Cluster, size: int, silence: float) -> None:
        self.cluster, self.size, self.silence = cluster, size, silence
        self._places: list[Member | None] = [None] * size
        self._due = [0.0] * size  # when an empty place may be filled
        self._recipes: dict[int, Any] = {}  # reference to the pickled factory, by key
        self._failed = 0  # starts in a row that did not end in a worker
        self._reason = ""  # of the last loss
        self._short = False  # whether it was said that there is no room for all
        self._present = self._looked = time.monotonic()
        self._deaf_looks = 0  # in a row, that the head did not answer
        self._gathering = self._playing = False
        self._actor = cluster.actor(host_class())
        self._here = host_class()().survey()
        self._node, self._folder = cluster.pickled(node_asker()), os.getcwd()
        _open.append(self)

    @property
    def members(self) -> list[Member]:
        return [member for member in self._places if member is not None]

    def ready(self, key: int) -> list[Member]:
        """Those that can be asked to play on the runner of this key."""
        return [m for m in self.members if m.stage is Stage.READY and m.call is None and key in m.slots]

    def hire(self, make: Callable[[], Runner]) -> int:
        """A runner `make()` in every worker: its key. Returns when all of them, or all that there is room for, have it.

        Raises:
            WorkerError: a worker runs other code, `make` fails there, or none starts.
            ValueError: the cluster has no processor for any; a pool plays, or the crew is closed. One of MISTAKES that
                `make` raises comes as it is. Whatever is raised here closes the crew.
        """
        self._check_open()
        key = len(self._recipes)
        self._recipes[key] = self.cluster.put(make)
        for member in self.members:
            if member.stage is Stage.READY:
                self._prepare(member)
        self._gathering, begin = True, time.monotonic()
        self._present = begin
        try:
            while len(self.ready(key)) < self.size and not self._settled(key, begin):
                self.poll()
        except BaseException:  # some workers would wait for a runner that never comes
            self.close()
            raise
        finally:
            self._gathering = False
        return key

    def begin(self) -> None:
        """A pool begins to play. Raises ValueError where another one does."""
        self._check_open()
        self._playing, self._deaf_looks, self._present = True, 0, time.monotonic()

    def play(self, member: Member, key: int, fresh: list[Job], held: list[Job]) -> None:
        """Let a worker play `fresh` jobs on the runner of this key, beside the others that it holds."""
        member.jobs = held
        member.ask("advance", key, fresh, BEAT)

    def poll(self) -> list[Report]:
        """Fill empty places, wait for a worker that answers, at most TICK, and return what those that play report.

        Raises WorkerError where a worker raised, or none is left.
        """
        self._fill()
        calls = {member.call: member for member in self.members if member.call is not None}
        if calls:
            self.cluster.ray.wait(list(calls), num_returns=1, timeout=TICK)
            answered, _ = self.cluster.ray.wait(list(calls), num_returns=len(calls), timeout=0)
        else:
            time.sleep(TICK / 10)
            answered = []
        reports = [report for call in answered if (report := self._hear(calls[call]))]
        reports += self._watch()
        self._check_presence()
        return reports

    def drop(self) -> None:
        """A pool is done: workers that still play forget their jobs before they see any other."""
        self._playing = False
        for member in self.members:
            if member.stage is Stage.READY and (member.call is not None or member.jobs):
                member.actor.clear.remote()
                member.call, member.jobs = None, []

    def close(self) -> None:
        if self not in _open:
            return
        _open.remove(self)
        if self.cluster.ray.is_initialized():  # else the caller shut Ray down, and the actors with it
            for member in self.members if self._deaf_looks < LOOKS else ():  # a lost head answers no call
                self._end(member)
            self.cluster.release()
        self._places = []

    def _check_open(self) -> None:
        if self not in _open:
            raise ValueError("this pool is closed; open another one")
        if self._playing:
            raise ValueError("this pool is playing already; finish or close the iteration of the run before")

    def _fill(self) -> None:
        now = time.monotonic()
        for index, member in enumerate(self._places):
            if member is None and now >= self._due[index]:
                new = Member(index, self._actor.remote(), f"worker-{uuid.uuid4().hex}")
                new.ask("survey", self._node)
                self._places[index] = new

    def _hear(self, member: Member) -> Report | None:
        """Take a worker's answer: a report of one that plays; one that starts is asked for the next thing."""
        try:
            answer = self._answer(member)
            if member.stage is Stage.READY:
                return Report(member, answer)
            self._next(member, answer)
        except _Lost as lost:
            return self._lose(member, f"died: {lost}")
        except WorkerError as error:
            if self._gathering or member.stage is Stage.READY:
                raise
            why = str(error).removeprefix(f"{member} ").removesuffix(f"; {KEPT}")
            self._lose(member, f"cannot play: {why}")  # one that came later; the others go on
        return None

    def _next(self, member: Member, answer: Any) -> None:
        if member.stage is Stage.ASKED:
            member.pid, member.host, member.node = answer["pid"], answer["host"], answer["node"]
            member.stage = Stage.PLACED
            check_code(self._here, answer)
            # it may be another folder than when Ray was started
            member.ask("prepare", self._folder, self.cluster.pickled(partial(beat, member.name)))
            return
        if answer is not None:
            member.slots[len(member.slots)] = answer
        self._prepare(member)

    def _prepare(self, member: Member) -> None:
        """Let a worker make the runners that it lacks, one after the other."""
        key = len(member.slots)
        if key in self._recipes:
            member.stage = Stage.PLACED
            member.ask("open", key, self._recipes[key])
            return
        if member.stage is not Stage.READY and not self._gathering:
            say(f"worker {member.index} (pid {member.pid} on {member.host}) joins")
        member.stage, self._failed = Stage.READY, 0

    def _answer(self, member: Member) -> Any:
        call, member.call = member.call, None
        member.heard = time.monotonic()
        errors = self.cluster.ray.exceptions
        try:
            return self.cluster.ray.get(call)
        except errors.RayTaskError as error:
            cause = getattr(error, "cause", error)
            notes = "".join(f" ({note})" for note in getattr(cause, "__notes__", ()))
            failure = WorkerError(f"{member} raised {type(cause).__name__}: {cause}{notes}; {KEPT}")
            failure.add_note(f"In the worker:\n{COLOUR.sub('', str(error))}")
            if isinstance(cause, MISTAKES) and self._gathering:  # while its runner was made
                raise cause from failure
            raise failure from cause
        except errors.RayError as error:
            raise _Lost(_plain(error)) from error

    def _lose(self, member: Member, why: str) -> Report | None:
        """A worker is no more: its place is free. Its jobs, if it had any, are the pool's to play again."""
        played, known = member.stage is Stage.READY, member.stage is not Stage.ASKED
        headed = self.cluster.answers()  # or each of these questions would wait for minutes
        gone = NODE_LOST in why or (
            bool(member.node) and not self.cluster.own and headed and self.cluster.lost(member.node)
        )
        if headed:
            self._end(member)
        self._reason = f"{member if known else f'worker {member.index}'} {why}"
        self._failed = self._failed if played or gone else self._failed + 1
        pause = min(PAUSE, 2.0**self._failed) if self._failed else 0.0
        self._places[member.index], self._due[member.index] = None, time.monotonic() + pause
        # Of one that only waited for a place, nobody has heard; a machine where none can start is named a few times.
        if (known or self.cluster.own) and (played or self._failed <= STARTS):
            say(f"{self._reason}; {'its jobs are played again' if played else 'another one is tried'}")
        return Report(member, lost=self._reason, blame=not gone) if played else None

    def _end(self, member: Member) -> None:
        with suppress(Exception):  # its machine may be gone
            self.cluster.ray.kill(member.actor)
        if member.pid and member.host == self._here["host"] and self.cluster.own:
            with suppress(OSError):  # Ray asks a process to go, and one that is stopped does not hear it
                os.kill(member.pid, signal.SIGKILL)
        self.cluster.forget(member.name)

    def _watch(self) -> list[Report]:
        """Give up silent workers: those without a sign of life soon, those that may only be slow after `silence`."""
        now, reports = time.monotonic(), []
        # On a cluster one may wait for a processor as long as it takes; Ray of our own has a place for each.
        busy = [m for m in self.members if m.call is not None and (self.cluster.own or m.stage is not Stage.ASKED)]
        silent = [m for m in busy if now - m.heard > (self.silence if m.stage is Stage.READY else START)]
        # One that prepares itself gives its first signs when it can, on a busy machine late.
        quiet = [m for m in busy if now - m.heard > QUIET and m.stage is Stage.READY and m not in silent]
        if now - self._looked > BEAT:
            self._looked = now
            self._deaf_looks = 0 if self.cluster.answers() else self._deaf_looks + 1
            if self._deaf_looks >= LOOKS:
                raise WorkerError(f"the head of {self.cluster.where} no longer answers; {KEPT}")
            if self._deaf_looks:
                return []
            for member, sign in zip(quiet, self.cluster.pulses([m.name for m in quiet]), strict=True):
                if sign is not None and sign != member.sign:
                    member.sign, member.signed = sign, time.monotonic()
                elif now - member.signed > DEAF:
                    why = f"shows no sign of life for {now - member.signed:.0f} s (stopped, or cut off)"
                    reports.append(self._lose(member, why))
        for member in silent:
            reports.append(self._lose(member, f"has been silent for {now - member.heard:.0f} s"))
        return [report for report in reports if report is not None]

    def _settled(self, key: int, begin: float) -> bool:
        """While workers start: whether to begin without those that find no room."""
        waiting = [member for member in self.members if member.stage is Stage.ASKED]
        passed = time.monotonic() - begin
        if self.cluster.own or passed < ROOM or len(waiting) + len(self.ready(key)) < self.size:
            return False
        total, free = self.cluster.processors()
        if free >= 1 and passed < START:
            return False
        count = len(self.ready(key))
        if not count:
            raise ValueError(
                f"{self.cluster.where} has {total:.0f} processors, of which {free:.0f} are free, and each of the "
                f"{self.size} workers takes one: wait until others have finished, or let more machines join"
            )
        if not self._short:
            say(
                f"{self.cluster.where} has {total:.0f} processors, and each of the {self.size} workers takes one: "
                f"{count} play, the others join as soon as there is room"
            )
        self._short = True
        return True

    def _check_presence(self) -> None:
        """Raise WorkerError where nobody is left, and nobody comes."""
        now = time.monotonic()
        stages = {member.stage for member in self.members}
        if self._failed >= STARTS and (self._gathering or Stage.READY not in stages):
            raise WorkerError(f"{self._failed} workers in a row did not start. The last: {self._reason}; {REMEDY}")
        if stages - {Stage.ASKED}:
            self._present = now
        patience = START if self.cluster.own or self._gathering else ABSENCE
        if now - self._present > patience:
            last = f" The last: {self._reason}." if self._reason else ""
            raise WorkerError(f"no worker is left on {self.cluster.where} for {patience:.0f} s.{last} {REMEDY}")


def _plain(error: Exception) -> str:
    """Ray's reason in one line, short."""
    return shortened(NAMES.sub("", " ".join(str(error).split())).strip(), 400)
