"""`frmdn bench`: every hot loop against the classical way, in the same run."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .row import Row

LOOPS = {  # name -> module and function
    "collect": ("collect", "collect"),
    "agent": ("acting", "acting"),
    "vision": ("vision", "vision"),
    "memory": ("memory", "memory"),
    "dream": ("dream", "dream"),
    "density": ("density", "density"),
    "mario": ("mario", "mario"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which loops: {', '.join(LOOPS)} (default: all)")
    parser.add_argument("--seconds", type=float, default=30.0, help="time for each side of each row (default: 30)")
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="processes or threads (default: cores)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON list on stdout")


def run(arguments: argparse.Namespace) -> int:
    unknown = sorted(set(arguments.names) - set(LOOPS))
    if unknown:
        raise ValueError(f"there is no benchmark {', '.join(unknown)}; choose from {', '.join(LOOPS)}")
    rows = []
    for name in arguments.names or LOOPS:
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            found = _bench(name)(arguments.workers, arguments.seconds)
        except ImportError as missing:
            if type(missing).__name__ != "MissingExtra" or name in arguments.names:
                raise
            print(f"{name} left out: {missing}", file=sys.stderr)
            continue
        for row in found if isinstance(found, list) else [found]:
            rows.append(row.to_json())
            if not arguments.json:
                print(_line(row))
    if arguments.json:
        print(json.dumps(rows, indent=1))
    return 0


def _line(row: Row) -> str:
    share = row.ours / row.limit if row.limit else float("nan")
    return (
        f"{row.name:8} {row.ours:12,.0f} {row.unit:9} {row.ratio:7.1f} x the classical {row.classical:,.0f}; "
        f"{share:.0%} of the limit {row.limit:,.0f}\n         {row.note}"
    )


def _bench(name: str) -> Callable[[int, float], Row | list[Row]]:
    """The measuring function of a loop, imported on demand: `frmdn --help` loads neither torch nor Ray."""
    module, function = LOOPS[name]
    bench: Callable[[int, float], Row | list[Row]] = getattr(import_module(f"{__package__}.{module}"), function)
    return bench
