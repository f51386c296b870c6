"""Performances on a touch screen, with times: strokes as the motor system makes them, drawn by seed.

No package of the registry carries recorded touches or LASA's drawn motions (those that are named after them download
at run time), so these are synthetic, and say so. Recorded ones are read by `microjam`.
"""

from __future__ import annotations

import numpy as np

from frmdn.agent.seeds import derive

from .carrier import Strokes

RATE = 30.0  # events a second while a finger is down, on average
SECONDS = 5.0  # of a performance, as in MicroJam
MOST = 100  # events of a performance
KINDS = ("taps", "swipes", "swirls", "zigzags")


def lognormal(time: np.ndarray, begin: float, mu: float, sigma: float) -> np.ndarray:
    """How much of a stroke is done at each time f64[N]: 0 to 1, by the sigma-lognormal law of rapid human movements.

    Plamondon 1995, "A kinematic theory of rapid human movements": the speed of a stroke is a lognormal of the time
    since its command. Its integral is a normal distribution function of the logarithm.
    """
    since = np.maximum(time - begin, 1e-9)
    z = (np.log(since) - mu) / (sigma * np.sqrt(2))
    return np.asarray(0.5 * (1 + _erf(z)))


def _erf(x: np.ndarray) -> np.ndarray:
    """Abramowitz and Stegun 7.1.26: within 1.5e-7."""
    t = 1 / (1 + 0.3275911 * np.abs(x))
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    return np.asarray(np.sign(x) * (1 - series * np.exp(-x * x)))


def perform(split: str, index: int) -> Strokes:
    """One performance of a split: a gesture of one kind, repeated with variations until its seconds are over.

    Places are widths of the screen from its centre, waits are seconds. The same for the same arguments, always.
    """
    rng = np.random.default_rng(derive(0, "performance", split, index))
    kind = str(rng.choice(KINDS))
    place, tempo = rng.uniform(-0.3, 0.3, 2), float(rng.uniform(0.25, 0.7))
    clock, count = float(rng.gamma(2.0, 0.1)), 0
    lines, times = [], []
    while clock < SECONDS and count < MOST:
        targets, lasts = _targets(kind, place, rng)
        line, time = _move(targets, lasts, rng)
        inside = (clock + time < SECONDS) & (np.arange(len(time)) < MOST - count)
        if not inside[0]:
            break
        lines.append(np.clip(line, -0.5, 0.5)[inside] + rng.normal(0, 0.0015, (int(inside.sum()), 2)))
        times.append(clock + time[inside])
        count += len(times[-1])
        clock = times[-1][-1] + tempo * float(np.exp(rng.normal(0, 0.15)))
        place = np.clip(place + rng.normal(0, 0.06, 2), -0.35, 0.35)
    return Strokes.of_lines(lines, times, text="")


def _targets(kind: str, place: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Where the finger goes on its way f64[M,2], and about how long each of these moves takes, in seconds."""
    if kind == "taps":
        return place[None] + rng.normal(0, 0.01, (1, 2)), 0.05
    if kind == "swipes":
        angle, length = rng.normal(0, 0.3), rng.uniform(0.15, 0.4)
        return np.stack([place, place + length * np.array([np.cos(angle), np.sin(angle)])]), 0.25
    if kind == "zigzags":
        steps = int(rng.integers(3, 6))
        x = np.linspace(-0.2, 0.2, steps)
        return place + np.stack([x, 0.12 * (-1.0) ** np.arange(steps)], 1), 0.18
    angles = np.linspace(0, 2 * np.pi * rng.uniform(0.8, 1.6), 8) + rng.uniform(0, 2 * np.pi)
    return place + rng.uniform(0.06, 0.15) * np.stack([np.cos(angles), np.sin(angles)], 1), 0.12


def _move(targets: np.ndarray, lasts: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Events of a finger that goes from target to target: places f64[N,2] and seconds f64[N] from 0 on.

    Each move is one sigma-lognormal stroke; the next begins while it ends, so that corners are round.
    """
    moves = len(targets) - 1
    if moves == 0:
        return targets, np.zeros(1)
    scale = lasts * np.exp(rng.normal(0, 0.15))
    length = scale * (0.6 * moves + 1.0)
    time = np.concatenate([[0.0], np.cumsum(rng.gamma(16.0, 1 / (16 * RATE), int(length * RATE * 1.3) + 2))])
    time = time[time < length]
    done = [lognormal(time, 0.6 * scale * i, np.log(0.45 * scale), 0.35) for i in range(moves)]
    path = targets[0] + np.stack(done, 1) @ np.diff(targets, axis=0)
    return path, time
