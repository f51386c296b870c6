"""`frmdn export`: its arguments. What a run made, for others: each option that names a place writes one thing there."""

from __future__ import annotations

import argparse
from typing import Any

from ..progress import Progress
from .options import add_command, add_folder, add_json, print_json

EPILOG = """examples:
  frmdn export --run runs/car --minari car/random-v0     into Minari's own folder, for minari.load_dataset
  frmdn export --run runs/car --minari ./car-episodes    into a folder of your own; frmdn import reads it again
"""


def add_export(commands: Any) -> None:
    command = add_command(commands, "export", "write what a run made, for other programs", EPILOG, run)
    add_folder(command)
    to = "the episodes as a Minari data set: its id, or a path (extra minari)"
    command.add_argument("--minari", metavar="NAME_OR_PATH", help=to)
    add_json(command)


def run(options: argparse.Namespace) -> int:
    """`frmdn export`: write what the options ask for."""
    result: dict[str, Any] = {}
    if options.minari:
        from ..recordings.exporting import export_minari

        result |= export_minari(options.out, options.minari, Progress())
    if not result:
        raise ValueError("export needs to know what to write: --minari NAME_OR_PATH; see --help")
    if options.json:
        print_json(result)
    return 0
