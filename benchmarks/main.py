"""`frmdn bench`: every hot loop against the classical way, in the same run."""

from __future__ import annotations

import argparse
import json
import os
import sys

NAMES = ("collect", "agent", "vision", "memory", "dream")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which loops: {', '.join(NAMES)} (default: all)")
    parser.add_argument("--seconds", type=float, default=30.0, help="time for each side of each row (default: 30)")
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="processes or threads (default: cores)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON list on stdout")


def run(arguments: argparse.Namespace) -> int:
    unknown = sorted(set(arguments.names) - set(NAMES))
    if unknown:
        raise ValueError(f"there is no benchmark {', '.join(unknown)}; choose from {', '.join(NAMES)}")
    rows = []
    for name in arguments.names or NAMES:
        print(f"{name} ...", file=sys.stderr, flush=True)
        row = _bench(name)(arguments.workers, arguments.seconds)
        rows.append(row.to_json())
        if not arguments.json:
            share = row.ours / row.limit if row.limit else float("nan")
            print(
                f"{row.name:8} {row.ours:12,.0f} {row.unit:9} {row.ratio:7.1f} x the classical {row.classical:,.0f}; "
                f"{share:.0%} of the limit {row.limit:,.0f}\n         {row.note}"
            )
    if arguments.json:
        print(json.dumps(rows, indent=1))
    return 0


def _bench(name: str):  # type: ignore[no-untyped-def]
    """Lazily, so that `frmdn --help` loads neither torch nor Ray."""
    if name == "collect":
        from .collect import collect as bench
    elif name == "agent":
        from .acting import acting as bench
    elif name == "vision":
        from .vision import vision as bench
    elif name == "memory":
        from .memory import memory as bench
    else:
        from .dream import dream as bench
    return bench
