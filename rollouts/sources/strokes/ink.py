"""Ink in XML: IAM-OnDB's text lines, and InkML."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np

from frmdn.agent.errors import first_line

from .carrier import Strokes, ascending


def read_iam(path: Path) -> Strokes:
    """One text line of IAM-OnDB (Liwicki and Bunke 2005): its strokes with times, and its text where that is found.

    The corpus keeps `lineStrokes/a01/a01-000/a01-000u-01.xml` and `ascii/a01/a01-000/a01-000u.txt`, whose part behind
    `CSR:` has the lines; another file's text may stand beside it, as `NAME.txt` with one line.

    Raises:
        ValueError: names a file that is not whole, has no strokes, or has a point without a place.
    """
    root = xml_root(path, "IAM-OnDB's XML")
    lines, times = [], []
    for number, stroke in enumerate(root.iter("Stroke"), 1):
        points = list(stroke.iter("Point"))
        try:
            lines.append(np.array([[float(p.attrib["x"]), float(p.attrib["y"])] for p in points]).reshape(-1, 2))
            times.append(np.array([float(p.attrib["time"]) for p in points]))
        except (KeyError, ValueError) as error:
            raise ValueError(
                f"{path}, stroke {number}: a Point needs numbers x, y and time ({first_line(error)})"
            ) from None
    if not any(map(len, lines)):
        raise ValueError(f"{path} has no Stroke with a Point: it is no file of lineStrokes")
    return placed(lines, times, _iam_text(path))


def read_inkml(path: Path) -> Strokes:
    """The traces of an InkML file (W3C 2011): X and Y, times where there is a channel T, text where it is annotated.

    Channels are those of `traceFormat`, X Y without one. Times are in its units (s or ms). The text is an `annotation`
    of type truth, text or transcription.

    Raises:
        ValueError: names a file that is not whole, a trace with a missing channel, or with differences.
    """
    root = xml_root(path, "InkML")
    channels = [node for node in root.iter() if tag_of(node) == "channel"]
    names = [node.get("name", "") for node in channels] or ["X", "Y"]
    if not {"X", "Y"} <= set(names):
        raise ValueError(f"{path}: its traceFormat has the channels {', '.join(names)}, but must have X and Y")
    second = 1.0
    if "T" in names and channels and channels[names.index("T")].get("units", "ms") == "ms":
        second = 1000.0
    lines, times = [], []
    for number, trace in enumerate((node for node in root.iter() if tag_of(node) == "trace"), 1):
        rows = _trace(path, number, trace.text or "", len(names))
        lines.append(rows[:, [names.index("X"), names.index("Y")]])
        times.append(rows[:, names.index("T")] / second if "T" in names else np.zeros(0))
    if not any(map(len, lines)):
        raise ValueError(f"{path} has no trace with a point")
    told = [node for node in root.iter() if tag_of(node) == "annotation"]
    texts = [node.text.strip() for node in told if node.text and node.get("type") in ("truth", "text", "transcription")]
    return placed(lines, times if "T" in names else None, texts[0] if texts else "")


def placed(lines: list[np.ndarray], times: list[np.ndarray] | None, text: str) -> Strokes:
    """Strokes from the left edge and the middle of their height on, and from the first point's time on."""
    points = np.concatenate(lines)
    origin = np.array([points[:, 0].min(), (points[:, 1].min() + points[:, 1].max()) / 2])
    return Strokes.of_lines([line - origin for line in lines], None if times is None else ascending(times), text)


def xml_root(path: Path, kind: str) -> ElementTree.Element:
    try:
        return ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # LookupError: an encoding that nobody knows
        raise ValueError(f"{path} is no whole {kind} ({first_line(error)}): copy it once more") from None


def tag_of(node: ElementTree.Element) -> str:
    return str(node.tag).rpartition("}")[2]


def _trace(path: Path, number: int, text: str, channels: int) -> np.ndarray:
    """The points of one trace, f64[n,channels]."""
    if re.search(r"['\"!*?]", text):
        raise ValueError(
            f"{path}, trace {number}: points as differences (' \" ! * ?) are not read: export plain values"
        )
    points = [point.split() for point in text.split(",") if point.strip()]
    try:
        rows = np.array([[float(value) for value in point[:channels]] for point in points], np.float64)
        return rows.reshape(len(points), channels)
    except ValueError:
        raise ValueError(f"{path}, trace {number}: a point needs {channels} numbers") from None


def _iam_text(path: Path) -> str:
    beside = path.with_suffix(".txt")
    if beside.exists():
        return beside.read_text(encoding="utf-8").strip()
    form, _, number = path.stem.rpartition("-")
    if "lineStrokes" not in path.parts or not number.isdigit():
        return ""
    place = len(path.parts) - 1 - path.parts[::-1].index("lineStrokes")
    known = Path(*path.parts[:place], "ascii", *path.parts[place + 1 : -1], f"{form}.txt")
    if not known.exists():
        return ""
    _, found, text = known.read_text(encoding="utf-8").partition("CSR:")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not found or int(number) > len(lines):
        raise ValueError(f"{known} has {len(lines)} lines behind CSR:, but {path.name} is line {int(number)}")
    return lines[int(number) - 1]
