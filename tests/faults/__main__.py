"""`python -m tests.faults`: every kind of fault, many times at random moments; figures in docs/results/faults.json.

A trial is a run of seconds in a folder of its own, in which one thing goes wrong at one event: in the middle of a
write, behind one, or at a step of an environment, in a stage drawn at random. The command must end as it promises.
Then the same command is called again, and what it leaves must be that of a run which nothing disturbed, bit for bit;
whole episodes and latents must not have been made again. Everything follows from `--seed`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results" / "faults.json"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--times", type=int, default=20, help="trials of each kind (default: 20)")
    parser.add_argument("--seconds", type=float, default=1200.0, help="begin no trial after so long (default: 1200)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", action="append", default=[], metavar="KIND", help="may be repeated")
    parser.add_argument("--only", type=int, help="one trial of one kind, by its number")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--json", action="store_true", help="print the figures on stdout")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # the commands are forked, and threads do not survive that
    from frmdn.pipeline.files import write_json

    from .tiny import prepare
    from .trials import NAMES, Faults

    unknown = [kind for kind in options.kind if kind not in NAMES]
    if unknown:
        parser.error(f"there is no kind {unknown[0]!r}: choose of {', '.join(NAMES)}")
    prepare()
    found, end = Faults(options.seed), time.monotonic() + options.seconds
    kinds, numbers = options.kind or NAMES, range(options.times) if options.only is None else [options.only]
    trials = [(kind, number) for number in numbers for kind in kinds]  # in turn, so that time is divided among them
    shm = Path("/dev/shm")  # what a disk does is not measured here, and would take most of the time
    with tempfile.TemporaryDirectory(prefix="faults-", dir=shm if shm.is_dir() else None) as scratch:
        found.measure(Path(scratch))
        for done, (kind, number) in enumerate(trials, 1):
            if time.monotonic() > end:
                print(f"the time is over after {done - 1} of {len(trials)} trials", file=sys.stderr)
                break
            found.trial(kind, number, Path(scratch))
            write_json(options.out, found.plain())
            print(f"{done} of {len(trials)} trials, {kind}, {found.broken()} broken", file=sys.stderr, flush=True)
    if options.json:
        print(json.dumps(found.plain(), indent=2))
    return 1 if found.broken() or any(each["units_lost"] for each in found.kinds.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
