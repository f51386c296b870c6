"""A command for every stage, from `frmdn collect` to `frmdn report`: one stage of a run folder."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from ..files import read_json
from ..machine import cores
from ..progress import Progress
from ..stages.table import ROUNDS, STAGES
from ..workspace import Workspace, nothing_to_play
from .options import (
    add_agent,
    add_command,
    add_folder,
    add_log,
    add_machine,
    add_search,
    add_settings,
    print_json,
    whole,
)
from .settle import check_device, open_folder, ready, requested, run_named, settle

STAGE_EPILOG = """examples:
  frmdn {name} --run runs/car
  frmdn {name} --run runs/car --workers 4 --json
"""
FILE_EPILOG = "  frmdn evaluate car.safetensors --episodes 100\n"


def add_stages(commands: Any) -> None:
    """A command for every stage."""
    for stage in (*STAGES, ROUNDS):
        epilog = STAGE_EPILOG.format(name=stage.name) + (FILE_EPILOG if stage.name == "evaluate" else "")
        command = add_command(commands, stage.name, stage.help, epilog, run)
        if stage.name == "evaluate":
            add_agent(command)
            command.add_argument(
                "--episodes", type=whole, metavar="N", help="another number than configured: printed only"
            )
        else:
            add_folder(command)
        if stage.name == "evolve":
            add_search(command)
        add_settings(command)
        add_machine(command)
        add_log(command)


def run(options: argparse.Namespace) -> int:
    """`frmdn collect`, `frmdn vision` and so on: one stage of an existing folder."""
    if options.command == "evaluate" and options.out.is_file():
        return _evaluate_file(options)
    workspace = Workspace(options.out)
    check_device(options)
    config = requested(options, workspace)
    with workspace.lock():
        progress = Progress(workspace.root / "log.txt")
        settle(workspace, config, options.replace, progress)
        if options.command not in workspace.table:
            remedy = "set rounds.count to 2 or more" if options.command == "rounds" else nothing_to_play(workspace)
            raise ValueError(f"{workspace.root} has no stage {options.command}: {remedy}")
        episodes = getattr(options, "episodes", None)
        if episodes not in (None, config["evaluate"]["episodes"]):
            if options.log:
                raise ValueError("--log is for the run's own evaluation: leave out --episodes")
            return _evaluate_only(options, workspace, progress, episodes)
        status = next(status for status in workspace.status() if status.name == options.command)
        if status.state == "done" and not options.log:  # a tracker gets what it has not seen, also of what is done
            progress.line(f"{status.name:<9} done already: {(workspace.done(status.name) or {}).get('result', '')}")
        else:
            run_named(options, workspace, [options.command], progress)
    if options.json:
        if options.command == "evaluate":
            print_json(read_json(workspace.root / "evaluation.json"))
        else:
            print_json({"stage": options.command, **(workspace.done(options.command) or {})})
    return 0


def _evaluate_file(options: argparse.Namespace) -> int:
    """Measure the agent of one file, on the seeds of its run's own evaluation; the file stays as it is."""
    if options.settings or options.replace:
        raise ValueError("an agent file keeps its settings: --set and --replace go with --run DIR")
    from ..trained.file import AgentFile
    from ..trained.measure import measure_file

    progress = Progress()
    file = AgentFile(options.out, ready(options, progress.line), options.imports)
    workers = cores() if options.workers is None else options.workers
    with progress.task("evaluate", "episodes") as task:
        report = measure_file(file, task.update, options.episodes, workers, options.ray_address)
    low, high = report.ci95
    own = f"{file.evaluation['mean']:.0f} over {file.evaluation['episodes']}" if file.evaluation else "not measured"
    progress.line(
        f"evaluate  mean return {report.mean:.0f} (95 %: {low:.0f} to {high:.0f}) over {report.episodes} episodes; "
        f"in its run: {own}"
    )
    if options.json:
        print_json(report.to_dict())
    return 0


def _evaluate_only(options: argparse.Namespace, workspace: Workspace, progress: Progress, episodes: int) -> int:
    """Measure a finished agent on another number of episodes; the run's own evaluation.json stays as it is."""
    from ..session import Work
    from ..stages.evaluate import measure, told
    from ..workspace import StageClock

    needed = [status for status in workspace.status() if status.name not in ("evaluate", "report")]
    unfinished = [status.name for status in needed if status.state != "done"]
    if unfinished:
        raise ValueError(f"evaluate needs {', '.join(unfinished)} done first: run frmdn run --out {workspace.root}")
    session = open_folder(options, workspace, progress)
    with progress.task("evaluate", "episodes") as task, tempfile.TemporaryDirectory() as scratch:
        record = {"fingerprint": "", "inputs": {}, "root": "", "size": 0, "seconds": 0.0}
        work = Work(Path(scratch), StageClock(Path(scratch), record), task.update)
        report = measure(session, work, episodes, session.config.evaluate.baselines)
    low, high = report.ci95
    progress.line(
        f"evaluate  mean return {report.mean:.0f} (95 %: {low:.0f} to {high:.0f}); evaluation.json is unchanged"
    )
    if options.json:
        print_json(told(session, report))
    return 0
