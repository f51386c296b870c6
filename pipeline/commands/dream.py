"""`frmdn dream` and `frmdn dream report`: their arguments, and what they do."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from ..progress import Progress
from ..workspace import Workspace
from .options import add_agent, add_command, add_device, add_folder, add_machine, natural, positive, whole

MEASURED = "dream report"
EPILOG = """frmdn dream report measures what dreams are worth.

examples:
  frmdn dream --run runs/car --video dream.webm                  real frames, reconstruction and open-loop dream
  frmdn dream --run runs/car --video dream.webm --episode 3      the same of a stored episode
  frmdn dream --run runs/car --video own.webm --in-dream         the agent driving in its own dream
  frmdn dream car.safetensors --video own.webm --in-dream        the same of an agent file
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


def add_dream(commands: Any) -> None:
    """`dream` and `dream report`."""
    _add_video(add_command(commands, "dream", "watch an agent's dreams", EPILOG, video))
    help = "dream return against real return, and how long a dream stays true"
    _add_report(add_command(commands, MEASURED, help, REPORT, report))


def _add_video(command: argparse.ArgumentParser) -> None:
    add_agent(command, required=False)
    command.add_argument("--video", type=Path, metavar="FILE", help="the .webm to write")
    command.add_argument("--in-dream", action="store_true", help="the agent driving in its own dream")
    command.add_argument("--temperature", type=positive, default=1.0, metavar="T", help="of the dream (default: 1)")
    command.add_argument("--steps", type=whole, default=250, metavar="N", help="the dream is alone (default: 250)")
    command.add_argument("--warmup", type=natural, default=50, metavar="N", help="it watches before (default: 50)")
    command.add_argument("--seed", type=natural, default=0, metavar="N", help="of the dream's noise (default: 0)")
    command.add_argument(
        "--episode", type=natural, metavar="N", help="number of a stored episode (default: a new drive of the agent)"
    )
    add_device(command)


def _add_report(command: argparse.ArgumentParser) -> None:
    where = command.add_mutually_exclusive_group(required=True)
    add_folder(where, required=False)
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


def video(options: argparse.Namespace) -> int:
    """A WebM: reality, reconstruction and open-loop dream, or the agent in its own dream."""
    if options.out is None or options.video is None:
        raise ValueError(
            "dream needs --run DIR, or an agent file, and --video FILE (or the word report: frmdn dream report "
            "--run DIR); see --help"
        )
    if options.video.suffix != ".webm":
        raise ValueError(f"--video must name a .webm file, not {options.video.name}: the video is written as WebM")
    from ..drawing.video import save_video
    from ..dreams.film import Shot, film_agent, film_open_loop
    from ..dreams.reel import compose_film
    from ..trained.find import find
    from .settle import ready

    trained = find(options.out, ready(options, Progress().line), options.imports)
    shot = Shot(options.steps, options.warmup, options.temperature, options.seed)
    film = film_agent(trained, shot) if options.in_dream else film_open_loop(trained, shot, options.episode)
    save_video(options.video, film.steps, lambda stride: compose_film(film, stride))
    size = options.video.stat().st_size / 1e6
    Progress().line(f"{options.video}: {film.summary}, {size:.1f} MB")
    return 0


def report(options: argparse.Namespace) -> int:
    """Measure the dreams of a run."""
    if options.runs:
        return table(options)
    from ..dreams.fidelity import OpenLoopPlan
    from ..dreams.report import ReportPlan, lines, make_report
    from ..dreams.section import refresh_page
    from ..dreams.transfer import TransferPlan
    from .settle import open_folder

    quality = OpenLoopPlan(options.warmup, options.horizon, options.starts, threshold=options.threshold)
    sizes = (options.controllers, options.episodes, options.dreams)
    transfer = TransferPlan(*sizes, options.temperatures, options.dream_steps)
    workspace = Workspace(options.out)
    workspace.read_config()  # refused before anything is written there
    with workspace.lock():
        session = open_folder(options, workspace, Progress(workspace.root / "log.txt"))
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
    from ..dreams.runs import COLUMNS, read_run, row

    records: list[dict[str, Any]] = [read_run(folder) for folder in options.runs]
    records.sort(key=lambda record: (record["temperature"] is None, record["temperature"] or 0.0))
    Progress().table(f"{len(records)} runs", COLUMNS, [row(record) for record in records])
    if options.json:
        print(json.dumps({"runs": records}, indent=2, allow_nan=False))
    return 0
