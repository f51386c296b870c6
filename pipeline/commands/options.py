"""What the commands' arguments have in common. Light, as all files of arguments: no torch before a command runs."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def add_command(commands: Any, name: str, help: str, epilog: str, function: object) -> argparse.ArgumentParser:
    """A command that calls `function` with its options; its help begins with `help` as a sentence."""
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=help,
        description=help[0].upper() + help[1:] + ".",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.set_defaults(function=function, command=name)
    return command


def add_folder(command: Any, required: bool = True, **more: Any) -> None:
    """`--run DIR` of a command, or of a group of its arguments."""
    command.add_argument(
        "--run", type=Path, required=required, metavar="DIR", dest="out", help="the run folder", **more
    )


def add_agent(command: Any, required: bool = True) -> None:
    """A trained agent: `--run DIR`, or in its place the file that `frmdn export` made."""
    either = command.add_mutually_exclusive_group(required=required)
    help = "an agent file, made by frmdn export"
    either.add_argument("out", action=_AsPath, nargs="?", metavar="FILE", default=argparse.SUPPRESS, help=help)
    add_folder(either, required=False)
    told = "a module that registers the world of FILE; a file imports none by itself"
    command.add_argument("--import", action="append", default=[], dest="imports", metavar="MODULE", help=told)


class _AsPath(argparse.Action):
    """Keeps a path. `type=Path` would make one of SUPPRESS too, and so take a FILE that is not there for one."""

    def __call__(self, parser: object, namespace: argparse.Namespace, values: Any, option: str | None = None) -> None:
        setattr(namespace, self.dest, Path(values))


def add_set(command: argparse.ArgumentParser, metavar: str, help: str) -> None:
    """`--set`, as often as one likes."""
    command.add_argument("--set", action="append", default=[], metavar=metavar, dest="settings", help=help)


def assignments(options: argparse.Namespace) -> list[str]:
    """The words KEY=VALUE of `--set`, and of the options that stand for one setting: those are named after it."""
    named = [f"{key}={value}" for key, value in vars(options).items() if "." in key and value is not None]
    return [*options.settings, *named]


def add_settings(command: argparse.ArgumentParser) -> None:
    """Other settings for a run folder, and whether they may replace those that are there."""
    add_set(command, "SECTION.KEY=VALUE", "change one setting; may be repeated")
    command.add_argument(
        "--replace",
        action="store_true",
        help="let other settings replace those of the run folder, and redo what depends on them",
    )


def add_machine(command: argparse.ArgumentParser) -> None:
    """Where the work is done, and how its figures are told."""
    command.add_argument("--workers", type=natural, metavar="N", help="worker processes (default: one a core; 0: none)")
    command.add_argument("--ray-address", metavar="ADDRESS", help="of a Ray cluster (default: one on this machine)")
    add_device(command)
    add_json(command)


def add_log(command: argparse.ArgumentParser) -> None:
    """Trackers that get the figures too."""
    command.add_argument(
        "--log",
        action="append",
        default=[],
        choices=("wandb", "mlflow"),
        help="hand all figures to Weights & Biases or MLflow too (extras); may be repeated",
    )


def add_device(command: argparse.ArgumentParser) -> None:
    """Which processor computes; the names are looked at when it is chosen, for that takes torch."""
    command.add_argument(
        "--device",
        default="auto",
        metavar="D",
        help="auto, cpu, cuda, cuda:1 or mps (default: auto, a GPU of CUDA where one works)",
    )


def add_json(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="print one JSON object on stdout, all else on stderr")


def positive(text: str) -> float:
    """A number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a positive number, not {text!r:.80}")
    return value


def whole(text: str) -> int:
    """1, 2, 3 ..."""
    return _integer(text, 1)


def natural(text: str) -> int:
    """0, 1, 2 ..."""
    return _integer(text, 0)


def _integer(text: str, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"must be a whole number from {least} up, not {text!r:.80}")
    return int(text)


def add_search(command: argparse.ArgumentParser) -> None:
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


def print_json(value: Mapping[str, Any]) -> None:
    print(json.dumps(value, indent=2, allow_nan=False))
