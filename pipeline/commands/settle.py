"""What the commands of a run folder share: the configuration that was asked for, settled with the one that is there."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import settings
from ..progress import Progress
from ..stages.table import RECORDED, fingerprints
from ..workspace import Workspace
from .options import assignments

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
    words = assignments(options)
    if options.command != "run":
        return _override(workspace.read_config(), words)
    if options.seed is not None:
        words.append(f"seed={options.seed}")
    if exists and options.preset is None:
        stored = workspace.read_config()
        if options.env in (None, stored["env"]):
            return _override(stored, words)
        if stored.get("recording"):
            from ..recordings.configuration import attach

            return _override(attach(stored, options.env), words)
    from frmdn.envs.catalogue import get_spec

    from ..presets import preset

    if exists and workspace.read_config().get("recording"):
        raise ValueError(
            f"{workspace.root} was imported, and its preset is chosen by frmdn import SOURCE --preset {options.preset}"
        )
    return _override(settings.to_json(preset(options.preset or PRESET, get_spec(options.env or ENV))), words)


def _override(config: dict[str, Any], words: list[str]) -> dict[str, Any]:
    if not words:
        return config
    from ..config import override

    return override(config, words)


def settle(workspace: Workspace, config: Mapping[str, Any], replace: bool, progress: Progress) -> None:
    """Store the configuration, or make sure that it is the stored one or may replace it."""
    hint = ", or add --replace to take the new settings and redo only what depends on them"
    different = settings.settle(
        workspace.config_path,
        config,
        "frmdn run",
        replace=lambda stored: replace or _untouched(workspace, stored, config),
        hint=hint,
    )
    if different:
        progress.line(f"settings replaced: {'; '.join(different)}")


def _untouched(workspace: Workspace, stored: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    """Whether nothing was made yet with the settings that differ, so that nobody can miss them.

    An environment that imported recordings are given makes their report again, and that is what it is given for.
    """
    old, new = fingerprints(stored), fingerprints(config)
    states = {status.name: status.state for status in workspace.status()}
    if stored["env"] == RECORDED != config["env"]:
        states.pop("report", None)
    return all(
        states.get(name, "missing") == "missing" for name in old.keys() | new.keys() if old.get(name) != new.get(name)
    )


def nothing_to_play(workspace: Workspace) -> str:
    """What a run folder without an environment needs before an agent can be searched and measured."""
    return (
        f"its episodes were imported, and it has nothing to play; name one: frmdn run --out {workspace.root} --env ID"
    )


def run_named(options: argparse.Namespace, workspace: Workspace, names: list[str], progress: Progress) -> None:
    from ..stages.running import run_stages

    session = open_folder(options, workspace, progress)
    if session.config.recording is not None:
        check_imported(workspace)
    if session.spec.hint and not set(names).isdisjoint(PLAYING):
        progress.line(session.spec.hint)
    run_stages(session, names)


def check_imported(workspace: Workspace) -> None:
    """Raise ValueError where imported episodes are not all there: nobody but the import can make them again."""
    status = workspace.status()[0]
    if status.name == "collect" and status.state != "done":
        raise ValueError(
            f"the episodes of {workspace.root} are {status.state} ({status.why}): they were imported, so call frmdn "
            f"import SOURCE --out {workspace.root} again"
        )


def open_folder(options: argparse.Namespace, workspace: Workspace, progress: Progress) -> Session:
    from ..session import Machine, Session, stored_config

    workers = cores() if options.workers is None else options.workers
    machine = Machine(workers, options.ray_address)
    return Session(workspace, stored_config(workspace), machine, progress)
