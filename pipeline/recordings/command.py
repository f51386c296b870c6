"""`frmdn import`: its arguments."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..commands.options import add_command, add_json, add_settings, print_json, whole

EPILOG = """what SOURCE may be:
  a folder of videos       what was done stands beside NAME.mp4 in NAME.csv, NAME.npy or NAME.npz, or nowhere
  npz files                frames, and if you have them actions, rewards, terminated; one file, or a folder of them
  a Minari data set        its folder, or its id in Minari's own folder (extra minari); nothing is downloaded
  a LeRobot data set       a folder of layout 2.0, 2.1 or 3.0 (extra lerobot)
How each of them looks in detail: docs/how-to/own-data.md.

examples:
  frmdn import videos --out runs/mine                  then: frmdn run --out runs/mine
  frmdn import videos --out runs/mine --fit middle --every 3
  frmdn import robot --out runs/arm --camera observation.images.top --preset standard
  frmdn import cars.npz --out runs/cars --env CarRacing-v3     what was recorded trains, and the environment is played

Kill it anywhere and call it again: episodes that are stored are kept. Files that are new are added.
"""


def add_import(commands: Any) -> None:
    help = "make a run folder of recordings: videos, npz files, Minari or LeRobot data sets"
    command = add_command(commands, "import", help, EPILOG, run)
    command.add_argument("source", metavar="SOURCE", help="the recordings: a folder, a file, or the id of a data set")
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="the run folder")
    command.add_argument("--env", metavar="ID", help="Gymnasium id to search and evaluate in (default: none)")
    command.add_argument("--preset", metavar="NAME", help="settings of the stages behind (default: quick)")
    command.add_argument("--seed", type=int, metavar="N", help="root of all random numbers (default: 0)")
    frames = command.add_argument_group("frames")
    frames.add_argument("--size", type=whole, metavar="S", help="of a frame, S x S pixels (default: 64)")
    fits = "a picture that is no square: squeeze all of it, or cut its middle out (default: whole)"
    frames.add_argument("--fit", choices=("whole", "middle"), default="whole", help=fits)
    frames.add_argument("--every", type=whole, default=1, metavar="N", help="keep every N-th frame (default: 1)")
    divided = "transitions of an episode at most; what is longer is divided (default: 1000)"
    frames.add_argument("--length", type=whole, default=1000, metavar="N", help=divided)
    frames.add_argument("--camera", default="", metavar="NAME", help="which pictures, where there are several")
    kinds = "what actions are (default: auto, which takes one column of whole numbers as discrete)"
    choices = ("auto", "discrete", "numbers", "none")
    command.add_argument("--actions", choices=choices, default="auto", help=kinds)
    add_settings(command)
    add_json(command)


def run(options: argparse.Namespace) -> int:
    """`frmdn import`: store the recordings as the episodes of a run folder."""
    from .importing import run_import

    result = run_import(options)
    if options.json:
        print_json(result)
    return 0
