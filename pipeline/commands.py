"""What the commands do: settle the configuration with the run folder, run stages, show where they stand."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .files import read_json
from .progress import Progress, duration
from .stages import fingerprints
from .workspace import StageStatus, Workspace

if TYPE_CHECKING:
    from .session import Session

ENV, PRESET = "CarRacing-v3", "quick"
PLAYING = ("collect", "evolve", "rounds", "evaluate")  # stages that wait for the environment


def run_all(options: argparse.Namespace) -> int:
    """`frmdn run`: all stages, on a new or on an existing folder."""
    workspace = Workspace(options.out)
    workspace.check_free()
    config = _requested(options, workspace)
    with workspace.lock():
        progress = Progress(workspace.root / "log.txt")
        _settle(workspace, config, options.replace, progress)
        statuses = workspace.status()
        if all(status.state == "done" for status in statuses):
            progress.line(f"all {len(statuses)} stages of {workspace.root} are done already: nothing to do")
        else:
            _run(options, workspace, list(workspace.table), progress)
        _summary(workspace, progress)
    if options.json:
        _print_json(_overview(workspace))
    return 0


def run_one(options: argparse.Namespace) -> int:
    """`frmdn collect`, `frmdn vision` and so on: one stage of an existing folder."""
    workspace = Workspace(options.out)
    config = _requested(options, workspace)
    with workspace.lock():
        progress = Progress(workspace.root / "log.txt")
        _settle(workspace, config, options.replace, progress)
        if options.command not in workspace.table:
            raise ValueError(f"{workspace.root} has no stage {options.command}: set rounds.count to 2 or more")
        episodes = getattr(options, "episodes", None)
        if episodes not in (None, config["evaluate"]["episodes"]):
            return _evaluate_only(options, workspace, progress, episodes)
        status = next(status for status in workspace.status() if status.name == options.command)
        if status.state == "done":
            progress.line(f"{status.name:<9} done already: {(workspace.done(status.name) or {}).get('result', '')}")
        else:
            _run(options, workspace, [options.command], progress)
    if options.json:
        if options.command == "evaluate":
            _print_json(read_json(workspace.root / "evaluation.json"))
        else:
            _print_json({"stage": options.command, **(workspace.done(options.command) or {})})
    return 0


def show_status(options: argparse.Namespace) -> int:
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
        _print_json(report)
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
        print(f"{status.name:<9} {status.state:<8} {seconds:>12}  {status.why}")


def cores() -> int:
    """The processors that this process may use: its affinity, and the quota of its container."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, min(count, round(int(quota) / int(period))))
    except (OSError, ValueError):  # no such file, or "max": no quota
        return count


def _requested(options: argparse.Namespace, workspace: Workspace) -> dict[str, Any]:
    """The configuration that the command line asks for; what it leaves open is taken from the run folder.

    The imports of the configuration cost seconds, so they wait until the command line really changes something.
    """
    exists = workspace.config_path.exists()
    settings = list(options.settings)
    # Options that stand for one setting are named after it: `--temperature` is `dream.temperature`.
    settings += [f"{key}={value}" for key, value in vars(options).items() if "." in key and value is not None]
    if options.command != "run":
        workspace.require()
        return _override(workspace.read_config(), settings)
    flags = (("seed", "seed"), ("memory.density", "memory"), ("backend", "backend"), ("world.actions", "actions"))
    for key, flag in flags:
        if getattr(options, flag) is not None:
            settings.append(f"{key}={getattr(options, flag)}")
    if options.baselines:
        settings.append("evaluate.baselines=true")
    if exists and options.preset is None:
        stored = workspace.read_config()
        if options.env in (None, stored["env"]):
            return _override(stored, settings)
    from envs.spec import get_spec

    from .config import to_json
    from .presets import preset

    return _override(to_json(preset(options.preset or PRESET, get_spec(options.env or ENV))), settings)


def _override(config: dict[str, Any], settings: list[str]) -> dict[str, Any]:
    if not settings:
        return config
    from .config import override

    return override(config, settings)


def _settle(workspace: Workspace, config: Mapping[str, Any], replace: bool, progress: Progress) -> None:
    """Store the configuration, or make sure that it is the stored one."""
    if not workspace.config_path.exists():
        workspace.write_config(config)
        return
    stored = workspace.read_config()
    if stored == config:
        return
    from .config import differences

    different = differences(stored, config)
    if not replace and not _untouched(workspace, stored, config):
        raise ValueError(
            f"{workspace.root} was made with other settings ({'; '.join(different)}): use another folder, or add "
            "--replace to take the new settings and redo only what depends on them"
        )
    progress.line(f"settings replaced: {'; '.join(different)}")
    workspace.write_config(config)


def _untouched(workspace: Workspace, stored: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    """Whether nothing was made yet with the settings that differ, so that nobody can miss them."""
    old, new = fingerprints(stored), fingerprints(config)
    states = {status.name: status.state for status in workspace.status()}
    return all(
        states.get(name, "missing") == "missing" for name in old.keys() | new.keys() if old.get(name) != new.get(name)
    )


def _run(options: argparse.Namespace, workspace: Workspace, names: list[str], progress: Progress) -> None:
    from .running import run_stages

    session = _session(options, workspace, progress)
    if session.spec.hint and not set(names).isdisjoint(PLAYING):
        progress.line(session.spec.hint)
    run_stages(session, names)


def _session(options: argparse.Namespace, workspace: Workspace, progress: Progress) -> Session:
    from .config import from_json
    from .session import Machine, Session

    workers = cores() if options.workers is None else options.workers
    machine = Machine(workers, options.ray_address)
    return Session(workspace, from_json(workspace.read_config()), machine, progress)


def _evaluate_only(options: argparse.Namespace, workspace: Workspace, progress: Progress, episodes: int) -> int:
    """Measure a finished agent on another number of episodes; the run's own evaluation.json stays as it is."""
    from .acting_stages import measure
    from .session import Work
    from .workspace import StageClock

    needed = [status for status in workspace.status() if status.name not in ("evaluate", "report")]
    unfinished = [status.name for status in needed if status.state != "done"]
    if unfinished:
        raise ValueError(f"evaluate needs {', '.join(unfinished)} done first: run frmdn run --out {workspace.root}")
    session = _session(options, workspace, progress)
    with progress.task("evaluate", "episodes") as task, tempfile.TemporaryDirectory() as scratch:
        record = {"fingerprint": "", "inputs": {}, "seconds": 0.0}
        work = Work(Path(scratch), StageClock(Path(scratch), record), task.update)
        report = measure(session, work, episodes, session.config.evaluate.baselines)
    low, high = report.ci95
    progress.line(
        f"evaluate  mean return {report.mean:.0f} (95 %: {low:.0f} to {high:.0f}); evaluation.json is unchanged"
    )
    if options.json:
        _print_json(report.to_dict())
    return 0


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
        "evaluation": read_json(workspace.root / "evaluation.json"),
        "report": str(workspace.root / "report.html"),
    }


def _print_json(value: Mapping[str, Any]) -> None:
    print(json.dumps(value, indent=2, allow_nan=False))
