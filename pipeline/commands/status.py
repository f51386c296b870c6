"""`frmdn status`: where each stage of a run folder stands, and who works on it."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from typing import Any

from ..watch.overview import Overview, Row, look
from ..watch.table import footer, line, resources, table
from ..workspace import Workspace
from .options import add_command, add_folder, positive, print_json

EPILOG = """examples:
  frmdn status --run runs/car                  all stages; memory, disk, workers alive, the last error
  frmdn status --run runs/car --watch          the same, live, until nobody is at work there
  frmdn status --run runs/car --watch --json   one JSON object a line
"""


def add_status(commands: Any) -> None:
    status = add_command(commands, "status", "say what is done, partial, stale or missing, and why", EPILOG, run)
    add_folder(status)
    status.add_argument("--watch", action="store_true", help="look again and again until nobody is at work there")
    status.add_argument("--every", type=positive, default=2.0, metavar="S", help="seconds between looks (default: 2)")
    status.add_argument("--json", action="store_true", help="print one JSON object on stdout")


def run(options: argparse.Namespace) -> int:
    """`frmdn status`: where each stage stands."""
    workspace = Workspace(options.out)
    if options.watch:
        _watch(workspace, options.every, options.json)
    elif options.json:
        print_json(_report(workspace, look(workspace)))
    else:
        _print(workspace, look(workspace))
    return 0


def _watch(workspace: Workspace, every: float, as_json: bool) -> None:
    seen = look(workspace)
    if sys.stdout.isatty() and not as_json and seen.at_work:
        from rich.live import Live

        with Live(table(seen.rows, footer(seen)), auto_refresh=False, transient=True) as live:
            while seen.at_work:
                live.update(table(seen.rows, footer(seen)), refresh=True)
                time.sleep(every)
                seen = look(workspace)
    while seen.at_work:
        busy = [line(row) for row in seen.rows if row.state == "working"] if not as_json else []
        text = json.dumps(_report(workspace, seen)) if as_json else "; ".join([*busy, resources(seen.crew, seen.disk)])
        print(text, flush=True)
        time.sleep(every)
        seen = look(workspace)
    if as_json:
        print(json.dumps(_report(workspace, seen)))
    else:
        _print(workspace, seen)


def _report(workspace: Workspace, seen: Overview) -> dict[str, Any]:
    rounds = {each.root.name: [asdict(status) for status in each.status()] for each in workspace.rounds()}
    return seen.to_json() | ({"rounds": rounds} if "rounds" in workspace.table else {})


def _print(workspace: Workspace, seen: Overview) -> None:
    print("\n".join(map(line, seen.rows)))
    for each in workspace.rounds():
        print(f"{each.root.name}:")
        for status in each.status():
            print(line(Row.of(status)))
    print("\n".join(footer(seen)))
