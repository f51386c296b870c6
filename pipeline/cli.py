"""`frmdn`: the command line. Heavy imports wait until a command needs them, so that `--help` answers at once."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from .density.options import add_density
from .dreams.options import add_dream
from .play.options import add_play
from .stages import ROUNDS, STAGES

EXAMPLES = """examples:
  frmdn run --env CarRacing-v3 --preset quick --out runs/car     all seven stages; call it again and it goes on
  frmdn status --run runs/car                                    what is done, partial, stale or missing, and why
  frmdn evaluate --run runs/car --episodes 100 --json            measure a finished agent on more tracks
  frmdn run --out runs/car --set search.generations=80 --replace search on; redo only what depends on it
"""
STAGE_EPILOG = """examples:
  frmdn {name} --run runs/car
  frmdn {name} --run runs/car --workers 4 --json
"""
RUN_EPILOG = """presets:
  smoke     under two minutes, to see that everything works; nothing is learnt
  quick     about twenty minutes on two cores; VizdoomTakeCover-v1, evolved in dreams: an hour
  quick-dream  two hours on two cores; evolved in dreams only, in rounds
  standard  hours on a workstation
  paper     the published settings of World Models; days on many cores

examples:
  frmdn run --env CarRacing-v3 --preset smoke --out /tmp/smoke
  frmdn run --preset quick --out runs/rmdn --memory rmdn --seed 3
  frmdn run --preset quick --out runs/wide --set search.population=64 --set memory.hidden=512
  frmdn run --out runs/car --ray-address auto         on a Ray cluster that is already there
  frmdn run --preset quick-dream --out runs/dreamt    evolved in dreams only, in rounds; docs/dreams.md

Kill it anywhere and call the same command again: it goes on after the last finished episode, checkpoint or generation.
All settings of a run stand in its config.json; --set takes any of them as section.key=value.
"""
STATESPACE_EPILOG = """variants:
  dvbf            locally linear transitions; Gaussian recognition of the noise (Karl et al. 2017)
  gaussian        Gaussian transitions, one network for mean and scale: the plain baseline
  iaf-step        dvbf, with an inverse autoregressive flow on fresh noise inside each transition
  iaf-trajectory  dvbf, with an inverse autoregressive flow over the noise of the whole trajectory

examples:
  frmdn statespace --variant dvbf --seeds 5 --out runs/dvbf --json
  frmdn statespace --variant iaf-step --observation pixels --seeds 5 --out runs/iaf-pixels
  frmdn statespace --variant dvbf --seeds 1 --control --out runs/dvbf       then a controller, evolved in its dream
  frmdn statespace --variant dvbf --seeds 1 --out /tmp/try --set updates=200 --set train=100

