"""A sheet as a file: SVG, still or drawing itself; PNG; and GIF, drawing itself."""

from __future__ import annotations

import html
import io

import numpy as np
from PIL import Image, ImageDraw

from .canvas import Line, Sheet

SUFFIXES = (".svg", ".png", ".gif")
WIDTH = 2.2  # of a line, in pixels
FRAMES, REST = 15, 1.5  # frames a second of a GIF, and seconds for which the finished sheet stays
FINER = 2  # pixels of a raster are averaged over so many each way


def encode(sheet: Sheet, suffix: str, animate: bool = False) -> bytes:
    """The bytes of a picture by the ending of its file; ValueError as `check` has it."""
    check(suffix, animate)
    if suffix == ".svg":
        return to_svg(sheet, animate).encode()
    return to_gif(sheet) if suffix == ".gif" else _saved([_raster(sheet, None)], "PNG")


def check(suffix: str, animate: bool) -> None:
    """ValueError for another ending, or a PNG that should move."""
    if suffix not in SUFFIXES:
        raise ValueError(
            f"--out must end with {', '.join(SUFFIXES)}, not {suffix or 'nothing'}: that is what drawings give"
        )
    if animate and suffix == ".png":
        raise ValueError("--animate needs a picture that can move: --out must end with .svg or .gif")


def to_svg(sheet: Sheet, animate: bool = False) -> str:
    """The sheet with round corners; with `animate` every stroke draws itself in its time, again and again."""
    size = f'width="{sheet.width}" height="{sheet.height}" viewBox="0 0 {sheet.width} {sheet.height}"'
    style = f'fill="none" stroke-width="{WIDTH}" stroke-linecap="round" stroke-linejoin="round"'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" {size}>', '<rect width="100%" height="100%" fill="#fff"/>']
    parts += [
        f'<text x="{x:.0f}" y="{y:.0f}" font-family="sans-serif" font-size="11" fill="#666">{html.escape(text)}</text>'
        for x, y, text in sheet.titles
    ]
    parts.append(f"<g {style}>")
    whole = sheet.seconds + REST
    for line in sheet.lines:
        moves = _moving(line, whole) if animate else ""
        end = f">{moves}</path>" if moves else "/>"
        length = ' pathLength="1" stroke-dasharray="1 2"' if animate else ""
        parts.append(f'<path stroke="{line.colour}" d="{_path(line.points)}"{length}{end}')
    return "\n".join([*parts, "</g>", "</svg>", ""])


def _path(points: np.ndarray) -> str:
    """Through all points, as cubic curves of a cardinal spline: the tangent at a point is that of its neighbours."""
    if len(points) < 3:
        points = np.concatenate([points, points + 0.01])[: max(len(points), 2)]
        return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    padded = np.concatenate([points[:1], points, points[-1:]])
    slope = (padded[2:] - padded[:-2]) / 8
    words = [f"M{points[0, 0]:.1f} {points[0, 1]:.1f}"]
    for a, b, p, q in zip(points, points[1:], slope, slope[1:], strict=False):
        first, second = a + p, b - q
        words.append(f"C{first[0]:.1f} {first[1]:.1f} {second[0]:.1f} {second[1]:.1f} {b[0]:.1f} {b[1]:.1f}")
    return "".join(words)


def _moving(line: Line, whole: float) -> str:
    begin, end = (
        float(line.seconds[0]) / whole,
        max(float(line.seconds[-1]) / whole, float(line.seconds[0]) / whole + 1e-3),
    )
    times = f"0;{begin:.4f};{min(end, 1):.4f};1"
    hidden = f'<animate attributeName="stroke-dashoffset" dur="{whole:.2f}s" repeatCount="indefinite" '
    return hidden + f'values="1.01;1.01;0;0" keyTimes="{times}"/>'


def to_gif(sheet: Sheet) -> bytes:
    """The sheet as it is drawn, in the time that it takes."""
    count = max(2, round(sheet.seconds * FRAMES))
    frames = [_raster(sheet, sheet.seconds * (i + 1) / count) for i in range(count)]
    return _saved(frames, "GIF")


def _raster(sheet: Sheet, until: float | None) -> Image.Image:
    """The sheet as it is after so many seconds, or whole."""
    picture = Image.new("RGB", (sheet.width * FINER, sheet.height * FINER), "white")
    pen = ImageDraw.Draw(picture)
    for line in sheet.lines:
        points = line.points if until is None else line.points[line.seconds <= until]
        ink = [(float(x) * FINER, float(y) * FINER) for x, y in points]
        radius = WIDTH * FINER / 2
        if len(ink) > 1:
            pen.line(ink, fill=line.colour, width=round(WIDTH * FINER), joint="curve")
        for x, y in ink[:1] + ink[-1:]:
            pen.ellipse([x - radius, y - radius, x + radius, y + radius], fill=line.colour)
    for x, y, text in sheet.titles:
        pen.text((x * FINER, y * FINER), text, fill="#666", anchor="ls", font_size=11 * FINER)
    return picture.resize((sheet.width, sheet.height), Image.Resampling.LANCZOS)


def _saved(frames: list[Image.Image], kind: str) -> bytes:
    kept = io.BytesIO()
    if kind == "PNG":
        frames[0].save(kept, kind)
    else:
        grey = [frame.convert("P", palette=Image.Palette.ADAPTIVE, colors=16) for frame in frames]
        waits = [round(1000 / FRAMES)] * (len(grey) - 1) + [round(1000 * REST)]
        grey[0].save(kept, kind, save_all=True, append_images=grey[1:], duration=waits, loop=0)
    return kept.getvalue()
