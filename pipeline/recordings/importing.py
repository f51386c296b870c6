"""Recordings become the episodes of a run folder, whose first stage is then done."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from frmdn.envs.recorded import RECORDED, Recording, describe
from frmdn.envs.spec import EnvSpec
from frmdn.rollouts.episodes.store import EpisodeStore
from frmdn.rollouts.recordings.fitting import Fitting, channels
from frmdn.rollouts.recordings.opening import open_source
from frmdn.rollouts.recordings.storing import Stored, kept, store_takes
from frmdn.rollouts.recordings.survey import find_actions
from frmdn.rollouts.recordings.take import Source

from .. import settings
from ..commands.options import assignments
from ..commands.settle import PRESET, settle
from ..config import from_json, named_world, override
from ..files import History
from ..progress import Progress, duration
from ..workspace import Workspace
from .configuration import counted, recorded_config, renewed

JOURNAL = "takes.jsonl"  # in the folder of the stage: which episode is of which recording


def run_import(options: argparse.Namespace) -> dict[str, Any]:
    """Import what the options name; the stage's record, for `--json`."""
    workspace = Workspace(options.out)
    workspace.check_free()
    stored = workspace.read_config() if workspace.exists else None
    if stored is not None and not stored.get("recording"):
        raise ValueError(f"{workspace.root} is a run of {stored['env']} that collects by itself: give --out another")
    source = open_source(options.source, options.camera)
    spec = named_world(options.env, assignments(options)) if options.env else _stored_spec(stored)
    cropped = spec if stored is None or stored["recording"]["env"] else None  # one that came later crops nothing
    recording = describe_source(source, options, spec, cropped)
    config = _requested(options, stored, recording, spec)
    with workspace.lock():
        progress = Progress(workspace.root / "log.txt")
        settle(workspace, config, options.replace, progress)
        done = store(workspace, source, recording, cropped, progress)
        progress.line(f"go on with: frmdn run --out {workspace.root}")
    return {"run": str(workspace.root), "stage": "collect", **done, "recording": settings.to_json(recording)}


def _stored_spec(stored: Mapping[str, Any] | None) -> EnvSpec | None:
    return None if stored is None or stored["env"] == RECORDED else from_json(stored).spec


def describe_source(
    source: Source, options: argparse.Namespace, spec: EnvSpec | None, cropped: EnvSpec | None
) -> Recording:
    """What is imported and how, found by looking at all actions and at one picture.

    `spec` is the environment that will be played, `cropped` the one that the frames must be cut as.
    """
    first = source.takes[0]
    picture = next(first.pictures(), None)
    if picture is None:
        raise ValueError(f"{first.name} has no frames: take it away")
    action = find_actions(source, options.actions, None if spec is None else spec.action)
    return Recording(
        source.kind,
        source.name,
        action,
        frame_size=options.size or (64 if spec is None else spec.frame_size),
        channels=channels(picture, first.name),
        fit=options.fit,
        every=options.every,
        length=options.length,
        camera=options.camera,
        env="" if cropped is None else cropped.id,
    )


def _requested(
    options: argparse.Namespace, stored: Mapping[str, Any] | None, recording: Recording, spec: EnvSpec | None
) -> dict[str, Any]:
    """The configuration that is asked for; what the command line leaves open is taken from the run folder."""
    words = assignments(options)
    if options.seed is not None:
        words.append(f"seed={options.seed}")
    if stored is not None and options.preset is None:
        plain = renewed(stored, recording, spec)
    else:
        plain = settings.to_json(recorded_config(options.preset or PRESET, recording, spec, options.seed or 0))
        if stored is not None:
            plain["collect"] = stored["collect"]
    return override(plain, words) if words else plain


def store(
    workspace: Workspace, source: Source, recording: Recording, cropped: EnvSpec | None, progress: Progress
) -> dict[str, Any]:
    """Store what is missing; the stage's done.json."""
    journal = History(workspace.folder("collect") / JOURNAL, "index", chained=True)
    status = workspace.status()[0]
    if status.state == "done" and _complete(source, journal):
        done = workspace.done("collect") or {}
        progress.line(f"import    done already: {done['result']}")
        return done
    clock = workspace.begin("collect")
    episodes = EpisodeStore(workspace.folder("collect") / "episodes")
    before = len(journal.read())
    rows, height = (None, None) if cropped is None else (cropped.rows, cropped.height)
    fitting = Fitting(recording.frame_size, recording.channels, recording.fit == "middle", rows, height)
    frames = sum(take.frames for take in source.takes)
    guess = sum(max(1, round(take.frames / recording.every / recording.length)) for take in source.takes)
    with progress.task("import", "frames") as task:

        def report(stored: int, read: int, name: str) -> None:
            clock.tick(stored, max(guess, stored))
            task.update(read, max(frames, read), name)

        report(before, 0, "")
        lines = store_takes(source.takes, recording, fitting, episodes, journal, report)
    if len(lines) != before:
        clock.record.pop("finished", None)  # there is more than before: what was trained on less is stale
    workspace.write_config(counted(workspace.read_config(), len(lines), max(line.steps for line in lines)))
    workspace.remember("collect")
    text = _result(lines, recording, sum(path.stat().st_size for path in episodes.folder.glob("*.h5")))
    clock.finish(len(lines), text)
    progress.line(f"import    {text} ({duration(clock.seconds)})")
    return workspace.done("collect") or {}


def _complete(source: Source, journal: History) -> bool:
    finished = {line.take for line in kept(source.takes, journal) if line.last}
    return finished == {take.name for take in source.takes}


def _result(lines: list[Stored], recording: Recording, size: int) -> str:
    takes = len({line.take for line in lines})
    steps = sum(line.steps for line in lines)
    rewarded = sum(line.rewarded for line in lines)
    rewards = "no rewards: zeros stand in their place"
    if rewarded:
        rewards = "rewards" if rewarded == len(lines) else f"rewards in {rewarded} of them, zeros in the others"
    return (
        f"{len(lines)} episodes of {takes} recordings, {steps:,} steps, {describe(recording.action)}, {rewards}, "
        f"{size / 1e6:.1f} MB"
    )
