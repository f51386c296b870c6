"""`frmdn export`, `frmdn push` and `frmdn pull`: a trained agent leaves its run folder, and comes back."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..progress import Progress
from .options import add_agent, add_command, add_folder, add_json, print_json

EXPORT = """--out: the file holds vision, memory, controller, how frames are cut and actions decoded, and evaluation.
It acts without the environment:

  import frmdn
  player = frmdn.load("car.safetensors")
  action = player.act(frame)        # a picture u8[H,W,3] of the world, of any size
  player.reset()                    # before the next episode

--minari: the episodes, for whoever trains on data sets.

examples:
  frmdn export --run runs/car --out car.safetensors
  frmdn export --run runs/car --minari car/random-v0       into Minari's own folder, for minari.load_dataset
  frmdn export --run runs/car --minari ./car-episodes      into a folder of your own; frmdn import reads it again
  frmdn evaluate car.safetensors                           frmdn play and frmdn dream take the file too
"""
PUSH = """It writes a model card from the evaluation. Log in first with: hf auth login (or set HF_TOKEN).

examples:
  frmdn push --run runs/car me/car
  frmdn push car.safetensors me/car --private
  frmdn push car.safetensors me/car --dry-run card/        only write what would be sent, and send nothing
"""
PULL = """examples:
  frmdn pull me/car --out car.safetensors
  frmdn pull me/car --revision v1 --out car.safetensors
"""


def add_export(commands: Any) -> None:
    about = "write what a run made, to take elsewhere: its agent, or its episodes"
    command = add_command(commands, "export", about, EXPORT, export)
    add_folder(command)
    command.add_argument("--out", type=Path, metavar="FILE", dest="file", help="the agent in one .safetensors")
    to = "the episodes as a Minari data set: its id, or a path (extra minari)"
    command.add_argument("--minari", metavar="NAME_OR_PATH", help=to)
    add_json(command)


def add_hub(commands: Any) -> None:
    """`push` and `pull`."""
    push = add_command(commands, "push", "put an agent on a model hub (extra hub)", PUSH, send)
    add_agent(push)
    _add_repository(push)
    push.add_argument("--private", action="store_true", help="make a repository that only you see")
    push.add_argument("--dry-run", type=Path, metavar="DIR", help="write into this folder what would be sent")
    pull = add_command(commands, "pull", "fetch an agent from a model hub (extra hub)", PULL, fetch)
    _add_repository(pull)
    pull.add_argument("--out", type=Path, required=True, metavar="FILE", dest="file", help="the .safetensors")
    pull.add_argument("--revision", metavar="NAME", help="a branch, tag or commit (default: the newest)")


def _add_repository(command: argparse.ArgumentParser) -> None:
    command.add_argument("repository", metavar="REPO", help="the repository's id: owner/name")


def export(options: argparse.Namespace) -> int:
    """Write what the options ask for."""
    if options.file is None and not options.minari:
        raise ValueError("export needs to know what to write: --out FILE for the agent, --minari NAME for its episodes")
    made: dict[str, Any] = {}
    if options.file is not None:
        from ..front.run import open

        file = open(options.out).export(options.file)
        made = {"file": str(file), "bytes": file.stat().st_size}
        Progress().line(f"{file}: {made['bytes'] / 1e6:.1f} MB; frmdn.load({str(file)!r}).act(frame) acts")
    if options.minari:
        from ..recordings.exporting import export_minari

        made |= export_minari(options.out, options.minari, Progress())
    if options.json:
        print_json(made)
    return 0


def send(options: argparse.Namespace) -> int:
    """The agent and its card, to the hub or, for a look, into a folder."""
    from ..trained.hub import lay_out, push

    if options.dry_run is not None:
        folder = lay_out(options.out, options.repository, options.dry_run)
        names = " and ".join(sorted(path.name for path in folder.iterdir()))
        Progress().line(f"{folder}: {names}, as a push to {options.repository} would send them")
        return 0
    Progress().line(f"sent: {push(options.out, options.repository, options.private)}")
    return 0


def fetch(options: argparse.Namespace) -> int:
    """An agent from the hub, into one file."""
    from ..trained.hub import pull

    file = pull(options.repository, options.file, options.revision)
    Progress().line(f"{file.path}: an agent for {file.official.id}")
    return 0
