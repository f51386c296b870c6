"""Paths of SVG as polylines: all commands of the path grammar, and nothing else of SVG but basic shapes of lines."""

from __future__ import annotations

import cmath
import math
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np

from .ink import tag_of, xml_root

TOKEN = re.compile(r"[MmLlHhVvCcSsQqTtAaZz]|[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
BETWEEN = re.compile(rf"(?:{TOKEN.pattern}|[\s,]+)*")
NUMBERS = {"M": 2, "L": 2, "H": 1, "V": 1, "C": 6, "S": 4, "Q": 4, "T": 2, "A": 7, "Z": 0}
STEPS = 12  # points of a curve


def path_lines(text: str, steps: int = STEPS) -> list[np.ndarray]:
    """The polylines [n,2] of a path's `d`: one for each M, curves as `steps` points.

    Raises:
        ValueError: the text is no path: it names the place.

    >>> from frmdn.rollouts.sources.strokes.svg import path_lines
    >>> [line.tolist() for line in path_lines("M1,1 h2 v2")]
    [[[1.0, 1.0], [3.0, 1.0], [3.0, 3.0]]]
    """
    return _Pen(steps).draw(_tokens(text))


def svg_lines(path: Path) -> list[np.ndarray]:
    """The polylines of every path, polyline, polygon and line of an SVG file, in the order of the file.

    Raises:
        ValueError: names a file that is no SVG, has no line, or uses `transform` on one (apply it first: in Inkscape,
            "Extensions, Modify Path, Apply Transform").
    """
    root = xml_root(path, "SVG file")
    try:
        found = _collect(root)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if not found:
        raise ValueError(f"{path} has no path, polyline, polygon or line: convert text and shapes to paths first")
    return found


def _collect(root: ElementTree.Element) -> list[np.ndarray]:
    """The lines of all nodes in the order of the file, however deep they lie in each other."""
    found: list[np.ndarray] = []
    waiting = [root]
    while waiting:
        node = waiting.pop()
        tag = tag_of(node)
        if tag in ("defs", "clipPath", "mask", "symbol", "text"):
            continue
        lines = _shape(tag, node)
        if "transform" in node.attrib and (lines or len(node)):
            raise ValueError("a `transform` would move its lines: apply it first, and save as plain paths")
        found += lines
        waiting += reversed(node)
    return found


def _shape(tag: str, node: ElementTree.Element) -> list[np.ndarray]:
    if tag == "path":
        return path_lines(node.get("d", ""))
    if tag in ("polyline", "polygon"):
        numbers = _numbers(node.get("points", ""))
        if len(numbers) % 2 or not numbers:
            raise ValueError(f"a {tag} has {len(numbers)} numbers: its points need pairs")
        line = np.array(numbers).reshape(-1, 2)
        return [np.concatenate([line, line[:1]]) if tag == "polygon" else line]
    if tag == "line":
        ends = [float(node.get(name, "0")) for name in ("x1", "y1", "x2", "y2")]
        return [np.array(ends).reshape(2, 2)]
    return []


def _numbers(text: str) -> list[float]:
    return [float(word) for word in re.split(r"[\s,]+", text.strip()) if word]


def _tokens(text: str) -> list[str]:
    rest = BETWEEN.match(text)
    if rest is None or rest.end() < len(text):
        place = rest.end() if rest else 0
        raise ValueError(f"a path has {text[place : place + 12]!r}, which is no command and no number")
    return TOKEN.findall(text)


class _Pen:
    """The state of the path grammar, in complex numbers x + iy: the pen, the subpath's beginning, the control."""

    def __init__(self, steps: int) -> None:
        self.at = self.begin = self.control = 0j
        self.before = ""  # the command before, for S and T
        self.lines: list[list[complex]] = []
        self.times = [(i + 1) / steps for i in range(steps)]
        self.cubic = [((1 - t) ** 3, 3 * (1 - t) ** 2 * t, 3 * (1 - t) * t**2, t**3) for t in self.times]

    def draw(self, tokens: list[str]) -> list[np.ndarray]:
        place, command = 0, ""
        while place < len(tokens):
            if tokens[place].isalpha():
                command, place = tokens[place], place + 1
            elif command.upper() in ("", "Z"):
                raise ValueError(f"a path has the number {tokens[place]} where a command belongs")
            count = NUMBERS[command.upper()]
            words = tokens[place : place + count]
            if len(words) < count or any(word.isalpha() for word in words):
                raise ValueError(f"a path's {command} needs {count} numbers, but has {' '.join(words) or 'none'}")
            if not self.lines and command.upper() != "M":
                raise ValueError(f"a path begins with {command}, but must with M")
            self._step(command, [float(word) for word in words])
            place += count
            command = {"M": "L", "m": "l"}.get(command, command)
        return [np.array(line).view(np.float64).reshape(-1, 2) for line in self.lines]

    def _step(self, command: str, numbers: list[float]) -> None:
        kind = command.upper()
        base = self.at if command.islower() else 0j
        getattr(self, f"_{kind.lower()}")(base, numbers)
        if kind not in "CSQT":
            self.control = self.at
        self.before = kind

    def _to(self, *points: complex) -> None:
        if self.before == "Z":  # after closing, a line goes on from where the subpath began
            self.lines.append([self.at])
        self.lines[-1].extend(points)
        self.at = points[-1]

    def _m(self, base: complex, n: list[float]) -> None:
        self.at = self.begin = base + complex(*n)
        self.lines.append([self.at])

    def _l(self, base: complex, n: list[float]) -> None:
        self._to(base + complex(*n))

    def _h(self, base: complex, n: list[float]) -> None:
        self._to(complex(base.real + n[0], self.at.imag))

    def _v(self, base: complex, n: list[float]) -> None:
        self._to(complex(self.at.real, base.imag + n[0]))

    def _z(self, base: complex, n: list[float]) -> None:
        if self.at != self.begin:
            self._to(self.begin)

    def _curve(self, first: complex, second: complex, end: complex) -> None:
        at = self.at
        self._to(*(a * at + b * first + c * second + d * end for a, b, c, d in self.cubic))
        self.control = second

    def _c(self, base: complex, n: list[float]) -> None:
        self._curve(base + complex(n[0], n[1]), base + complex(n[2], n[3]), base + complex(n[4], n[5]))

    def _s(self, base: complex, n: list[float]) -> None:
        first = 2 * self.at - self.control if self.before in ("C", "S") else self.at
        self._curve(first, base + complex(n[0], n[1]), base + complex(n[2], n[3]))

    def _quadratic(self, control: complex, end: complex) -> None:
        at = self.at
        self._to(*((1 - t) ** 2 * at + 2 * (1 - t) * t * control + t**2 * end for t in self.times))
        self.control = control

    def _q(self, base: complex, n: list[float]) -> None:
        self._quadratic(base + complex(n[0], n[1]), base + complex(n[2], n[3]))

    def _t(self, base: complex, n: list[float]) -> None:
        control = 2 * self.at - self.control if self.before in ("Q", "T") else self.at
        self._quadratic(control, base + complex(*n))

    def _a(self, base: complex, n: list[float]) -> None:
        """SVG 1.1, appendix F.6.5: from end points to the centre of the ellipse."""
        rx, ry, turn, end = abs(n[0]), abs(n[1]), cmath.rect(1, math.radians(n[2])), base + complex(n[5], n[6])
        if rx == 0 or ry == 0 or end == self.at:
            self._to(end)
            return
        half = (self.at - end) / 2 / turn
        grow = math.sqrt(max(1.0, (half.real / rx) ** 2 + (half.imag / ry) ** 2))
        rx, ry = rx * grow, ry * grow
        on_circle = complex(half.real / rx, half.imag / ry)  # the ellipse as the unit circle
        away = math.sqrt(max(0.0, 1 / abs(on_circle) ** 2 - 1)) * (-1 if bool(n[3]) == bool(n[4]) else 1)
        centre = away * -1j * on_circle
        begin, stop = cmath.phase(on_circle - centre), cmath.phase(-on_circle - centre)
        sweep = (stop - begin) % (2 * math.pi) - (0 if n[4] else 2 * math.pi)
        middle = (self.at + end) / 2
        for t in self.times[:-1]:
            place = centre + cmath.rect(1, begin + sweep * t)
            self._to(middle + turn * complex(rx * place.real, ry * place.imag))
        self._to(end)
