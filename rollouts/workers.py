"""Runners in this process or in Ray workers, behind one interface. The only file that imports ray."""

from __future__ import annotations

import logging
import os
import re
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from frmdn.envs.errors import MissingExtra

from .connection import ALONE, KEPT, QUIET, REMEDY, SLOW, environment, guard_token, handler, options, refused
from .host import WorkerError, check_code, host_class
from .job import Job, Outcome
from .run import Runner, run_episodes

BEAT = 5.0  # seconds after which a worker reports even if no episode ended: proof that it lives
MISTAKES = (ValueError, FileNotFoundError, MissingExtra)  # the user's, where a runner is made
COLOUR = re.compile(r"\x1b\[[0-9;]*m")  # Ray paints its tracebacks
_pools: list[RayPool] = []  # that are open in this process
_local_ray = False  # whether the Ray that runs is one that a pool of this process started


class WorkerPool(Protocol):
    """Plays jobs somewhere. Which kind of pool, and how many workers, never changes an outcome."""

    workers: int  # 0: this process
    slots: int  # of all workers together

    def run(self, jobs: Iterable[Job]) -> Iterator[Outcome]:
        """The outcomes of the jobs in the order of finishing; may be called again and again."""

    def close(self) -> None: ...

    def __enter__(self) -> WorkerPool: ...

    def __exit__(self, *error: object) -> None: ...


def open_pool(make: Callable[[], Runner], workers: int, address: str | None = None) -> WorkerPool:
    """A pool of `workers` Ray processes that each play on a runner `make()`; workers=0 plays in this process.

    `make` travels to the workers by pickle. `address` is that of a running Ray cluster ("auto", "host:6379").
    """
    if workers < 0:
        raise ValueError(f"workers must be 0 (this process) or more, not {workers}")
    return RayPool(make, workers, address) if workers else SerialPool(make)


class SerialPool:
    """One runner in this process, which plays on one thread as a worker does: threads change the last digits."""

    workers = 0

    def __init__(self, make: Callable[[], Runner]) -> None:
        self._runner = make()
        self.slots = self._runner.slots

    def run(self, jobs: Iterable[Job]) -> Iterator[Outcome]:
        threads = torch.get_num_threads()
        outcomes = run_episodes(self._runner, jobs)
        try:
            while True:
                torch.set_num_threads(1)
                try:
                    outcome = next(outcomes, None)
                finally:
                    torch.set_num_threads(threads)
                if outcome is None:
                    return
                yield outcome
        finally:
            outcomes.close()

    def close(self) -> None:
        self._runner.close()

    def __enter__(self) -> SerialPool:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


@dataclass(eq=False)
class Member:
    """One worker as the driver sees it."""

    index: int
    actor: Any
    pid: int = 0
    host: str = ""
    slots: int = 0
    jobs: list[Job] = field(default_factory=list)  # what it is playing
    call: Any = None  # the advance under way
    heard: float = field(default_factory=time.monotonic)

    def advance(self, jobs: list[Job]) -> None:
        self.jobs += jobs
        self.call = self.actor.advance.remote(jobs, BEAT) if self.jobs else None
        self.heard = time.monotonic()

    def settle(self, outcomes: list[Outcome]) -> None:
        """Strike finished jobs off; compared by what identifies them, for they went through pickle."""
        for done in outcomes:
            key = (done.index, done.seed, done.candidate)
            position = [(job.index, job.seed, job.candidate) for job in self.jobs].index(key)
            del self.jobs[position]

    def __str__(self) -> str:
        jobs = ", ".join(f"{job.index} (seed {job.seed})" for job in self.jobs[:8])
        more = f" and {len(self.jobs) - 8} more" if len(self.jobs) > 8 else ""
        return f"worker {self.index} (pid {self.pid} on {self.host}; jobs: {jobs or 'none'}{more})"


