"""From the words of the command line to sources."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from frmdn.rollouts.sources import Source
from frmdn.rollouts.sources.tables import Choice

from ..strokes.names import DRAWN, STROKES
from .names import FILES


@dataclass(frozen=True)
class Columns(Choice):
    """How a file of one's own is read: which columns of it, and what is held out."""

    held_out: float = 0.1  # share of validation, and again of test
    missing: str = "refuse"  # or "skip": rows with a missing number are not measured


@dataclass(frozen=True)
class Data:
    """Which data: what a folder of results remembers of it."""

    name: str  # inverse-sine, speech, images, latents-sampled, latents-mean, kanji and so on, or a file's
    path: str | None = None
    protocol: str | None = None  # of speech
    columns: Columns | None = None  # of a file

    def settings(self) -> dict[str, Any]:
        """As a run folder keeps it; folders without a file have nothing to say of columns."""
        return {key: value for key, value in asdict(self).items() if key != "columns" or value is not None}

    @classmethod
    def of_settings(cls, settings: Mapping[str, Any]) -> Data:
        columns = settings.get("columns")
        return cls(**{**settings, "columns": Columns(**columns) if columns else None})


def choose(name: str, path: Path | None, protocol: str, columns: Columns | None = None) -> list[Data]:
    """The data sets behind a --data: `latents` stands for two. ValueError where the path is missing or in vain."""
    suffix = Path(name).suffix.lower()
    if suffix in FILES:
        if path is not None:
            raise ValueError(f"--data {name} is the file itself: leave --path out")
        if suffix not in DRAWN:
            return [Data(Path(name).name, str(Path(name).resolve()), None, columns or Columns())]
        name, path = "drawings", Path(name)
    if columns not in (None, Columns()):
        raise ValueError(f"--target, --context, --sequence, --held-out and --missing are for a file, not for {name}")
    if name == "inverse-sine":
        if path is not None:
            raise ValueError("inverse-sine makes its own points: leave --path out")
        return [Data(name)]
    if name == "drawings" and path is None:
        raise ValueError("--data drawings needs --path: a file of drawings, or a folder of them")
    if name.startswith("latents"):
        if path is None:
            raise ValueError(f"--data {name} needs --path: a run folder whose encode stage is done (frmdn encode)")
        names = ["latents-sampled", "latents-mean"] if name == "latents" else [name]
        return [Data(each, str(path.resolve())) for each in names]
    where = None if path is None else str(path.resolve())
    return [Data(name, where, protocol if name == "speech" else None)]


def open_source(data: Data, progress: Callable[[int, int], None] | None = None) -> Source:
    """Read the data; ValueError names a missing or damaged file, MissingExtra a missing package."""
    if data.columns is not None and data.path is not None:
        from frmdn.rollouts.sources.series import series

        return series(data.path, data.columns, data.columns.held_out, data.columns.missing == "skip")
    if data.name == "inverse-sine":
        from frmdn.rollouts.sources.toy import inverse_sine

        return inverse_sine()
    if data.name == "speech":
        from frmdn.rollouts.sources.speech import speech

        return speech(data.path, data.protocol or "40-frames", progress=progress)  # type: ignore[arg-type]
    if data.name == "images":
        from frmdn.rollouts.sources.images import images

        return images(data.path)
    if data.name in ("latents-sampled", "latents-mean") and data.path is not None:
        from frmdn.rollouts.sources.latents import latents

        return latents(data.path, sampled=data.name == "latents-sampled")
    if data.name in STROKES:
        from frmdn.rollouts.sources.strokes.builtin import strokes

        return strokes(data.name, data.path)
    raise ValueError(f"{data.name!r} is no data set that can be opened")
