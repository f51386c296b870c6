"""One worker as the driver sees it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from ..job import Job, Outcome


class Stage(Enum):
    """How far a worker is."""

    ASKED = "has no place yet"
    PLACED = "is started somewhere, and prepares itself"
    READY = "plays when it gets jobs"


@dataclass(eq=False)
class Member:
    """One worker. It is asked one thing at a time; `call` is what it has not answered yet."""

    index: int
    actor: Any
    name: str  # of its signs of life
    stage: Stage = Stage.ASKED
    pid: int = 0
    host: str = ""
    node: str = ""
    slots: dict[int, int] = field(default_factory=dict)  # of its runners, by the key of their recipe
    jobs: list[Job] = field(default_factory=list)  # what it plays
    call: Any = None
    heard: float = field(default_factory=time.monotonic)  # when it last answered, or was asked
    sign: bytes | None = None  # its last sign of life
    signed: float = 0.0  # when that was first seen

    def ask(self, method: str, *words: Any) -> None:
        assert self.call is None, f"worker {self.index} is asked twice"
        self.call = getattr(self.actor, method).remote(*words)
        self.heard = self.signed = time.monotonic()

    def __str__(self) -> str:
        shown = ", ".join(f"{job.index} (seed {job.seed})" for job in self.jobs[:8])
        more = f" and {len(self.jobs) - 8} more" if len(self.jobs) > 8 else ""
        return f"worker {self.index} (pid {self.pid} on {self.host}; jobs: {shown or 'none'}{more})"


@dataclass(frozen=True)
class Report:
    """What a playing worker found, or why it is lost."""

    member: Member
    outcomes: list[Outcome] = field(default_factory=list)
    lost: str | None = None
    blame: bool = True  # of a lost one: whether its jobs may have been the cause