class RayPool:
    """`workers` Ray actors, one thread and one runner each; a worker gets a job as soon as a slot of it is free.

    A worker that raises, dies, or says nothing for `silence` seconds ends the run with WorkerError and closes the pool.
    Where `make` itself raises one of MISTAKES, it is raised here as it is, as it would be without workers.
    Ray is started if none runs in this process, and left running until the process ends, for the next pool; `close`
    stops this pool's actors only. On a cluster (`address`, or Ray started by the caller) each worker reserves one CPU.
    """

    def __init__(
        self, make: Callable[[], Runner], workers: int, address: str | None = None, *, silence: float = 300.0
    ) -> None:
        if workers < 1:
            raise ValueError(f"workers must be 1 or more, not {workers}")
        self.workers, self.silence = workers, silence
        self._members: list[Member] = []
        self._ray = _connect(address)
        # On a Ray of our own, waiting for a CPU to be free would be a silent hang: two pools may be open at once.
        actor = self._ray.remote(num_cpus=0 if _local_ray else 1, max_restarts=0)(host_class())
        try:
            self._members = [Member(index, actor.remote()) for index in range(workers)]
            self._open(make)
        except BaseException:
            self.close()
            raise
        self.slots = sum(member.slots for member in self._members)
        _pools.append(self)

    def run(self, jobs: Iterable[Job]) -> Iterator[Outcome]:
        if not self._members:
            raise ValueError("this pool is closed; open another one")
        if any(member.call for member in self._members):
            raise ValueError("this pool is playing already; finish or close the iteration of the run before")
        queue = deque(jobs)
        try:
            for member, share in zip(self._members, self._shares(queue), strict=True):
                member.advance(share)
            while any(member.call for member in self._members):
                yield from self._collect(queue)
        except WorkerError:
            self.close()
            raise
        finally:
            self._drop()

    def close(self) -> None:
        if self._ray.is_initialized():  # else the caller shut Ray down, and the actors with it
            for member in self._members:
                self._ray.kill(member.actor)
        self._members = []
        if self in _pools:
            _pools.remove(self)

    def __enter__(self) -> RayPool:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _open(self, make: Callable[[], Runner]) -> None:
        """Prepare all workers side by side, and see that they run the driver's code before they run any of it."""
        here = host_class()().survey()
        self._all("prepare", os.getcwd())  # it may be another one than when Ray was started
        for member, there in zip(self._members, self._all("survey"), strict=True):
            member.pid, member.host = there["pid"], there["host"]
            check_code(here, there)
        # Bytes, because arrays that Ray itself unpickles are read-only, and a runner may need to write into its own.
        recipe = self._ray.put(self._ray.cloudpickle.dumps(make))
        for member, slots in zip(self._members, self._all("open", recipe), strict=True):
            member.slots = slots

    def _all(self, method: str, *args: Any) -> list[Any]:
        calls = [getattr(member.actor, method).remote(*args) for member in self._members]
        ready, _ = self._ray.wait(calls, num_returns=len(calls), timeout=self.silence)
        if len(ready) < len(calls):
            free = self._ray.available_resources().get("CPU", 0)
            raise WorkerError(
                f"{len(calls) - len(ready)} of {self.workers} workers did not start within {self.silence:.0f} s "
                f"({free:.0f} CPUs are free on Ray); ask for fewer workers"
            )
        return [self._get(member, call) for member, call in zip(self._members, calls, strict=True)]

    def _shares(self, queue: deque[Job]) -> list[list[Job]]:
        """The first jobs, dealt in turn, so that few jobs are spread over all workers."""
        shares: list[list[Job]] = [[] for _ in self._members]
        for _ in range(max(member.slots for member in self._members)):
            for member, share in zip(self._members, shares, strict=True):
                if queue and len(share) < member.slots:
                    share.append(queue.popleft())
        return shares

    def _collect(self, queue: deque[Job]) -> list[Outcome]:
        """Wait for workers that report, give them their next jobs, and only then hand on what they found."""
        busy = [member for member in self._members if member.call]
        calls = [member.call for member in busy]
        oldest = min(member.heard for member in busy)
        timeout = max(0.0, oldest + self.silence - time.monotonic())
        self._ray.wait(calls, num_returns=1, timeout=timeout)
        ready, _ = self._ray.wait(calls, num_returns=len(calls), timeout=0)
        found: list[Outcome] = []
        for member in busy:
            if member.call in ready:
                outcomes = self._get(member, member.call)
                member.settle(outcomes)
                member.advance([queue.popleft() for _ in range(min(len(queue), member.slots - len(member.jobs)))])
                found += outcomes
            elif time.monotonic() - member.heard > self.silence:
                raise WorkerError(f"{member} has been silent for {self.silence:.0f} s; {REMEDY}")
        return found

    def _get(self, member: Member, call: Any) -> Any:
        errors = self._ray.exceptions
        try:
            return self._ray.get(call)
        except errors.RayTaskError as error:
            cause = getattr(error, "cause", error)
            notes = "".join(f" ({note})" for note in getattr(cause, "__notes__", ()))
            failure = WorkerError(f"{member} raised {type(cause).__name__}: {cause}{notes}; {KEPT}")
            failure.add_note(f"In the worker:\n{COLOUR.sub('', str(error))}")
            if isinstance(cause, MISTAKES) and not member.slots:  # while its runner was made
                raise cause from failure
            raise failure from cause
        except errors.RayError as error:
            reason = " ".join(str(error).split())[:600]
            raise WorkerError(f"{member} died: {reason}; {REMEDY}") from error

    def _drop(self) -> None:
        """After an iteration left early: the workers forget its jobs before they see those of the next run."""
        for member in self._members:
            if member.call:
                member.actor.clear.remote()
                member.call, member.jobs = None, []


def crew() -> list[tuple[str, int]]:
    """Host and process id of every worker of the pools that are open in this process."""
    pools = tuple(_pools)  # at once: another thread may ask while a pool opens
    return sorted((member.host, member.pid) for pool in pools for member in pool._members)


def _connect(address: str | None) -> Any:
    """The ray module, connected: to what runs in this process, to `address` or RAY_ADDRESS, or to a new local one."""
    global _local_ray
    address = address or os.environ.get("RAY_ADDRESS")
    with environment(QUIET if address else QUIET | ALONE), handler(signal.SIGTERM):
        import ray  # inside: it reads the second of ALONE when it is imported

        if ray.is_initialized():
            return ray
        for last in (False, False, True):
            try:
                ray.init(**options(address), log_to_driver=False, logging_level=logging.ERROR)
                break
            except Exception as error:  # Ray raises what it likes, down to a bare Exception
                if last or SLOW not in str(error):
                    raise refused(error, address) from error
    _local_ray = not address
    guard_token()
    return ray
