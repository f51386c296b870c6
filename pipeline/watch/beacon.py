"""live.json: what a run that is at work says of itself, for other processes to read."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from frmdn.agent.errors import first_line

from ..files import is_a, read_record, write_json
from ..metrics.line import now
from ..progress import Task, plain
from .processes import started

NAME = "live.json"
SHAPE = {"pid": int, "started": float, "host": str, "time": str, "state": str, "tasks": list, "workers": list}
TASK = {"name": str, "unit": str, "done": int, "total": int, "note": str}


class Beacon:
    """Writes `live.json` of a run folder: at once when something begins or ends, else at most every `EVERY` seconds,
    and every `BEAT` seconds while a unit takes long: its workers come meanwhile, and silence is a sign.

    Args:
        folder: the run folder, whose lock is held.
        crew: the workers of the moment, (host, process id) each.
    """

    EVERY, BEAT = 2.0, 10.0

    def __init__(self, folder: Path, crew: Callable[[], Sequence[tuple[str, int]]] = lambda: ()) -> None:
        self.path, self.crew, self.state = folder / NAME, crew, "working"
        self.error = (read_live(folder) or {}).get("error")
        self._tasks: Sequence[Task] = ()
        self._written = 0.0
        self._ended, self._turn = threading.Event(), threading.Lock()

    @contextmanager
    def working(self) -> Iterator[None]:
        """From the first word to how it ended: finished, failed (with the error), or interrupted."""
        self._write()
        beat = threading.Thread(target=self._beat, daemon=True)
        beat.start()
        try:
            yield
            self.state = "finished"
        except Exception as error:
            stage = self._tasks[0].name if self._tasks else ""
            text = plain(f"{type(error).__name__}: {' '.join(first_line(error).split())}")[:500]
            self.state, self.error = "failed", {"time": now(), "stage": stage, "text": text}
            raise
        except BaseException:
            self.state = "interrupted"
            raise
        finally:
            self._ended.set()
            beat.join()  # the folder may be another run's as soon as this one has ended
            self._last()

    def moved(self, tasks: Sequence[Task], at_once: bool) -> None:
        """What is under way now, the outermost first."""
        if tasks:
            self._tasks = tuple(tasks)
        if at_once or time.monotonic() - self._written >= self.EVERY:
            self._write()

    def _beat(self) -> None:
        while not self._ended.wait(self.BEAT):
            with suppress(OSError):  # the disk that refuses this refuses the stage too, which tells it
                self._write()

    def _last(self) -> None:
        try:
            self._write()
        except OSError:  # the disk that failed the stage fails this too, and the first error is the one to tell
            if self.state != "failed":
                raise

    def _write(self) -> None:
        with self._turn:
            self._put()

    def _put(self) -> None:
        self._written = time.monotonic()
        own = {"pid": os.getpid(), "started": started(os.getpid()) or 0.0, "host": socket.gethostname()}
        tasks = [_plain(task) for task in self._tasks]
        workers = [[host, pid] for host, pid in self.crew()]
        record = {**own, "time": now(), "state": self.state, "tasks": tasks, "workers": workers, "error": self.error}
        write_json(self.path, record)


def _plain(task: Task) -> dict[str, Any]:
    amount = {"done": task.done, "total": task.total, "note": plain(task.note), "rate": task.rate, "left": task.left}
    return {"name": task.name, "unit": task.unit, **amount}


def read_live(folder: Path) -> dict[str, Any] | None:
    """What a run folder says of its last run; None where it says nothing, or what nobody can read."""
    try:
        record = read_record(folder / NAME, SHAPE)
    except (ValueError, OSError):
        return None
    tasks = all(isinstance(x, dict) and all(is_a(x.get(k), kind) for k, kind in TASK.items()) for x in record["tasks"])
    pairs = all(isinstance(pair, list) and list(map(type, pair)) == [str, int] for pair in record["workers"])
    error = record.setdefault("error", None)
    known = error is None or (isinstance(error, dict) and all(isinstance(error.get(k), str) for k in ("time", "text")))
    return record if tasks and pairs and known else None
