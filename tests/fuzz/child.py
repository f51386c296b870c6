"""The process in which inputs are read: limited in memory, watched in what it opens and starts, killed when it hangs.

It says on its standard output what it begins and what came of it, a line of JSON each; the parent keeps the clock.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import resource
import shutil
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from .mutator import CANARY, SECRET
from .subject import Subject, digest, quiet

GIGABYTE = 1 << 30
LONGEST = 1200  # characters of an error: more is no line that anybody reads
STARTS = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "subprocess.Popen", "pty.spawn")
OUT = ("socket.connect", "socket.getaddrinfo", "urllib.Request")
OUTSIDE = (
    "/etc/passwd",
    "/etc/hosts",
    f"/{CANARY}/",
)  # of what Python itself opens; what libraries open is seen by `Seen`
OPENED = 0x20  # IN_OPEN of inotify


class Watch:
    """What happened while an input was read that must not: by Python's audit events, and by inotify on the canary."""

    def __init__(self, canary: Path) -> None:
        self.seen: list[str] = []
        self.on = False
        libc = ctypes.CDLL(None, use_errno=True)
        self.queue = libc.inotify_init1(os.O_NONBLOCK)
        assert self.queue >= 0 and libc.inotify_add_watch(self.queue, os.fsencode(canary), OPENED) >= 0
        sys.addaudithook(self._heard)

    def _heard(self, event: str, details: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event.startswith(STARTS):
            self.seen.append(f"executed: {event} {details!r:.200}")
        elif event in OUT:
            self.seen.append(f"outside: {event} {details!r:.200}")
        elif event == "open" and isinstance(details[0], str) and any(place in details[0] for place in OUTSIDE):
            self.seen.append(f"outside: {details[0]}")

    def found(self) -> str | None:
        """What was seen since the last call."""
        try:
            if os.read(self.queue, 1 << 16):
                self.seen.append("outside: a file of the canary was opened")
        except OSError as error:
            if error.errno != errno.EAGAIN:
                raise
        found, self.seen = self.seen, []
        return found[0] if found else None


class Folder:
    """The valid files, put back after every input."""

    def __init__(self, place: Path, template: Path) -> None:
        shutil.copytree(template, place)
        self.place = place
        self.valid = {str(path.relative_to(place)): path.read_bytes() for path in _files(place)}
        self.stamps = {name: self._stamp(name) for name in self.valid}

    def put(self, name: str, data: bytes) -> None:
        (self.place / name).write_bytes(data)

    def restore(self, name: str) -> None:
        self.put(name, self.valid[name])
        self.stamps[name] = self._stamp(name)
        for path in _files(self.place):
            found = str(path.relative_to(self.place))
            if found not in self.valid:
                path.unlink()
        for known, stamp in self.stamps.items():
            path = self.place / known
            if not path.is_file() or self._stamp(known) != stamp:
                path.parent.mkdir(parents=True, exist_ok=True)
                self.put(known, self.valid[known])
                self.stamps[known] = self._stamp(known)

    def _stamp(self, name: str) -> tuple[int, int]:
        at = (self.place / name).stat()
        return at.st_mtime_ns, at.st_size


def _files(place: Path) -> list[Path]:
    return sorted(path for path in place.rglob("*") if path.is_symlink() or not path.is_dir())


def make(subject: Subject, cabinet: Path) -> Path:
    """The valid files of a subject, made once."""
    place = cabinet / subject.name.replace("/", "_")
    if not place.exists():
        staging = cabinet / "staging"
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        subject.make(staging)
        staging.rename(place)
    return place


def run(subject: Subject, cabinet: Path, numbers: Iterator[int], seed: int, show: bool = False) -> None:
    """Read the inputs of these numbers, and say what came of each."""
    quiet()
    template = make(subject, cabinet)
    base = Path(os.environ["FRMDN_FUZZ_SCRATCH"]) / f"{os.getpid()}"
    canary = base / "a" / CANARY
    canary.mkdir(parents=True)
    (canary / Path(SECRET).name).write_bytes(bytes(range(256)) * 8)
    folder = Folder(base / "a" / "work", template)
    others = [data for data in folder.valid.values() if len(data) < 1 << 20] + _foreign(cabinet)
    os.chdir(folder.place)
    expected = digest(subject.read(folder.place))
    assert digest(subject.read(folder.place)) == expected, f"{subject.name}: two readings differ"
    folder.restore(next(iter(folder.valid)))
    watch = Watch(canary)
    bound()
    for number in numbers:
        rng = Random(f"{seed}/{subject.name}/{number}")
        name, data = subject.changed(rng, folder.valid, others)
        say(begin=number)
        folder.put(name, data)
        before, begun = peak(), time.perf_counter()
        watch.on = True
        outcome, about = attempt(subject, folder, expected, show)
        if outcome == "silent" and data in others:
            outcome, about = "other", ""  # another whole file of ours in its place
        watch.on = False
        seconds, grown = time.perf_counter() - begun, max(0, peak() - before)
        seen = watch.found()
        if seen or (folder.place / "ran").exists():
            outcome, about = (
                "executed" if not seen or seen.startswith("executed") else "outside",
                seen or "a word was run",
            )
        if grown > GIGABYTE:
            outcome, about = "memory", f"{grown} bytes"
        said = {"about": about[:600], "file": name} if outcome not in ("refused", "same", "other") else {}
        if show:
            print(about, file=sys.stderr)
        folder.restore(name)
        say(end=number, outcome=outcome, seconds=round(seconds, 4), grown=grown, **said)
    shutil.rmtree(base)


def attempt(subject: Subject, folder: Folder, expected: str, show: bool) -> tuple[str, str]:
    """Read once: what came of it, and what to say of it."""
    from frmdn.envs.errors import MissingExtra
    from frmdn.pipeline.disk import in_words

    try:
        found = digest(subject.read(folder.place))
    except (MemoryError, RecursionError) as error:
        return "memory" if isinstance(error, MemoryError) else "crash", told(error)
    except (ValueError, OSError, MissingExtra) as error:
        if show:
            traceback.print_exc()
        text = " ".join(str(error).split())
        if isinstance(error, OSError) and in_words(error) is None and not isinstance(error, FileNotFoundError):
            return "crash", told(error)
        if not text or len(text) > LONGEST:
            return "unclear", told(error)
        if subject.named and not any(name in text for name in (*folder.valid, str(folder.place))):
            return "unnamed", told(error)
        return "refused", text
    except BaseException as error:
        if show:
            traceback.print_exc()
        return "crash", told(error)
    if found == expected:
        return "same", ""
    return ("silent", "read as something else, though a checksum covers it") if subject.sealed else ("other", "")


def told(error: BaseException) -> str:
    """An error with the lines of our own code that it came through."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "tests/fuzz" not in frame.filename]
    way = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames[-4:]))
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]} [{way}]"


def _foreign(cabinet: Path) -> list[bytes]:
    """One file of each kind that was made already."""
    found = {path.suffix: path for path in sorted(cabinet.rglob("*")) if path.is_file()}
    return [path.read_bytes() for path in found.values() if path.stat().st_size < 200_000]


def bound() -> None:
    """No more than a gigabyte beyond what the imports took: what asks for more gets a MemoryError."""
    import torch

    torch.set_num_threads(1)
    status = Path("/proc/self/status").read_text()
    data = next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmData"))
    resource.setrlimit(resource.RLIMIT_DATA, (data + GIGABYTE, data + GIGABYTE))
    resource.setrlimit(resource.RLIMIT_FSIZE, (GIGABYTE, GIGABYTE))


def peak() -> int:
    """The most memory that this process ever held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def say(**what: Any) -> None:
    os.write(SAYING, (json.dumps(what) + "\n").encode())


SAYING = 1
