"""`frmdn emulator`: Super Mario's emulator compiled again, for speed."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from typing import Any

from .options import add_command, add_json

FRAMES = 600  # ten seconds of the game, on which both builds must agree
STAGE = (1, 1)
CHANCES = (0.05, 0.2, 0.25, 0.2, 0.2, 0.05, 0.05)  # of the SIMPLE actions: mostly to the right

EPILOG = """Python packages are compiled so that any function can be replaced from outside. The emulator of Super Mario
is about 1.6 times as fast when it is compiled as one program. This command asks pip for the source of the installed
nes-py, compiles it with g++, puts the library beside the package's own, and plays 600 frames on both: screens and
memory must be equal, bit for bit. From then on frmdn plays on the second build; results do not change.

Python 3.11 and 3.12 (nes-py 8). A new release of nes-py wants a new build.

examples:
  frmdn emulator                 build, compare and time
  frmdn emulator --remove        go back to the package's own build
"""


def add_emulator(commands: Any) -> None:
    command = add_command(commands, "emulator", "compile Super Mario's emulator again, for speed", EPILOG, run)
    command.add_argument("--remove", action="store_true", help="delete the second build")
    add_json(command)


def run(options: argparse.Namespace) -> int:
    """Build and compare, or remove."""
    from frmdn.envs.worlds import emulator

    if options.remove:
        gone = emulator.remove()
        return _tell(options, {"removed": str(gone) if gone else None}, _removed(gone))
    emulator.place()
    print("compiling nes-py again: about half a minute", file=sys.stderr)
    path = emulator.build()
    try:
        plain, ours = compare()
    except BaseException:
        path.unlink(missing_ok=True)  # what plays another game than the package's must not stay
        raise
    figures = {"path": str(path), "frames": FRAMES, "ms_plain": 1e3 * plain, "ms": 1e3 * ours, "ratio": plain / ours}
    times = f"{1e3 * ours:.2f} ms in place of {1e3 * plain:.2f}, {plain / ours:.1f} times as fast"
    return _tell(options, figures, f"{FRAMES} frames are the same, bit for bit; a frame takes {times}\n{path}")


def compare() -> tuple[float, float]:
    """Seconds a frame of the package's build and of the second one; ValueError where they play different games."""
    import numpy as np

    from frmdn.envs.worlds.super_mario_console import Console

    plain, ours = Console(STAGE, plain=True), Console(STAGE)
    try:
        seconds = [0.0, 0.0]
        for console in (plain, ours):
            console.reset()
        for frame, buttons in enumerate(_presses(FRAMES)):
            ends = []
            for which, console in enumerate((plain, ours)):
                start = time.perf_counter()
                _, _, over = console.press(buttons)
                seconds[which] += time.perf_counter() - start
                ends.append(over)
            same = ends[0] == ends[1] and np.array_equal(plain.picture(), ours.picture())
            if not (same and np.array_equal(plain.memory(), ours.memory())):
                raise ValueError(
                    f"the second build of nes-py plays another game from frame {frame} on, so it is removed: "
                    "please report this compiler. The package's own build plays on, as before"
                )
            if ends[0]:
                plain.reset()
                ours.reset()
        return seconds[0] / FRAMES, seconds[1] / FRAMES
    finally:
        plain.close()
        ours.close()


def _presses(frames: int) -> Iterator[int]:
    """Buttons held for sixteen frames each, the same every time."""
    import numpy as np

    from frmdn.envs.worlds.super_mario import SIMPLE, held

    rng = np.random.default_rng(0)
    for frame in range(frames):
        if frame % 16 == 0:
            buttons = held(str(rng.choice(SIMPLE, p=CHANCES)))
        yield buttons


def _removed(gone: object) -> str:
    return f"removed {gone}: the package's own build plays" if gone else "there is no second build to remove"


def _tell(options: argparse.Namespace, figures: dict[str, object], words: str) -> int:
    print(json.dumps(figures) if options.json else words)
    return 0
