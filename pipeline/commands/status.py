"""`frmdn status`: where each stage of a run folder stands."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from ..progress import duration, plain
from ..workspace import StageStatus, Workspace
from .options import add_command, add_folder, print_json


def add_status(commands: Any) -> None:
    status = add_command(commands, "status", "say what is done, partial, stale or missing, and why", "", run)
    add_folder(status)
    status.add_argument("--json", action="store_true", help="print one JSON object on stdout")


def run(options: argparse.Namespace) -> int:
    """`frmdn status`: where each stage stands."""
    workspace = Workspace(options.out)
    statuses, owner = workspace.status(), workspace.owner()
    if options.json:
        report: dict[str, Any] = {
            "run": str(workspace.root),
            "running": owner,
            "stages": [asdict(status) for status in statuses],
        }
        if "rounds" in workspace.table:
            report["rounds"] = {each.root.name: [asdict(s) for s in each.status()] for each in workspace.rounds()}
        print_json(report)
        return 0
    _print_status(statuses)
    for each in workspace.rounds():
        print(f"{each.root.name}:")
        _print_status(each.status())
    if owner:
        print(f"process {owner} is at work in this folder")
    return 0


def _print_status(statuses: list[StageStatus]) -> None:
    for status in statuses:
        seconds = duration(status.seconds) if status.seconds else ""
        print(f"{status.name:<9} {status.state:<8} {seconds:>12}  {plain(status.why)}")
