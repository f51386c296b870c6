"""Drawings out of whatever file people have them in, told apart by their endings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from frmdn.agent.errors import first_line, shortened

from .carrier import Strokes
from .ink import placed, read_iam, read_inkml
from .microjam import read_microjam
from .quickdraw import read_ndjson, read_sketches
from .svg import svg_lines

ONE: dict[str, Callable[[Path], Strokes]] = {
    ".xml": read_iam,
    ".inkml": read_inkml,
    ".svg": lambda path: placed(svg_lines(path), None, ""),
    ".csv": read_microjam,
}
LONGEST = 900  # characters of an error
ENDINGS = (*ONE, ".ndjson", ".npz")


def read_drawings(path: Path) -> dict[str, Strokes]:
    """All drawings of a file, or of every such file in a folder at any depth, by name.

    .xml (IAM-OnDB), .inkml, .svg and .csv (MicroJam) hold one each; .ndjson (Quick, Draw!) and .npz (SketchRNN) many.

    Raises:
        ValueError: there is nothing to read, or a file is wrong; the message names it.
    """
    if path.is_dir():
        files = sorted(each for each in path.rglob("*") if each.suffix.lower() in ENDINGS and each.is_file())
        if not files:
            raise ValueError(f"{path} has no file that ends with {', '.join(ENDINGS)}")
        return {name: drawing for file in files for name, drawing in _read(file, str(file.relative_to(path))).items()}
    if not path.is_file():
        raise ValueError(f"{path} does not exist: give a file that ends with {', '.join(ENDINGS)}, or a folder of them")
    return _read(path, path.name)


def _read(path: Path, name: str) -> dict[str, Strokes]:
    try:
        return _drawings(path, name)
    except (ValueError, OverflowError, RecursionError) as error:
        if str(path) in str(error):
            raise ValueError(shortened(str(error), LONGEST)) from None
        raise ValueError(f"{path} holds no drawing that can be read ({first_line(error)}): copy it once more") from None


def _drawings(path: Path, name: str) -> dict[str, Strokes]:
    ending = path.suffix.lower()
    if ending in ONE:
        return {name: ONE[ending](path)}
    if ending == ".ndjson":
        return {f"{name}/{key}": drawing for key, drawing in read_ndjson(path).items()}
    if ending == ".npz":
        splits = read_sketches(path)
        return {f"{name}/{split}/{i}": each for split, some in splits.items() for i, each in enumerate(some)}
    raise ValueError(f"{path} ends with {ending or 'nothing'}, but drawings end with {', '.join(ENDINGS)}")
