"""The command in a process of its own, forked from one that has imported everything: a run then takes a second."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from frmdn.pipeline.commands.main import main

from .tiny import events

PATIENCE = 300.0  # seconds of one command; a run takes one or two
Fault = Callable[[], None]


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code (negative: a signal), what it said, and the seconds it took."""

    code: int
    said: str
    seconds: float

    @property
    def line(self) -> str:
        """The last line, which says what happened."""
        return self.said.strip().split("\n")[-1]

    @property
    def clear(self) -> bool:
        """Whether it ended with one line of ours, and without a traceback."""
        told = [line for line in self.said.split("\n") if line.startswith("frmdn: ")]
        return "Traceback" not in self.said and len(told) == 1 and self.line == told[0]


class Command:
    """The command at work; `fault` happens in it at an event of its own choice."""

    def __init__(self, words: list[str], log: Path, fault: Callable[[str], None] | None = None) -> None:
        self.log, self.begun = log, time.monotonic()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            os._exit(self._run(words, fault))

    def _run(self, words: list[str], fault: Callable[[str], None] | None) -> int:
        code = 70
        signal.signal(signal.SIGINT, signal.default_int_handler)  # behind nohup it would be deaf to Ctrl-C
        try:
            handle = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            for stream in (1, 2):
                os.dup2(handle, stream)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)
            if fault is None:
                code = main(words)
            else:
                with events(fault):
                    code = main(words)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
        return code

    def poll(self) -> int | None:
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if pid else None

    def wait(self) -> Ended:
        deadline = self.begun + PATIENCE
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
            time.sleep(0.005)
        return Ended(code, self.log.read_text(errors="replace"), time.monotonic() - self.begun)
