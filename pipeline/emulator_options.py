"""The arguments of `frmdn emulator`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from .options import add_command, add_json

EPILOG = """Python packages are compiled so that any function can be replaced from outside. The emulator of Super Mario
is about 1.6 times as fast when it is compiled as one program. This command asks pip for the source of the installed
nes-py, compiles it with g++, puts the library beside the package's own, and plays 600 frames on both: screens and
memory must be equal, bit for bit. From then on frmdn plays on the second build; results do not change.

Python 3.11 and 3.12 (nes-py 8). A new release of nes-py wants a new build.

examples:
  frmdn emulator                 build, compare and time
  frmdn emulator --remove        go back to the package's own build
"""


def add_emulator(commands: Any, function: Callable[[argparse.Namespace], int]) -> None:
    """`emulator`, which calls `function`."""
    command = add_command(commands, "emulator", "compile Super Mario's emulator again, for speed", EPILOG, function)
    command.add_argument("--remove", action="store_true", help="delete the second build")
    add_json(command)
