"""`frmdn emulator`: Super Mario's emulator compiled again, compared with the package's own, and timed."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator

import numpy as np

from envs import emulator
from envs.super_mario import SIMPLE, held
from envs.super_mario_console import Console

FRAMES = 600  # ten seconds of the game, on which both builds must agree
STAGE = (1, 1)
CHANCES = (0.05, 0.2, 0.25, 0.2, 0.2, 0.05, 0.05)  # of the SIMPLE actions: mostly to the right


def run(options: argparse.Namespace) -> int:
    """Build and compare, or remove."""
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
