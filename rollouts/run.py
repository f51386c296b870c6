"""The only environment loop: jobs in, outcomes out, and no slot idles while a job waits."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from .episodes.episode import Episode, Origin
from .job import Job, Outcome, StallRule

if TYPE_CHECKING:
    from frmdn.envs.vector import SlotEnv, Step

    from .policy import Policy

FIRST_CAPACITY = 1024  # steps of a slot's tape before it doubles


class Tape:
    """Frames, actions and rewards of the running episodes, one row per slot; grows by doubling up to `limit` steps."""

    def __init__(self, frames: np.ndarray, actions: int, limit: int) -> None:
        slots, capacity = len(frames), min(limit, FIRST_CAPACITY)
        self.limit = limit
        self.frames = np.empty((slots, capacity + 1, *frames.shape[1:]), frames.dtype)
        self.actions = np.empty((slots, capacity, actions), np.float32)
        self.rewards = np.empty((slots, capacity), np.float32)

    def start(self, slot: int, frame: np.ndarray) -> None:
        self.frames[slot, 0] = frame

    def write(self, slots: np.ndarray, t: np.ndarray, actions: np.ndarray, step: Step) -> None:
        """Transition t of each slot: action and reward at t, the frame that follows at t + 1."""
        if t.max() >= self.rewards.shape[1]:
            self._grow()
        self.frames[slots, t + 1] = step.frames
        self.actions[slots, t] = actions
        self.rewards[slots, t] = step.rewards

    def cut(self, slot: int, steps: int, terminated: bool, job: Job) -> Episode:
        """A copy of the slot's first `steps` transitions; the tape itself is reused by the next episode."""
        return Episode(
            frames=self.frames[slot, : steps + 1].copy(),
            actions=self.actions[slot, :steps].copy(),
            rewards=self.rewards[slot, :steps].copy(),
            terminated=terminated,
            truncated=not terminated,
            seed=job.seed,
            origin=job.origin,
        )

    def _grow(self) -> None:
        capacity = self.rewards.shape[1]
        extra = min(capacity, self.limit - capacity)
        for name in ("frames", "actions", "rewards"):
            old = getattr(self, name)
            setattr(self, name, np.concatenate([old, np.empty((len(old), extra, *old.shape[2:]), old.dtype)], axis=1))