It collects trajectories of Pendulum-v1 under Ornstein-Uhlenbeck torques, trains one model a seed, and measures on
test trajectories what it generates from the first observation and the controls alone: with all noise at its centre
(generation_mae) and with noise drawn (generation_mae_sampled). The folder gets config.json, result.json,
training.png and one folder a seed with weights, history and plots. Kill it anywhere and call it again: it goes on.
The densities' nats may be below or above 0; the KL may not, in expectation. docs/state-space.md derives the bounds.
"""
INTERRUPTED, TERMINATED = 130, 143  # as shells report Ctrl-C and SIGTERM


def main(arguments: Sequence[str] | None = None) -> int:
    """0 on success, 2 on the user's mistake (one line on stderr), 130 on Ctrl-C, 143 on SIGTERM, 1 otherwise."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    options = parser(bench=words[:1] == ["bench"]).parse_args(words)
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        return int(options.function(options) or 0)
    except KeyboardInterrupt as stop:
        print("frmdn: interrupted; run the same command again: it goes on", file=sys.stderr)
        return TERMINATED if stop.args else INTERRUPTED
    except BrokenPipeError:  # e.g. `frmdn status | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if not _is_users(error):
            traceback.print_exc()
            return 1
        print(f"frmdn: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(number: int, frame: object) -> None:
    """SIGTERM, as `docker stop` sends it, ends like Ctrl-C: in order."""
    raise KeyboardInterrupt(number)


def _is_users(error: Exception) -> bool:
    """ValueError (StoreError is one), FileNotFoundError, and an extra that is not installed."""
    return isinstance(error, ValueError | FileNotFoundError) or type(error).__name__ == "MissingExtra"


def parser(bench: bool = False) -> argparse.ArgumentParser:
    """The whole command line; the arguments of the benchmarks only with `bench`, for they must be imported."""
    top = argparse.ArgumentParser(
        prog="frmdn",
        description="World-model agents: a ConvVAE sees, an FRMDN memory expects, a linear controller acts.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = top.add_subparsers(title="commands", metavar="command", required=True)
    _add_run(commands)
    for stage in (*STAGES, ROUNDS):
        command = _add(commands, stage.name, stage.help, STAGE_EPILOG.format(name=stage.name), stage_command)
        _add_folder(command)
        if stage.name == "evaluate":
            command.add_argument(
                "--episodes", type=_positive, metavar="N", help="another number than configured: printed only"
            )
        if stage.name == "evolve":
            _add_dream(command)
        _add_settings(command)
        _add_machine(command)
    status = _add(commands, "status", "say what is done, partial, stale or missing, and why", "", status_command)
    _add_folder(status)
    status.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    add_density(commands, density_command)
    add_dream(commands, dream_command)
    add_play(commands, play_command)
    _add_statespace(commands)
    _add_bench(commands, bench)
    return top


def _add(
    commands: argparse._SubParsersAction, name: str, help: str, epilog: str, function: object
) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=help,
        description=help[0].upper() + help[1:] + ".",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.set_defaults(function=function, command=name)
    return command


def _add_run(commands: argparse._SubParsersAction) -> None:
    run = _add(commands, "run", "run all stages, and go on where a run was stopped", RUN_EPILOG, run_command)
    run.add_argument("--out", type=Path, required=True, metavar="DIR", help="the run folder; made if it is not there")
    run.add_argument("--env", metavar="ID", help="Gymnasium id with pixel observations (default: CarRacing-v3)")
    run.add_argument("--preset", metavar="NAME", help="smoke, quick, quick-dream, standard or paper (default: quick)")
    run.add_argument("--seed", type=int, metavar="N", help="root of all random numbers (default: 0)")
    run.add_argument("--memory", choices=("frmdn", "rmdn"), help="density of the memory, with or without a flow")
    run.add_argument(
        "--backend", choices=("auto", "envpool", "gymnasium"), help="plays the training episodes (default: auto)"
    )
    run.add_argument(
        "--rounds", type=_positive, metavar="N", dest="rounds.count", help="collect, train on and evolve so often"
    )
    _add_dream(run)
    run.add_argument("--actions", metavar="SET", help="right, simple or complex, for Super Mario (default: simple)")
    run.add_argument("--baselines", action="store_true", help="evolve vision-only and untrained-memory rivals as well")
    _add_settings(run)
    _add_machine(run)


def _add_dream(command: argparse.ArgumentParser) -> None:
    """Options that stand for one setting each, after which they are named."""
    search = command.add_argument_group("the search, in reality or in dreams")
    search.add_argument("--in", choices=("reality", "dream"), dest="dream.world", help="where candidates play")
    search.add_argument("--population", type=_positive, metavar="P", dest="search.population", help="candidates")
    if command.get_default("command") == "evolve":  # of `run`, it could be those of the collection as well
        search.add_argument(
            "--episodes", type=_positive, metavar="E", dest="search.episodes", help="episodes of each candidate"
        )
    search.add_argument("--generations", type=_positive, metavar="G", dest="search.generations", help="generations")
    search.add_argument("--temperature", metavar="T", dest="dream.temperature", help="of the dream (default: 1.15)")
    search.add_argument("--horizon", type=_positive, metavar="H", dest="dream.horizon", help="transitions of a dream")
    search.add_argument(
        "--ensemble", type=_positive, metavar="N", dest="memory_data.members", help="memories, one for each dream"
    )
    search.add_argument(
        "--check-every",
        type=_count,
        metavar="K",
        dest="search.validate_every",
        help="generations between two validations of CMA's mean, always in reality",
    )


def _add_folder(command: argparse.ArgumentParser) -> None:
    command.add_argument("--run", type=Path, required=True, metavar="DIR", dest="out", help="the run folder")


def _add_settings(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        dest="settings",
        help="change one setting; may be repeated",
    )
    command.add_argument(
        "--replace",
        action="store_true",
        help="let other settings replace those of the run folder, and redo what depends on them",
    )


def _add_machine(command: argparse.ArgumentParser) -> None:
    command.add_argument("--workers", type=_count, metavar="N", help="worker processes (default: one a core; 0: none)")
    command.add_argument("--ray-address", metavar="ADDRESS", help="of a Ray cluster (default: one on this machine)")
    command.add_argument("--json", action="store_true", help="print one JSON object on stdout, all else on stderr")


def _add_statespace(commands: argparse._SubParsersAction) -> None:
    help = "train latent state-space models on the pendulum, and measure what they generate"
    command = _add(commands, "statespace", help, STATESPACE_EPILOG, statespace_command)
    variants = ("dvbf", "gaussian", "iaf-step", "iaf-trajectory")
    command.add_argument("--variant", choices=variants, default="dvbf", help="which model (default: dvbf)")
    command.add_argument("--env", default="Pendulum-v1", metavar="ID", help="the environment (default: Pendulum-v1)")
    command.add_argument(
        "--observation",
        choices=("state", "pixels"),
        default="state",
        help="vectors or 16 x 16 pictures (default: state)",
    )
    command.add_argument("--seeds", type=_positive, default=5, metavar="N", help="seeds 0 to N-1 (default: 5)")
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder; made if it is not there")
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="settings",
        help="change one setting of config.json; may be repeated",
    )
    command.add_argument(
        "--control", action="store_true", help="evolve a small controller in the dream of seed 0, and play it for real"
    )
    command.add_argument("--json", action="store_true", help="print one JSON object on stdout, all else on stderr")


def _add_bench(commands: argparse._SubParsersAction, wanted: bool) -> None:
    command = _add(commands, "bench", "measure this machine against the classical way", "", None)
    if wanted:
        from benchmarks.main import add_arguments, run

        add_arguments(command)
        command.set_defaults(function=run)


def run_command(options: argparse.Namespace) -> int:
    from .commands import run_all

    return run_all(options)


def stage_command(options: argparse.Namespace) -> int:
    from .commands import run_one

    return run_one(options)


def statespace_command(options: argparse.Namespace) -> int:
    from .statespace import statespace

    return statespace(options)


def status_command(options: argparse.Namespace) -> int:
    from .commands import show_status

    return show_status(options)


def density_command(options: argparse.Namespace) -> int:
    from .density.commands import run

    return run(options)


def dream_command(options: argparse.Namespace) -> int:
    from .dreams.commands import run

    return run(options)


def play_command(options: argparse.Namespace) -> int:
    from .play.commands import run

    return run(options)


def _positive(text: str) -> int:
    return _whole(text, 1)


def _count(text: str) -> int:
    return _whole(text, 0)


def _whole(text: str, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"must be a whole number from {least} up, not {text!r}")
    return int(text)


class _Version(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"frmdn {version('frmdn')}")
        parser.exit()


if __name__ == "__main__":
    sys.exit(main())
