"""The arguments of `frmdn run`, of its stages and of `frmdn status`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .options import add_command, add_folder, add_machine, add_settings, natural, whole
from .stages import ROUNDS, STAGES

Command = Callable[[argparse.Namespace], int]
STAGE_EPILOG = """examples:
  frmdn {name} --run runs/car
  frmdn {name} --run runs/car --workers 4 --json
"""
RUN_EPILOG = """presets:
  smoke     under two minutes, to see that everything works; nothing is learnt
  quick     about twenty minutes on two cores; VizdoomTakeCover-v1, evolved in dreams: an hour
  quick-dream  half an hour on two cores; evolved in dreams only, in rounds
  standard  hours on a workstation
  paper     the published settings of World Models; days on many cores

examples:
  frmdn run --env CarRacing-v3 --preset smoke --out /tmp/smoke
  frmdn run --preset quick --out runs/rmdn --memory rmdn --seed 3
  frmdn run --preset quick --out runs/wide --set search.population=64 --set memory.hidden=512
  frmdn run --out runs/car --ray-address auto         on a Ray cluster that is already there
  frmdn run --preset quick-dream --out runs/dreamt    evolved in dreams only, in rounds; docs/dreams.md

Kill it anywhere and call the same command again: it goes on after the last finished episode, checkpoint or generation.
All settings of a run stand in its config.json; --set takes any of them as section.key=value.
"""


def add_run(commands: Any, function: Command) -> None:
    """`run`, which calls `function`."""
    run = add_command(commands, "run", "run all stages, and go on where a run was stopped", RUN_EPILOG, function)
    run.add_argument("--out", type=Path, required=True, metavar="DIR", help="the run folder; made if it is not there")
    run.add_argument("--env", metavar="ID", help="Gymnasium id with pixel observations (default: CarRacing-v3)")
    run.add_argument("--preset", metavar="NAME", help="smoke, quick, quick-dream, standard or paper (default: quick)")
    run.add_argument("--seed", type=int, metavar="N", help="root of all random numbers (default: 0)")
    run.add_argument("--memory", choices=("frmdn", "rmdn"), help="density of the memory, with or without a flow")
    run.add_argument(
        "--backend", choices=("auto", "envpool", "gymnasium"), help="plays the training episodes (default: auto)"
    )
    run.add_argument(
        "--rounds", type=whole, metavar="N", dest="rounds.count", help="collect, train on and evolve so often"
    )
    _add_search(run)
    run.add_argument("--actions", metavar="SET", help="Super Mario's: right, simple or complex (default: the preset's)")
    run.add_argument("--baselines", action="store_true", help="evolve vision-only and untrained-memory rivals as well")
    add_settings(run)
    add_machine(run)


def add_stages(commands: Any, function: Command) -> None:
    """A command for every stage, each of which calls `function`."""
    for stage in (*STAGES, ROUNDS):
        command = add_command(commands, stage.name, stage.help, STAGE_EPILOG.format(name=stage.name), function)
        add_folder(command)
        if stage.name == "evaluate":
            command.add_argument(
                "--episodes", type=whole, metavar="N", help="another number than configured: printed only"
            )
        if stage.name == "evolve":
            _add_search(command)
        add_settings(command)
        add_machine(command)


def add_status(commands: Any, function: Command) -> None:
    """`status`, which calls `function`."""
    status = add_command(commands, "status", "say what is done, partial, stale or missing, and why", "", function)
    add_folder(status)
    status.add_argument("--json", action="store_true", help="print one JSON object on stdout")


def _add_search(command: argparse.ArgumentParser) -> None:
    """Options that stand for one setting each, after which they are named."""
    search = command.add_argument_group("the search, in reality or in dreams")
    search.add_argument("--in", choices=("reality", "dream"), dest="dream.world", help="where candidates play")
    search.add_argument("--population", type=whole, metavar="P", dest="search.population", help="candidates")
    if command.get_default("command") == "evolve":  # of `run`, it could be those of the collection as well
        search.add_argument(
            "--episodes", type=whole, metavar="E", dest="search.episodes", help="episodes of each candidate"
        )
    search.add_argument("--generations", type=whole, metavar="G", dest="search.generations", help="generations")
    search.add_argument("--temperature", metavar="T", dest="dream.temperature", help="of the dream (default: 1.15)")
    search.add_argument("--horizon", type=whole, metavar="H", dest="dream.horizon", help="transitions of a dream")
    search.add_argument(
        "--ensemble", type=whole, metavar="N", dest="memory_data.members", help="memories, one for each dream"
    )
    search.add_argument(
        "--check-every",
        type=natural,
        metavar="K",
        dest="search.validate_every",
        help="generations between two validations of CMA's mean, always in reality",
    )
