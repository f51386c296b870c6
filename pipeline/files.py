"""Files that are whole or absent: atomic writes, and JSON lines that survive a kill in the middle of a line."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

STAGING = ".tmp"  # suffix of a file that is being written


def write_bytes(path: Path, data: bytes) -> None:
    """Write so that whoever reads `path` finds the old content or the new, also after a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = path.with_name(path.name + STAGING)
    with staging.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    staging.replace(path)


def write_json(path: Path, value: object) -> None:
    """Write one JSON value; raises ValueError where it holds NaN or infinity, which JSON does not know."""
    write_bytes(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; raises ValueError naming the file where it is none."""
    try:
        value = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid JSON ({error}): delete it, or restore it from a copy") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path} must hold a JSON object, not a {type(value).__name__}: delete it, or restore it")
    return value


class History:
    """A file of JSON lines, one per logged step, that can be cut back to a checkpoint.

    Resuming replays the units after the checkpoint, so their lines must go first: otherwise they would stand twice.
    """

    def __init__(self, path: Path, key: str) -> None:
        self.path, self.key = path, key
        path.parent.mkdir(parents=True, exist_ok=True)

    def append(self, record: Mapping[str, Any]) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(dict(record)) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def read(self) -> list[dict[str, Any]]:
        """All whole lines, see `read_history`."""
        return read_history(self.path)

    def cut(self, last: int) -> list[dict[str, Any]]:
        """Keep the lines whose key is at most `last`, and return them."""
        kept = [record for record in self.read() if record[self.key] <= last]
        write_bytes(self.path, "".join(json.dumps(record) + "\n" for record in kept).encode())
        return kept


def read_history(path: Path) -> list[dict[str, Any]]:
    """The lines of a history file, without a last one that a kill cut short; empty where there is no file."""
    lines: list[dict[str, Any]] = []
    for text in path.read_text().splitlines() if path.exists() else ():
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            break
        if isinstance(line, dict):
            lines.append(line)
    return lines
