"""What the commands of a run folder share: the configuration that was asked for, settled with the one that is there."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..progress import Progress
from ..stages.table import fingerprints
from ..workspace import Workspace

if TYPE_CHECKING:
    from ..session import Session

ENV, PRESET = "CarRacing-v3", "quick"
PLAYING = ("collect", "evolve", "rounds", "evaluate")  # stages that wait for the environment


def cores() -> int:
    """The processors that this process may use: its affinity, and the quota of its container."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, min(count, round(int(quota) / int(period))))
    except (OSError, ValueError):  # no such file, or "max": no quota
        return count


def requested(options: argparse.Namespace, workspace: Workspace) -> dict[str, Any]:
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
    from frmdn.envs.catalogue import get_spec

    from ..config import to_json
    from ..presets import preset

    return _override(to_json(preset(options.preset or PRESET, get_spec(options.env or ENV))), settings)


def _override(config: dict[str, Any], settings: list[str]) -> dict[str, Any]:
    if not settings:
        return config
    from ..config import override

    return override(config, settings)


def settle(workspace: Workspace, config: Mapping[str, Any], replace: bool, progress: Progress) -> None:
    """Store the configuration, or make sure that it is the stored one."""
    if not workspace.config_path.exists():
        workspace.write_config(config)
        return
    stored = workspace.read_config()
    if stored == config:
        return
    from ..config import differences

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


def run_named(options: argparse.Namespace, workspace: Workspace, names: list[str], progress: Progress) -> None:
    from ..stages.running import run_stages

    session = open_folder(options, workspace, progress)
    if session.spec.hint and not set(names).isdisjoint(PLAYING):
        progress.line(session.spec.hint)
    run_stages(session, names)


def open_folder(options: argparse.Namespace, workspace: Workspace, progress: Progress) -> Session:
    from ..session import Machine, Session, stored_config

    workers = cores() if options.workers is None else options.workers
    machine = Machine(workers, options.ray_address)
    return Session(workspace, stored_config(workspace), machine, progress)
