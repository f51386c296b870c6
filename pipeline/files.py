"""Files that are whole or absent: atomic writes, and JSON lines that survive a kill in the middle of a line."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from frmdn.agent.errors import first_line

from .disk import NO_LINK, named

STAGING = ".tmp"  # suffix of a file that is being written
REMEDY = "delete it, or restore it from a copy"
LARGEST = 1e15  # of a number in a record: seconds, units and steps are smaller


def write_bytes(path: Path, data: bytes) -> None:
    """Write so that whoever reads `path` finds the old content or the new, also after a power cut.

    A link of either name is replaced, never written through.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = path.with_name(path.name + STAGING)
    with named(path):
        staging.unlink(missing_ok=True)
        try:
            with staging.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            staging.replace(path)
        except BaseException:
            staging.unlink(missing_ok=True)  # on a full disk it takes the room that the next try needs
            raise


def append_text(path: Path, text: str, lasting: bool = True) -> None:
    """Append all of a text or nothing of it, through no link; `lasting`: also through a power cut."""
    append_bytes(path, text.encode("utf-8", "replace"), lasting)


def append_bytes(path: Path, data: bytes, lasting: bool = True) -> None:
    """Append all of it or nothing, see `append_text`."""
    with named(path), open(path, "ab", opener=_unlinked) as file:
        size = file.seek(0, os.SEEK_END)
        try:
            file.write(data)
            file.flush()
            if lasting:
                os.fsync(file.fileno())
        except OSError:
            file.truncate(size)
            raise


def _unlinked(path: str, flags: int) -> int:
    return os.open(path, flags | NO_LINK, 0o644)


def write_json(path: Path, value: object) -> None:
    """Write one JSON value; raises ValueError where it holds NaN or infinity, which JSON does not know."""
    write_bytes(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: Path, remedy: str = REMEDY) -> dict[str, Any]:
    """Read a JSON object; raises ValueError naming the file where it is none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number)
    except RecursionError:
        raise ValueError(f"{path} is nested too deeply: {remedy}") from None
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON ({first_line(error)}): {remedy}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path} must hold a JSON object, not a {type(value).__name__}: {remedy}")
    return value


def read_record(path: Path, shape: Mapping[str, type], remedy: str = REMEDY) -> dict[str, Any]:
    """A JSON object that has these keys, each of its type; `float` takes whole numbers too, `object` takes all.

    Raises ValueError naming the file and the key.
    """
    record = read_json(path, remedy)
    for key, kind in shape.items():
        if key not in record:
            raise ValueError(f"{path} has no {key}: {remedy}")
        if not is_a(record[key], kind):
            raise ValueError(f"{path}: {key} must be of type {kind.__name__}, not {record[key]!r:.40}: {remedy}")
    return record


def is_a(value: object, kind: type) -> bool:
    if kind not in (int, float):
        return isinstance(value, kind)
    if isinstance(value, bool) or not isinstance(value, int if kind is int else (int, float)):
        return False
    return -LARGEST < value < LARGEST


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


class History:
    """A file of JSON lines, one per logged step, that can be cut back to a checkpoint.

    Resuming replays the units after the checkpoint, so their lines must go first: otherwise they would stand twice.

    Args:
        path: its folder is made where it does not exist.
        key: what numbers the lines.
        numbers: what else a line must have; with any named, all that it has must be numbers.
        chained: each line stands on those before it, so that nothing behind a damaged one counts.
    """

    def __init__(self, path: Path, key: str, numbers: Sequence[str] = (), chained: bool = False) -> None:
        self.path, self.key, self.numbers, self.chained = path, key, numbers, chained
        path.parent.mkdir(parents=True, exist_ok=True)

    def append(self, record: Mapping[str, Any]) -> None:
        append_text(self.path, json.dumps(dict(record)) + "\n")

    def read(self) -> list[dict[str, Any]]:
        """All whole lines, see `read_history`."""
        lines, damaged = self._split()
        return lines[: damaged[0] - 1] if self.chained and damaged else lines

    def damage(self) -> str | None:
        """The damaged lines in words, `history.jsonl: line 3 is damaged`; None where there is none.

        A last line without its end is none: a kill cut it short, and it is written again.
        """
        damaged = self._split()[1]
        if not damaged:
            return None
        numbers = ", ".join(map(str, damaged[:5])) + (", …" if len(damaged) > 5 else "")
        return f"{self.path}: line{'s' if len(damaged) > 1 else ''} {numbers} {'are' if damaged[1:] else 'is'} damaged"

    def _split(self) -> tuple[list[dict[str, Any]], list[int]]:
        return _split(self.path, (self.key, *self.numbers), bool(self.numbers))

    def cut(self, last: int) -> list[dict[str, Any]]:
        """Keep the lines whose key is at most `last`, and return them."""
        kept = [record for record in self.read() if record[self.key] <= last]
        self.write(kept)
        return kept

    def write(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Other lines in place of those that are there."""
        write_bytes(self.path, "".join(json.dumps(dict(record)) + "\n" for record in records).encode())


def read_history(path: Path, numbers: Sequence[str] = (), all_numbers: bool = False) -> list[dict[str, Any]]:
    """The lines of a history file; empty where there is no file.

    Without those that are no JSON object, lack one of `numbers`, or have anything else than numbers where `all_numbers`
    says so: each line stands for itself, and a damaged one takes no other with it.
    """
    return _split(path, numbers, all_numbers)[0]


def _split(path: Path, numbers: Sequence[str], all_numbers: bool) -> tuple[list[dict[str, Any]], list[int]]:
    """The whole lines, and the numbers of the damaged ones, from 1 on."""
    lines: list[dict[str, Any]] = []
    damaged: list[int] = []
    *texts, rest = path.read_text(encoding="utf-8", errors="replace").split("\n") if path.exists() else [""]
    for number, text in enumerate([*texts, rest], 1):
        line = _line(text)
        whole = line is not None and all(is_a(line.get(name), float) for name in numbers)
        if line is not None and whole and (not all_numbers or all(is_a(value, float) for value in line.values())):
            lines.append(line)
        elif number <= len(texts):
            damaged.append(number)
    return lines, damaged


def _line(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
