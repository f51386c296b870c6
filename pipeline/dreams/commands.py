"""`frmdn dream` and `frmdn dream report`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from ..config import from_json
from ..progress import Progress
from ..session import Machine, Session
from ..workspace import Workspace


def run(options: argparse.Namespace) -> int:
    """Whichever command was asked for."""
    if options.command == "dream report":
        return table(options) if options.runs else report(options)
    return video(options)


def video(options: argparse.Namespace) -> int:
    """A WebM: reality, reconstruction and open-loop dream, or the agent in its own dream."""
    if options.out is None or options.video is None:
        raise ValueError(
            "dream needs --run DIR and --video FILE (or the word report: frmdn dream report --run DIR); see --help"
        )
    if options.video.suffix != ".webm":
        raise ValueError(f"--video must name a .webm file, not {options.video.name}: the video is written as WebM")
    from .film import Shot, film_agent, film_open_loop
    from .reel import save_film

    session = _session(options.out, 0, None, log=False)
    shot = Shot(options.steps, options.warmup, options.temperature, options.seed)
    film = film_agent(session, shot) if options.in_dream else film_open_loop(session, shot, options.episode)
    save_film(options.video, film)
    size = options.video.stat().st_size / 1e6
    session.progress.line(f"{options.video}: {film.summary}, {size:.1f} MB")
    return 0


def report(options: argparse.Namespace) -> int:
    """Measure the dreams of a run."""
    from .fidelity import OpenLoopPlan
    from .report import ReportPlan, lines, make_report
    from .section import refresh_page
    from .transfer import TransferPlan

    quality = OpenLoopPlan(options.warmup, options.horizon, options.starts, threshold=options.threshold)
    sizes = (options.controllers, options.episodes, options.dreams)
    transfer = TransferPlan(*sizes, options.temperatures, options.dream_steps)
    workspace = Workspace(options.out)
    workspace.require()
    with workspace.lock():
        session = _session(options.out, options.workers, options.ray_address)
        result = make_report(session, ReportPlan(transfer, quality))
        for line in lines(result):
            session.progress.line(line)
        page = refresh_page(workspace.root)
        where = f" and {page}" if page else "; a report.html made from now on shows it"
        session.progress.line(f"wrote {workspace.root / 'dream.json'}{where}")
    if options.json:
        print(json.dumps(result, indent=2, allow_nan=False))
    return 0


def table(options: argparse.Namespace) -> int:
    """Runs side by side, as in the paper's table: temperature of the search, dream score, real score."""
    from .runs import COLUMNS, read_run, row

    records: list[dict[str, Any]] = [read_run(folder) for folder in options.runs]
    records.sort(key=lambda record: (record["temperature"] is None, record["temperature"] or 0.0))
    Progress().table(f"{len(records)} runs", COLUMNS, [row(record) for record in records])
    if options.json:
        print(json.dumps({"runs": records}, indent=2, allow_nan=False))
    return 0


def _session(root: Path, workers: int | None, address: str | None, log: bool = True) -> Session:
    from ..commands import cores

    workspace = Workspace(root)
    config = from_json(workspace.read_config())
    machine = Machine(cores() if workers is None else workers, address)
    return Session(workspace, config, machine, Progress(workspace.root / "log.txt" if log else None))
