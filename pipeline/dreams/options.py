"""The arguments of `frmdn dream`. Light: no torch before a command runs."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..options import add_command, add_folder, add_machine, natural, positive, whole

EPILOG = """examples:
  frmdn dream --run runs/car --video dream.webm                  real frames, reconstruction and open-loop dream
  frmdn dream --run runs/car --video dream.webm --episode 3      the same of a stored episode
  frmdn dream --run runs/car --video own.webm --in-dream         the agent driving in its own dream
  frmdn dream report --run runs/car --json                       what the dreams are worth as a judge of controllers
"""
REPORT = """It plays controllers spread over the run's search in dreams at each temperature and in reality (on seeds
that nothing else uses), and measures how long open-loop dreams stay closer to held-out reality than the still
predictor. Writes dream.json and dream/*.png, and brings the section "Dream" of report.html up to date. Kill it anywhere
and call it again: no real episode is played twice. The defaults play 96 real episodes.

examples:
  frmdn dream report --run runs/car
  frmdn dream report --run runs/car --controllers 40 --episodes 8 --temperatures 0.1,0.5,1.0,1.15,1.3 --json
  frmdn dream report --runs runs/tau-0.5 runs/tau-1.0 runs/tau-1.15      one line a run: its search and its evaluation
"""


def add_dream(commands: Any, function: Callable[[argparse.Namespace], int]) -> None:
    """`dream` and `dream report`, both of which call `function`."""
    dream = add_command(commands, "dream", "watch an agent's dreams, and measure what they are worth", EPILOG, function)
    _add_video(dream)
    inner = dream.add_subparsers(title="commands", metavar="command")
    help = "dream return against real return, and how long a dream stays true"
    report = add_command(inner, "report", help, REPORT, function)
    report.set_defaults(command="dream report")
    _add_report(report)


def _add_video(command: argparse.ArgumentParser) -> None:
    add_folder(command, required=False)
    command.add_argument("--video", type=Path, metavar="FILE", help="the .webm to write")
    command.add_argument("--in-dream", action="store_true", help="the agent driving in its own dream")
    command.add_argument("--temperature", type=positive, default=1.0, metavar="T", help="of the dream (default: 1)")
    command.add_argument("--steps", type=whole, default=250, metavar="N", help="the dream is alone (default: 250)")
    command.add_argument("--warmup", type=natural, default=50, metavar="N", help="it watches before (default: 50)")
    command.add_argument("--seed", type=natural, default=0, metavar="N", help="of the dream's noise (default: 0)")
    command.add_argument(
        "--episode", type=natural, metavar="N", help="number of a stored episode (default: a new drive of the agent)"
    )


def _add_report(command: argparse.ArgumentParser) -> None:
    where = command.add_mutually_exclusive_group(required=True)
    add_folder(where, required=False, default=argparse.SUPPRESS)
    where.add_argument("--runs", type=Path, nargs="+", metavar="DIR", help="tabulate finished runs instead")
    command.add_argument("--controllers", type=whole, default=24, metavar="N", help="of the search (default: 24)")
    command.add_argument("--episodes", type=whole, default=4, metavar="N", help="real ones of each (default: 4)")
    command.add_argument("--dreams", type=whole, default=8, metavar="N", help="of each, per temperature (default: 8)")
    command.add_argument(
        "--temperatures",
        type=temperatures,
        default=(0.1, 0.5, 1.0, 1.15, 1.3),
        metavar="T,T,...",
        help="of the dreams (default: 0.1,0.5,1.0,1.15,1.3)",
    )
    command.add_argument("--dream-steps", type=whole, metavar="N", help="of one dream (default: as long as reality)")
    command.add_argument("--warmup", type=natural, default=20, metavar="N", help="of open-loop dreams (default: 20)")
    command.add_argument("--horizon", type=whole, default=50, metavar="N", help="of open-loop dreams (default: 50)")
    command.add_argument("--starts", type=whole, default=8, metavar="N", help="per held-out episode (default: 8)")
    command.add_argument(
        "--threshold", type=positive, default=1.0, metavar="X", help="relative error that ends a dream (default: 1)"
    )
    add_machine(command)


def temperatures(text: str) -> tuple[float, ...]:
    """Numbers above 0 with commas between them, each once, ascending."""
    return tuple(sorted({positive(word) for word in text.split(",")}))
