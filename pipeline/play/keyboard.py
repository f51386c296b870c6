"""From the keys that are held to the action vector of a world. Knows keys by pygame's names, and not pygame."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

import numpy as np

from frmdn.envs.spec import ActionCodec, Vectors

PAIRS = (("left", "right"), ("down", "up"), ("j", "l"), ("k", "i"))  # towards the low end, towards the high end
SINGLES = ("up", "down", "x", "z")  # of a number that one can only have more or less of: gas, brake
BUTTONS = {"left": "left", "right": "right", "up": "up", "down": "down", "A": "x", "B": "z"}  # of a console
NOTHING = ("wait", "noop")  # names of the action for which no button is held
NUMBERS = "0123456789qwetyuiop"  # of actions without names; a and r have another use


@dataclass(frozen=True)
class Lever:
    """The keys of one number of a box: None where it has no key in that direction."""

    low: str | None
    high: str | None


class Keyboard:
    """The keys of one world.

    Box: a number with both signs takes a pair of keys (left and right, then down and up) and rests where the codec
    says; a number from 0 up takes one key (up, then down) and is 0 without it; so CarRacing has the steering, the gas
    and the brake of any racing game. A number for which no key is left stays at rest.
    Discrete with a console's buttons as names: the action with most buttons among those whose buttons are all held.
    Discrete without: the number keys, and the row of letters below them, name the action.
    """

    def __init__(self, codec: ActionCodec) -> None:
        self.codec = codec
        self._levers = _levers(codec) if codec.kind == "box" else ()
        self._buttons = _buttons(codec) if codec.kind == "discrete" else ()

    def action(self, held: Set[str]) -> Vectors:
        """The action vector f32[A] of the keys that are held."""
        if self.codec.kind == "box":
            return self._box(held)
        one_hot = np.zeros(self.codec.n, np.float32)
        one_hot[self._choice(held)] = 1.0
        return one_hot

    @property
    def help(self) -> str:
        """The keys in a few words."""
        if self.codec.kind == "box":
            names = self.codec.names or ("",) * self.codec.size
            keys = ["/".join(key for key in (lever.low, lever.high) if key) for lever in self._levers]
            return ", ".join(f"{key}: {name}" if name else key for key, name in zip(keys, names, strict=True) if key)
        if self._buttons:
            used = {key for keys in self._buttons for key in keys}
            return ", ".join(key if key == name else f"{key}: {name}" for name, key in BUTTONS.items() if key in used)
        last = min(self.codec.n, len(NUMBERS)) - 1
        return f"{NUMBERS[0]} to {NUMBERS[last]}: the actions by number"

    def _box(self, held: Set[str]) -> Vectors:
        codec, values = self.codec, []
        for low, rest, high, lever in zip(codec.low, codec.rest, codec.high, self._levers, strict=True):
            down, up = lever.low in held, lever.high in held
            still = low if lever.high and not lever.low else rest
            values.append(still if down == up else high if up else low)
        return np.array(values, np.float32)

    def _choice(self, held: Set[str]) -> int:
        if self._buttons:
            fitting = [len(keys) if keys <= held else -1 for keys in self._buttons]
            return max(0, int(np.argmax(fitting)))  # the first of equal ones: directions stand before jumps on the spot
        pressed = [i for i, key in enumerate(NUMBERS[: self.codec.n]) if key in held]
        return pressed[-1] if pressed else 0


def _levers(codec: ActionCodec) -> tuple[Lever, ...]:
    """Keys for each number of a box, no key twice."""
    used: set[str] = set()
    levers: list[Lever] = []
    for low in codec.low:
        if low < 0:
            pair = next((pair for pair in PAIRS if not used & set(pair)), None)
            lever = Lever(*pair) if pair else Lever(None, None)
        else:
            lever = Lever(None, next((key for key in SINGLES if key not in used), None))
        used |= {key for key in (lever.low, lever.high) if key}
        levers.append(lever)
    return tuple(levers)


def _buttons(codec: ActionCodec) -> tuple[frozenset[str], ...]:
    """The keys of each action that is named after a console's buttons; nothing where other names are among them."""
    words = [[] if name in NOTHING else name.split() for name in codec.names]
    if not all(word in BUTTONS for action in words for word in action):
        return ()
    return tuple(frozenset(BUTTONS[word] for word in action) for action in words)
