"""`python -m tests.fuzz`: changed inputs for every reader, from a seed; the figures go into docs/results/fuzz.json.

    python -m tests.fuzz --count 100000                  all readers; call it again and it goes on where it was stopped
    python -m tests.fuzz --reader SVG --count 5000       one of them (may be repeated)
    python -m tests.fuzz --seconds 60 --out /tmp/f.json  as much as fits
    python -m tests.fuzz --reader SVG --only 1234        one input again, with its traceback

An input is the valid files of a reader with one file changed; reader, seed and number name it for ever. Each must be
refused in one line that names the file, or read: as the same, or as something else that is legitimate. Whatever else
happens is a fault: another error, a hang, a crash, more than 1 GiB, a file outside of the folder, a program started.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import tempfile
from pathlib import Path

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results" / "fuzz.json"
ONE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "OPENCV_FFMPEG_LOGLEVEL": "-8", "ARROW_NUM_THREADS": "1"}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=100_000, help="inputs of all readers together (default: 100000)")
    parser.add_argument("--seconds", type=float, default=math.inf, help="stop after so long; the next call goes on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reader", action="append", default=[], help="only this reader; may be repeated")
    parser.add_argument("--only", type=int, help="one input, with what it does")
    parser.add_argument("--limit", type=float, default=20.0, help="seconds of one input (default: 20)")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--fresh", action="store_true", help="forget the figures that are there of these readers")
    parser.add_argument("--json", action="store_true", help="print the figures on stdout")
    options = parser.parse_args()
    os.environ.update(ONE)  # before the libraries are imported that read it
    from .parent import Plan, fuzz

    shm = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=shm if shm.is_dir() else None) as scratch:
        os.environ["FRMDN_FUZZ_SCRATCH"] = scratch
        if options.only is not None:
            return _one(options, Path(scratch))
        plan = Plan(options.count, options.seconds, options.seed, tuple(options.reader), options.limit, options.out)
        return fuzz(plan, Path(scratch), options.fresh, options.json)


def _one(options: argparse.Namespace, scratch: Path) -> int:
    from . import child
    from .subjects import SUBJECTS

    (scratch / "cabinet").mkdir()
    numbers = iter([options.only])
    child.run(SUBJECTS[options.reader[0]], scratch / "cabinet", numbers, options.seed, show=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
