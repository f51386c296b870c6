"""`frmdn bench`: every hot loop against the classical way."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path
from typing import Any

from ..files import write_json
from ..progress import Progress
from .options import add_command, positive, whole

HELP = "measure this machine against the classical way"
EPILOG = """Each loop of frmdn that costs time is timed in turns with the classical way (batch 1, one Gymnasium
environment, float32) and with a limit: the part of the work that no code of ours can make faster. Quote the ratios;
the rates differ between machines, and between the hours of one.

loops:
{loops}

All loops are {forecast}.
A row is printed as soon as it is measured. Ctrl-C, or a loop that fails, keeps the rows that are there.

examples:
  frmdn bench                              all loops
  frmdn bench dream memory --seconds 5     two of them, for a first look
  frmdn bench --out bench.json             the file has every row as soon as it is measured
  frmdn bench --json > bench.json          one JSON list at the end; rows and progress go to stderr
"""


def add_bench(commands: Any, wanted: bool) -> None:
    """`bench`; its own arguments only where it is `wanted`, for the benchmarks must be imported for them."""
    if not wanted:
        add_command(commands, "bench", HELP, "", None)
        return
    from frmdn.benchmarks.main import LOOPS, forecast

    loops = "\n".join(f"  {name:<9}{loop.about} ({loop.sides} sides)" for name, loop in LOOPS.items())
    epilog = EPILOG.format(loops=loops, forecast=forecast(list(LOOPS), 30.0))
    command = add_command(commands, "bench", HELP, epilog, run)
    command.add_argument("names", nargs="*", metavar="LOOP", help="which loops (default: all)")
    command.add_argument("--seconds", type=positive, default=30.0, help="time for each side of a row (default: 30)")
    command.add_argument("--workers", type=whole, metavar="N", help="processes or threads (default: one a core)")
    command.add_argument("--out", type=Path, metavar="FILE", help="write the rows so far here after each, as JSON")
    command.add_argument("--json", action="store_true", help="print one JSON list on stdout, all else on stderr")


def run(options: argparse.Namespace) -> int:
    """Rows as they come; what is there when it is stopped stays, and the exit code says that it was stopped."""
    from frmdn.benchmarks.main import chosen, forecast, rows

    from ..machine import cores

    progress, found = Progress(), []
    names = chosen(options.names)
    if options.out is not None and options.out.is_dir():
        raise ValueError(f"--out must name a file, not the folder {options.out}")
    progress.line(forecast(names, options.seconds))
    try:
        for row in rows(options.names, options.workers or cores(), options.seconds, progress):
            found.append(row.to_json())
            if options.out is not None:
                write_json(options.out, found)
            print(row, file=sys.stderr if options.json else sys.stdout, flush=True)
    except KeyboardInterrupt as stop:
        progress.line(
            f"stopped: {len(found)} rows were measured{f', see {options.out}' if options.out and found else ''}"
        )
        return 128 + int(stop.args[0] if stop.args else signal.SIGINT)
    finally:
        if options.json:
            print(json.dumps(found, indent=1), flush=True)
    return 0
