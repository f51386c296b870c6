"""What the commands of a run folder share: the configuration that was asked for, settled with the one that is there."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .. import settings
from ..machine import cores
from ..progress import Progress
from ..stages.table import RECORDED, fingerprints
from ..workspace import Workspace
from .options import assignments

if TYPE_CHECKING:
    from ..session import Session

ENV, PRESET = "CarRacing-v3", "quick"
PLAYING = ("collect", "evolve", "rounds", "evaluate")  # stages that wait for the environment


def requested(options: argparse.Namespace, workspace: Workspace) -> dict[str, Any]:
    """The configuration that the command line asks for; what it leaves open is taken from the run folder.

    The imports of the configuration cost seconds, so they wait until the command line really changes something.
    """
    exists = workspace.exists
    words = assignments(options)
    if options.command != "run":
        return _override(workspace.read_config(), words)
    if options.seed is not None:
        words.append(f"seed={options.seed}")
    *modules, env = (options.env or "").split(":")
    if options.imports or modules:
        words.insert(0, f"world.imports={json.dumps([*options.imports, *modules])}")
    if exists and options.preset is None:
        stored = workspace.read_config()
        if env in ("", stored["env"]):
            return _override(stored, words)
        if stored.get("recording"):
            from ..recordings.configuration import attach

            return _override(attach(stored, env, words), words)
    from ..config import named_world
    from ..presets import preset

    if exists and workspace.read_config().get("recording"):
        raise ValueError(
            f"{workspace.root} was imported, and its preset is chosen by frmdn import SOURCE --preset {options.preset}"
        )
    spec = named_world(env or ENV, words)
    return _override(settings.to_json(preset(options.preset or PRESET, spec)), words)


def _override(config: dict[str, Any], words: list[str]) -> dict[str, Any]:
    if not words:
        return config
    from ..config import override

    return override(config, words)


def settle(workspace: Workspace, config: Mapping[str, Any], replace: bool, progress: Progress) -> None:
    """Store the configuration, or make sure that it is the stored one or may replace it."""
    if workspace.exists and not workspace.config_path.exists():
        workspace.write_config(workspace.read_config())
        progress.line(f"{workspace.config_path} was lost, and is made again from what the stages remember")
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


def run_named(options: argparse.Namespace, workspace: Workspace, names: list[str], progress: Progress) -> None:
    """Run these stages, and say so to whoever watches the folder."""
    from frmdn.rollouts.workers import at_work

    from ..stages.running import run_stages
    from ..watch.beacon import Beacon

    beacon = Beacon(workspace.root, at_work)
    progress.watcher = beacon.moved
    with beacon.working():
        session = open_folder(options, workspace, progress)
        if session.config.recording is not None:
            check_imported(workspace)
        with tracked(session, options.log) as session, progress.live(at_work):
            if session.spec.hint and not set(names).isdisjoint(PLAYING):
                progress.line(session.spec.hint)
            run_stages(session, names)


@contextmanager
def tracked(session: Session, names: Sequence[str]) -> Iterator[Session]:
    """The session with the trackers that `--log` names, for as long as it works."""
    from ..metrics.tracker import Tracker, open_client

    folder, config, tell = session.workspace.root, session.workspace.read_config(), session.progress.line
    with ExitStack() as open_ones:
        trackers = []
        for name in dict.fromkeys(names):
            trackers.append(Tracker(open_client(name), folder, config, tell))
            open_ones.push(lambda kind, *_, tracker=trackers[-1]: tracker.close(well=kind is None))
        yield replace(session, trackers=tuple(trackers))


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
    machine = Machine(workers, options.ray_address, ready(options, progress.line))
    return Session(workspace, stored_config(workspace), machine, progress)


def check_device(options: argparse.Namespace) -> None:
    """A device that is named and cannot compute is better known before a folder is made than after an hour."""
    if options.device not in ("auto", "cpu"):
        from frmdn.agent.device import choose_device

        choose_device(options.device)


def ready(options: argparse.Namespace, tell: Callable[[str], None]) -> str:
    """The name of the device that `--device` means here; ValueError where it cannot compute."""
    from frmdn.agent.device import choose_device

    return str(choose_device(options.device, tell))
