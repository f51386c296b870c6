"""Hands out the inputs, keeps the clock, and writes down what came of them."""

from __future__ import annotations

import json
import math
import os
import select
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from frmdn.pipeline.files import write_json

CHUNK = 1500  # inputs of one process: figures are written after each
STARTING = 300.0  # seconds until a child must have begun
KEPT = 30  # faults of a reader that are written down, of as many kinds
FINE = ("refused", "same", "other")
MEANING = {
    "refused": "one line that names the file",
    "same": "read as the same",
    "other": "read as something else that is legitimate",
    "crash": "an error that is not meant for people, or the end of the process",
    "unnamed": "an error that does not name the file",
    "unclear": "an error that is no line",
    "silent": "read as something else though a checksum covers it",
    "memory": "more than 1 GiB",
    "hang": "longer than the limit",
    "outside": "a file outside of the folder, or the network, was touched",
    "executed": "a program was started",
}


class Started(RuntimeError):
    """A child did not come as far as its first input: a fault of ours."""


@dataclass(frozen=True)
class Plan:
    """What is asked for."""

    count: int
    seconds: float
    seed: int
    readers: tuple[str, ...]
    limit: float
    out: Path


@dataclass
class Tally:
    """What came of the inputs of one reader."""

    inputs: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    most: int = 0  # bytes that one input added to the most that the process had held
    faults: list[dict[str, Any]] = field(default_factory=list)

    def add(self, said: dict[str, Any]) -> None:
        self.inputs += 1
        self.outcomes[said["outcome"]] += 1
        self.slowest, self.most = max(self.slowest, said["seconds"]), max(self.most, said.get("grown", 0))
        if said["outcome"] not in FINE:
            self._keep({"input": said["end"], "outcome": said["outcome"], "about": said.get("about", "")})

    def _keep(self, fault: dict[str, Any]) -> None:
        """One fault for each place in the code that it came from."""
        places = {(each["outcome"], each["about"].rpartition("[")[2]) for each in self.faults}
        if (fault["outcome"], fault["about"].rpartition("[")[2]) not in places and len(self.faults) < KEPT:
            self.faults.append(fault)

    def plain(self) -> dict[str, Any]:
        return {
            "inputs": self.inputs,
            "outcomes": dict(sorted(self.outcomes.items())),
            "slowest_seconds": round(self.slowest, 3),
            "most_megabytes": round(self.most / 1e6, 1),
            "faults": self.faults,
        }

    @classmethod
    def of(cls, plain: dict[str, Any]) -> Tally:
        slowest, most = plain["slowest_seconds"], int(plain["most_megabytes"] * 1e6)
        return cls(plain["inputs"], Counter(plain["outcomes"]), slowest, most, plain["faults"])


def fuzz(plan: Plan, scratch: Path, fresh: bool, as_json: bool) -> int:
    """0 where no input was a fault, 1 where one was, 2 where a reader is not known."""
    names = _names()
    chosen = list(plan.readers or names)
    for name in chosen:
        if name not in names:
            print(f"there is no reader {name!r}: choose of {', '.join(names)}", file=sys.stderr)
            return 2
    tallies = _load(plan)
    for name in chosen if fresh else ():
        tallies.pop(name, None)
    wanted, cabinet, begun = _wanted(plan.count, chosen), scratch / "cabinet", time.monotonic()
    cabinet.mkdir()
    already = sum(tallies[name].inputs for name in chosen if name in tallies)
    for name in chosen:
        tally = tallies.setdefault(name, Tally())
        while tally.inputs < wanted[name] and time.monotonic() - begun < plan.seconds:
            stop = min(wanted[name], tally.inputs + CHUNK)
            for said in _chunk(plan, name, cabinet, tally.inputs, stop):
                tally.add(said)
                if time.monotonic() - begun >= plan.seconds:
                    break
            write_json(plan.out, _figures(plan, tallies))
            _progress(name, tallies, wanted, already, begun)
    found = _figures(plan, tallies)
    if as_json:
        print(json.dumps(found, indent=2))
    for name in chosen:
        for fault in tallies[name].faults:
            print(f"{name}, input {fault['input']}: {fault['outcome']}: {fault['about'][:200]}", file=sys.stderr)
    return 1 if any(tallies[name].faults for name in chosen) else 0


def _wanted(count: int, names: list[str]) -> dict[str, int]:
    """How many inputs of each reader."""
    from .subjects import SUBJECTS

    whole = sum(SUBJECTS[name].share for name in names)
    return {name: math.ceil(count * SUBJECTS[name].share / whole) for name in names}


