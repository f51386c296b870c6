"""`frmdn`: the command line. Heavy imports wait until a command needs them, so that `--help` answers at once."""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

from frmdn.agent.errors import shortened

from ..disk import in_words, named
from ..progress import plain
from ..recordings.command import add_import
from .bench import add_bench
from .density import add_density
from .dream import MEASURED, add_dream
from .emulator import add_emulator
from .export import add_export, add_hub
from .play import add_play
from .run import add_run
from .stage import add_stages
from .statespace import add_statespace
from .status import add_status

EXAMPLES = """examples:
  frmdn run --env CarRacing-v3 --preset quick --out runs/car     all seven stages; call it again and it goes on
  frmdn status --run runs/car                                    what is done, partial, stale or missing, and why
  frmdn evaluate --run runs/car --episodes 100 --json            measure a finished agent on more tracks
  frmdn run --out runs/car --set search.generations=80 --replace search on; redo only what depends on it
  frmdn export --run runs/car --out car.safetensors              the finished agent as one file, to take elsewhere
"""
LONGEST = 1000  # characters of an error: a word or a file may be quoted in it
STDOUT = "the standard output"
INTERRUPTED, TERMINATED = 130, 143  # as shells report Ctrl-C and SIGTERM


def main(arguments: Sequence[str] | None = None) -> int:
    """0 on success, 2 on the user's mistake or a disk that refuses (one line on stderr), 130 on Ctrl-C, 143 on SIGTERM,
    1 otherwise."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    options = parser(bench=words[:1] == ["bench"]).parse_args(words)
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        code = int(options.function(options) or 0)
        with named(STDOUT):
            sys.stdout.flush()  # a full disk behind it must not wait for the interpreter's end
        return code
    except KeyboardInterrupt as stop:
        print("frmdn: interrupted; run the same command again: it goes on", file=sys.stderr)
        return TERMINATED if stop.args else INTERRUPTED
    except BrokenPipeError:  # e.g. `frmdn status | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        return _tell(error)
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(number: int, frame: object) -> None:
    """SIGTERM, as `docker stop` sends it, ends like Ctrl-C: in order."""
    raise KeyboardInterrupt(number)


def _tell(error: Exception) -> int:
    """One line on stderr, and the exit code. What is no mistake of the user's comes with its traceback, in the run's
    log where a stage was at work."""
    log, text = getattr(error, "log", None), str(error)
    if isinstance(error, OSError):
        text = in_words(error) or text
        if error.errno == errno.ENOSPC and error.filename in (None, STDOUT):  # or Python tries once more at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(error, MemoryError):
        text = f"out of memory{f' ({text})' if text else ''}: use smaller batches, fewer workers or slots, or less data"
    elif log is None and not _is_users(error):
        traceback.print_exc()
        return 1
    if not isinstance(error, ValueError | OSError) and type(error).__name__ not in ("MissingExtra", "WorkerError"):
        text = f"{type(error).__name__}: {text}"
    where = f" (the traceback is in {log})" if log is not None and not isinstance(error, OSError) else ""
    print(f"frmdn: {plain(shortened(' '.join(text.split()), LONGEST))}{where}", file=sys.stderr)
    return 2 if _is_users(error) else 1


def _is_users(error: BaseException | None) -> bool:
    """ValueError (StoreError is one), what a disk refuses, an extra that is not installed; of a worker, its cause."""
    if type(error).__name__ == "WorkerError":
        return error is not None and _is_users(error.__cause__)
    if isinstance(error, OSError):
        return isinstance(error, FileNotFoundError) or in_words(error) is not None
    return isinstance(error, ValueError) or type(error).__name__ == "MissingExtra"


def parser(bench: bool = False) -> argparse.ArgumentParser:
    """The whole command line; the arguments of the benchmarks only with `bench`, for they must be imported."""
    top = _Parser(
        prog="frmdn",
        description="World-model agents: a ConvVAE sees, an FRMDN memory expects, a linear controller acts.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = top.add_subparsers(title="commands", metavar="command", required=True, parser_class=_Words)
    add_run(commands)
    add_stages(commands)
    add_status(commands)
    add_import(commands)
    add_density(commands)
    add_dream(commands)
    add_play(commands)
    add_export(commands)
    add_hub(commands)
    add_statespace(commands)
    add_emulator(commands)
    add_bench(commands, bench)
    return top


class _Words(argparse.ArgumentParser):
    """Says in one line what is wrong with a word, however long it is and whatever stands in it."""

    def error(self, message: str) -> NoReturn:
        super().error(plain(shortened(" ".join(message.split()), LONGEST)))


class _Parser(_Words):
    """Takes the two words of `dream report` for one command: behind `dream` alone, a word is a file."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        words = list(sys.argv[1:] if args is None else args)
        joined = [MEASURED, *words[2:]] if words[:2] == MEASURED.split() else words
        return super().parse_known_args(joined, namespace)


class _Version(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"frmdn {version('frmdn')}")
        parser.exit()


if __name__ == "__main__":
    sys.exit(main())
