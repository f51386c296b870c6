"""`frmdn run`: its arguments, and all stages one after the other."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..files import read_json
from ..progress import Progress, duration
from ..workspace import StageStatus, Workspace, nothing_to_play
from .options import add_command, add_log, add_machine, add_search, add_settings, print_json, whole
from .settle import check_device, requested, run_named, settle

RUN_EPILOG = """presets:
  smoke     under two minutes, to see that everything works; nothing is learnt
  quick     about twelve minutes on two cores; VizdoomTakeCover-v1, evolved in dreams: an hour
  quick-dream  half an hour on two cores; evolved in dreams only, in rounds
  standard  hours on a workstation
  paper     the published settings of World Models; days on many cores

examples:
  frmdn run --env CarRacing-v3 --preset smoke --out /tmp/smoke
  frmdn run --preset quick --out runs/rmdn --memory rmdn --seed 3
  frmdn run --preset quick --out runs/wide --set search.population=64 --set memory.hidden=512
  frmdn run --out runs/car --ray-address auto         on a Ray cluster that is already there
  frmdn run --env ALE/Pong-v5 --import ale_py --out runs/pong     a world of another package; docs/how-to/own-world.md
  frmdn run --preset quick-dream --out runs/dreamt    evolved in dreams only, in rounds; docs/how-to/dreams.md

Kill it anywhere and call the same command again: it goes on after the last finished episode, checkpoint or generation.
All settings of a run stand in its config.json; --set takes any of them as section.key=value.
"""


def add_run(commands: Any) -> None:
    command = add_command(commands, "run", "run all stages, and go on where a run was stopped", RUN_EPILOG, run)
    command.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="the run folder; made if it is not there"
    )
    command.add_argument(
        "--env", metavar="ID", help="Gymnasium id, or MODULE:ID to import what registers it (default: CarRacing-v3)"
    )
    imports = "a module that registers environments when it is imported, e.g. ale_py; may be repeated, and is stored"
    command.add_argument("--import", action="append", default=[], metavar="MODULE", dest="imports", help=imports)
    command.add_argument(
        "--preset", metavar="NAME", help="smoke, quick, quick-dream, standard or paper (default: quick)"
    )
    command.add_argument("--seed", type=int, metavar="N", help="root of all random numbers (default: 0)")
    densities = ("frmdn", "rmdn")
    command.add_argument("--memory", choices=densities, dest="memory.density", help="with or without a flow")
    command.add_argument(
        "--rounds", type=whole, metavar="N", dest="rounds.count", help="collect, train on and evolve so often"
    )
    add_search(command)
    buttons = "Super Mario's: right, simple or complex (default: the preset's)"
    command.add_argument("--actions", metavar="SET", dest="world.actions", help=buttons)
    rivals = "evolve vision-only and untrained-memory rivals as well"
    command.add_argument("--baselines", action="store_const", const="true", dest="evaluate.baselines", help=rivals)
    add_settings(command)
    add_machine(command)
    add_log(command)


def run(options: argparse.Namespace) -> int:
    """`frmdn run`: all stages, on a new or on an existing folder."""
    workspace = Workspace(options.out)
    workspace.check_free()
    check_device(options)
    config = requested(options, workspace)
    with workspace.lock():
        progress = _progress(workspace)
        settle(workspace, config, options.replace, progress)
        statuses = workspace.status()
        if all(status.state == "done" for status in statuses) and not options.log:
            progress.line(f"all {len(statuses)} stages of {workspace.root} are done already: nothing to do")
        else:
            run_named(options, workspace, list(workspace.table), progress)
        if "evolve" not in workspace.table:
            progress.line(f"no search, no evaluation: {nothing_to_play(workspace)}")
        _summary(workspace, progress)
    if options.json:
        print_json(_overview(workspace))
    return 0


def _progress(workspace: Workspace) -> Progress:
    """One live table of all stages on a terminal, plain lines elsewhere."""
    log = workspace.root / "log.txt"
    if not sys.stderr.isatty():
        return Progress(log)
    from ..watch.board import Board

    return Board(workspace, log)


def _summary(workspace: Workspace, progress: Progress) -> None:
    rows = []
    total = 0.0
    for status in workspace.status():
        result = str((workspace.done(status.name) or {}).get("result", status.state))
        rows.append((status.name, duration(status.seconds), result))
        total += status.seconds
    progress.table(f"{workspace.root} took {duration(total)} of work", ("stage", "time", "result"), rows)
    progress.line(f"open {workspace.root / 'report.html'}")


def _overview(workspace: Workspace) -> dict[str, Any]:
    def stage(status: StageStatus) -> dict[str, Any]:
        return {**asdict(status), "result": (workspace.done(status.name) or {}).get("result")}

    return {
        "run": str(workspace.root),
        "stages": [stage(status) for status in workspace.status()],
        "evaluation": read_json(workspace.root / "evaluation.json") if "evaluate" in workspace.table else None,
        "report": str(workspace.root / "report.html"),
    }