class Runner:
    """Plays jobs on the slots of `world` with `policy`: a free slot starts the next waiting job at once.

    The outcome of a job depends on the job alone, never on its slot, on the jobs before it or on those beside it.
    `max_steps` (agent steps, default: the environment's own limit) truncates an episode, `stall` ends hopeless ones,
    and `record` turns each finished Episode into the outcome's payload (frames are kept only if it is given).
    """

    def __init__(
        self,
        world: SlotEnv,
        policy: Policy,
        *,
        max_steps: int | None = None,
        stall: StallRule | None = None,
        record: Callable[[Episode], Any] | None = None,
    ) -> None:
        if max_steps is not None and max_steps < 1:
            raise ValueError(f"max_steps must be 1 or more, not {max_steps}; None keeps the environment's own limit")
        self.world, self.policy, self.stall, self.record = world, policy, stall, record
        self.limit = max_steps or world.spec.max_steps
        self.slots = world.slots
        self.alive_steps = 0  # environment steps since construction; dead slots are never stepped
        spec = world.spec
        self._queue: deque[Job] = deque()
        self._jobs: list[Job | None] = [None] * self.slots
        self._alive = np.empty(0, np.int64)  # slots with a running episode, ascending
        self._frames = np.zeros((self.slots, *spec.frame_shape), spec.frame_type)
        self._t = np.zeros(self.slots, np.int64)
        self._limit = np.full(self.slots, self.limit)  # of the episode in the slot
        self._total = np.zeros(self.slots, np.float64)
        self._gain = np.zeros(self.slots, np.int64)  # step of the last positive reward
        self._tape = Tape(self._frames, spec.action.size, self.limit) if record else None

    @property
    def pending(self) -> int:
        """Jobs taken and not yet returned as outcomes: the playing and the waiting ones."""
        return len(self._queue) + len(self._alive)

    def advance(self, jobs: Sequence[Job] = (), *, seconds: float | None = None) -> list[Outcome]:
        """Queue `jobs`, fill the free slots, and step until at least one episode has ended; return what ended.

        Returns an empty list when nothing is pending, or when `seconds` passed before any episode ended.
        Raises ValueError, naming slot, job and seed, if the policy or the environment returns a non-finite number.
        """
        self._queue.extend(jobs)
        self._fill()
        deadline = None if seconds is None else time.monotonic() + seconds
        while len(self._alive):
            outcomes = self._step()
            if outcomes or (deadline is not None and time.monotonic() > deadline):
                return outcomes
        return []

    def clear(self) -> None:
        """Forget every waiting and playing job."""
        self._queue.clear()
        self._jobs = [None] * self.slots
        self._alive = np.empty(0, np.int64)

    def close(self) -> None:
        self.world.close()

    def _fill(self) -> None:
        for slot, job in enumerate(self._jobs):
            if not self._queue:
                break
            if job is None:
                self._start(slot, self._queue.popleft())
        self._alive = np.array([slot for slot, job in enumerate(self._jobs) if job is not None], np.int64)

    def _start(self, slot: int, job: Job) -> None:
        self._jobs[slot] = job
        try:
            frame = self.world.start(slot, job.seed)
            if job.origin is not None:
                frame = self._return(slot, job.origin)
            self.policy.start(slot, job)
        except Exception as error:
            error.add_note(f"while starting {self._name(slot)}")
            raise
        self._frames[slot] = frame
        self._limit[slot] = min(self.limit, job.max_steps or self.limit)
        self._t[slot] = self._gain[slot] = 0
        self._total[slot] = 0.0
        if self._tape:
            self._tape.start(slot, frame)

    def _return(self, slot: int, origin: Origin) -> np.ndarray:
        """Play the origin's actions again: the frame after them. The episode in the slot begins there."""
        frame, row = np.empty(0), np.array([slot])
        for k, (action, reward) in enumerate(zip(origin.actions, origin.rewards, strict=True)):
            step = self.world.step(row, action[None])
            if step.rewards[0] != reward or step.terminated[0] or step.truncated[0]:
                raise ValueError(
                    f"the way back to the episode's beginning went another way at step {k}: the same seed and actions "
                    f"must bring the same rewards; collect this world with collect.returning=0"
                )
            frame = step.frames[0]
        return frame

    def _step(self) -> list[Outcome]:
        slots = self._alive
        actions = self._act(slots)
        try:
            step = self.world.step(slots, actions)
        except Exception as error:
            error.add_note("while stepping " + ", ".join(map(self._name, slots.tolist())))
            raise
        if self._tape:
            self._tape.write(slots, self._t[slots], actions, step)
        self.alive_steps += len(slots)
        self._frames[slots] = step.frames
        self._total[slots] += step.rewards  # float32 added in float64: no rounding over an episode
        t = self._t[slots] + 1
        self._t[slots] = t
        over = step.terminated | step.truncated | (t >= self._limit[slots])
        stalled = self._stalled(slots, t, step.rewards) & ~over if self.stall else np.zeros_like(over)
        ended = np.flatnonzero(over | stalled)
        if not len(ended):
            return []
        return self._finish(ended, step.terminated, stalled)

    def _act(self, slots: np.ndarray) -> np.ndarray:
        actions = np.asarray(self.policy.act(slots, self._frames[slots]), np.float32)
        shape = (len(slots), self.world.spec.action.size)
        if actions.shape != shape:
            raise ValueError(
                f"policy returned actions of shape {actions.shape} instead of {shape} for {self._name(slots[0])}"
                f"{' and the slots after it' if len(slots) > 1 else ''}"
            )
        if not np.isfinite(actions).all():
            row = int(np.flatnonzero(~np.isfinite(actions).all(axis=1))[0])
            raise ValueError(
                f"policy returned the action {actions[row].tolist()} at step {self._t[slots[row]]} of "
                f"{self._name(slots[row])}: check its parameters for NaN or overflow"
            )
        return actions

    def _stalled(self, slots: np.ndarray, t: np.ndarray, rewards: np.ndarray) -> np.ndarray:
        assert self.stall is not None
        gain = np.where(rewards > 0, t, self._gain[slots])
        self._gain[slots] = gain
        return t - gain >= self.stall.steps

    def _finish(self, ended: np.ndarray, terminated: np.ndarray, stalled: np.ndarray) -> list[Outcome]:
        """The outcomes of rows `ended` of the alive slots, which become free; what did not terminate was truncated."""
        slots = self._alive[ended]
        outcomes = [
            self._outcome(int(slot), bool(terminated[row]), bool(stalled[row]))
            for slot, row in zip(slots, ended, strict=True)
        ]
        self._alive = np.delete(self._alive, ended)
        for slot in slots:
            self._jobs[slot] = None
        return outcomes

    def _outcome(self, slot: int, terminated: bool, stalled: bool) -> Outcome:
        job, steps, total = self._jobs[slot], int(self._t[slot]), float(self._total[slot])
        assert job is not None
        if not np.isfinite(total):
            raise ValueError(f"the environment's rewards sum to {total} after {steps} steps of {self._name(slot)}")
        if stalled and self.stall and self.stall.idle_reward is not None:
            total += self.stall.idle_reward * (int(self._limit[slot]) - steps)
        payload = None
        if self._tape and self.record:
            payload = self.record(self._tape.cut(slot, steps, terminated, job))
        told = self.world.measures(slot) if self.world.spec.measures else {}
        ends = terminated, not terminated, stalled
        return Outcome(job.index, job.seed, job.candidate, total, steps, *ends, payload, told)

    def _name(self, slot: int) -> str:
        job = self._jobs[slot]
        return f"slot {slot}" if job is None else f"slot {slot} (job {job.index}, seed {job.seed})"


def run_episodes(runner: Runner, jobs: Iterable[Job]) -> Generator[Outcome, None, None]:
    """Play all jobs and yield their outcomes in the order of finishing; a freed slot gets the next job at once.

    Jobs are drawn lazily. Leaving the iteration early drops the jobs under way, and the runner can be used again.
    """
    source = iter(jobs)
    try:
        while True:
            fresh = list(islice(source, runner.slots - runner.pending))
            if not fresh and not runner.pending:
                return
            yield from runner.advance(fresh)
    finally:
        runner.clear()
