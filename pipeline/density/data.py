"""From the words of the command line to sources."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from frmdn.rollouts.sources import Source


@dataclass(frozen=True)
class Data:
    """Which data: what a folder of results remembers of it."""

    name: str  # inverse-sine, speech, images, latents-sampled or latents-mean
    path: str | None = None
    protocol: str | None = None  # of speech


def choose(name: str, path: Path | None, protocol: str) -> list[Data]:
    """The data sets behind a --data: `latents` stands for two. ValueError where the path is missing or in vain."""
    if name == "inverse-sine":
        if path is not None:
            raise ValueError("inverse-sine makes its own points: leave --path out")
        return [Data(name)]
    if name.startswith("latents"):
        if path is None:
            raise ValueError(f"--data {name} needs --path: a run folder whose encode stage is done (frmdn encode)")
        names = ["latents-sampled", "latents-mean"] if name == "latents" else [name]
        return [Data(each, str(path.resolve())) for each in names]
    where = None if path is None else str(path.resolve())
    return [Data(name, where, protocol if name == "speech" else None)]


def open_source(data: Data, progress: Callable[[int, int], None] | None = None) -> Source:
    """Read the data; ValueError names a missing or damaged file, MissingExtra a missing package."""
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
    raise ValueError(f"{data.name!r} is no data set that can be opened")