def _chunk(plan: Plan, name: str, cabinet: Path, first: int, stop: int) -> Iterator[dict[str, Any]]:
    """What came of inputs first to stop-1. A child that dies or hangs is followed by another, behind that input."""
    log = cabinet.parent / "child.log"
    while first < stop:
        stream, saying = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()  # with all imports done
        if pid == 0:
            os.close(stream)
            os._exit(_child(plan, name, cabinet, range(first, stop), saying, log))
        os.close(saying)
        child = Child(pid, stream)
        try:
            for said in _heard(child, plan.limit, first):
                first = said["end"] + 1
                yield said
        except Started as error:
            raise RuntimeError(f"{name}: {error}\n{log.read_text(errors='replace')[-3000:]}") from None
        finally:
            child.end()


@dataclass
class Child:
    """The process that reads, and the pipe on which it says what came of it."""

    pid: int
    stream: int
    code: int | None = None

    def wait(self) -> int:
        if self.code is None:
            self.code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.code

    def end(self) -> None:
        if self.code is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()
        os.close(self.stream)


def _child(plan: Plan, name: str, cabinet: Path, numbers: range, saying: int, log: Path) -> int:
    from . import child
    from .subjects import SUBJECTS

    try:
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):  # what a reader prints goes where nobody looks
            os.dup2(handle, stream)
        child.SAYING = saying
        child.run(SUBJECTS[name], cabinet, iter(numbers), plan.seed)
    except BaseException:
        os.write(2, traceback.format_exc().encode())
        return 1
    return 0


def _heard(child: Child, limit: float, first: int) -> Iterator[dict[str, Any]]:
    rest, at, deadline = b"", None, time.monotonic() + STARTING
    while True:
        ready, _, _ = select.select([child.stream], [], [], max(0.0, deadline - time.monotonic()))
        data = os.read(child.stream, 1 << 16) if ready else None
        if not data:
            if at is None:
                code = child.wait() if data is not None else None
                if code == 0:
                    return
                raise Started(f"a child ended before it began with input {first} (exit code {code})")
            outcome = "hang" if data is None else "crash"
            about = f"no answer for {limit} s" if data is None else f"the process ended with {child.wait()}"
            yield {"end": at, "outcome": outcome, "seconds": limit if data is None else 0.0, "about": about}
            return
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            said = json.loads(line)
            if "begin" in said:
                at, deadline = said["begin"], time.monotonic() + limit
            else:
                at, deadline = None, time.monotonic() + STARTING
                yield said


# The figures


def _figures(plan: Plan, tallies: dict[str, Tally]) -> dict[str, Any]:
    outcomes = sum((tally.outcomes for tally in tallies.values()), Counter[str]())
    return {
        "seed": plan.seed,
        "inputs": sum(tally.inputs for tally in tallies.values()),
        "outcomes": dict(sorted(outcomes.items())),
        "faults": sum(count for outcome, count in outcomes.items() if outcome not in FINE),
        "slowest_seconds": max((round(tally.slowest, 3) for tally in tallies.values()), default=0),
        "most_megabytes": max((round(tally.most / 1e6, 1) for tally in tallies.values()), default=0),
        "limits": {"seconds": plan.limit, "bytes": 1 << 30},
        "meaning": {name: MEANING[name] for name in sorted({*FINE, *outcomes})},
        "readers": {name: tally.plain() for name, tally in tallies.items()},
    }


def _load(plan: Plan) -> dict[str, Tally]:
    """The figures that are there, where they are of the same seed."""
    if not plan.out.exists():
        return {}
    found = json.loads(plan.out.read_text())
    return {name: Tally.of(plain) for name, plain in found["readers"].items()} if found["seed"] == plan.seed else {}


def _progress(name: str, tallies: dict[str, Tally], wanted: dict[str, int], already: int, begun: float) -> None:
    done, total = sum(tallies[each].inputs for each in wanted if each in tallies), sum(wanted.values())
    seconds = time.monotonic() - begun
    left = (total - done) * seconds / max(1, done - already)
    faults = sum(len(tally.faults) for tally in tallies.values())
    text = f"{done:,} of {total:,} inputs, {name}, {faults} faults, {seconds:.0f} s, about {left:.0f} s left"
    print(text, file=sys.stderr, flush=True)


def _names() -> list[str]:
    from .subjects import SUBJECTS

    return list(SUBJECTS)
