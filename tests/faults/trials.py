"""The trials of all kinds, and what came of them."""

from __future__ import annotations

import shutil
import statistics
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from .child import Command
from .kinds import KINDS, MOUNTED, PLAYED, Broken, Trial, small_disk
from .tiny import STEP, artefacts, finished, words
from .workers import WORKERS, worker_killed

NAMES = (*KINDS, WORKERS)


class Faults:
    """The trials, and what came of them."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.expected: dict[str, str] = {}
        self.counts: Counter[str] = Counter()
        self.undisturbed = 0.0
        self.kinds: dict[str, dict[str, Any]] = {}

    def measure(self, scratch: Path) -> None:
        """What a run without a fault leaves, and how many events each stage has."""
        log, folder = scratch / "events", scratch / "undisturbed" / "run"
        folder.parent.mkdir()
        with log.open("a") as file:
            note = partial(print, file=file, flush=True)
            done = Command(words(folder), scratch / "undisturbed.txt", note).wait()
        assert done.code == 0, done.said
        self.undisturbed, self.expected = done.seconds, artefacts(folder)
        self.counts = Counter(log.read_text().splitlines())

    def trial(self, name: str, number: int, scratch: Path) -> None:
        """One trial of a kind, added to its figures."""
        new: dict[str, Any] = {"trials": 0, "survived": 0, "units_lost": 0, "stages": {}, "seconds": [], "broken": []}
        figures = self.kinds.setdefault(name, new)
        with self._trial(name, number, scratch) as trial:
            if trial is None:
                figures["left_out"] = "mounting is not permitted here"
                return
            figures["trials"] += 1
            figures["stages"][trial.stage] = figures["stages"].get(trial.stage, 0) + 1
            try:
                lost, took = self._try(name, trial)
                figures["survived"] += not lost
                figures["units_lost"] += lost
                figures["seconds"].append(took)
            except Broken as broken:
                figures["broken"].append(f"trial {number} ({trial.stage}, event {trial.number}): {broken}"[:1500])

    @contextmanager
    def _trial(self, name: str, number: int, scratch: Path) -> Iterator[Trial | None]:
        rng = Random(f"{self.seed}/{name}/{number}")
        playing = [stage for stage in self.counts if stage.endswith(STEP)]
        if name in PLAYED:
            known = playing
        elif name == WORKERS:  # the steps are not taken in the driver
            known = [stage.removesuffix(STEP) for stage in playing]
        else:
            known = list(self.counts)
        stage = rng.choice(sorted(known))
        place = scratch / f"{name}-{number}".replace(" ", "-")
        place.mkdir()
        trial = Trial(place / "run", scratch / "said.txt", rng, stage, rng.randrange(self.counts[stage]))
        try:
            if name not in MOUNTED:
                yield trial
                return
            with small_disk(place) as there:
                yield trial if there else None
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def _try(self, name: str, trial: Trial) -> tuple[int, float]:
        """Units lost, and the seconds until the run was whole again."""
        if name == WORKERS:
            took = worker_killed(trial)
            return self._lost(trial.folder, {}), took
        KINDS[name](trial)
        before = {} if name == "file cut" else finished(trial.folder)  # there, a unit is made again on purpose
        ended = trial.run()
        if ended.code != 0:
            raise Broken(f"the same command does not go on: exit code {ended.code}, said: {ended.said[-1000:]}")
        return self._lost(trial.folder, before), ended.seconds

    def _lost(self, folder: Path, before: dict[str, tuple[int, int]]) -> int:
        """Artefacts that differ from those of the undisturbed run, and whole ones that were made again."""
        found, now = artefacts(folder), finished(folder)
        odd = {key for key, _ in found.items() ^ self.expected.items()}
        again = {key for key, stamp in before.items() if now.get(key) != stamp}
        if odd or again:
            print(f"differs: {sorted(odd)}; made again: {sorted(again)}", file=sys.stderr)
        return len(odd | again)

    def broken(self) -> int:
        """Trials in which a promise was not kept."""
        return sum(len(each["broken"]) for each in self.kinds.values())

    def plain(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "undisturbed_seconds": round(self.undisturbed, 2),
            "artefacts_compared": len(self.expected),
            "events": dict(self.counts),
            "meaning": {
                "survived": "the command ended as promised, and called again it left what an undisturbed run leaves",
                "units_lost": "artefacts that differ from those of an undisturbed run, or whole ones made again",
                "seconds_to_recover": "from the same command's start until the run was whole",
            },
            "trials": sum(each["trials"] for each in self.kinds.values()),
            "survived": sum(each["survived"] for each in self.kinds.values()),
            "units_lost": sum(each["units_lost"] for each in self.kinds.values()),
            "kinds": {name: self._told(figures) for name, figures in self.kinds.items()},
        }

    def _told(self, figures: dict[str, Any]) -> dict[str, Any]:
        found = {key: value for key, value in figures.items() if key != "seconds"}
        found["stages"] = dict(sorted(found["stages"].items()))
        if figures["seconds"]:
            took = {"median": statistics.median(figures["seconds"]), "most": max(figures["seconds"])}
            found["seconds_to_recover"] = {key: round(value, 2) for key, value in took.items()}
        return found
