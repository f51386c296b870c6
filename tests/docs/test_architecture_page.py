"""docs/architecture.md shows the house as it is: every room, and every file in it."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FLOORS = ("frmdn", "agent", "envs", "rollouts", "controller", "pipeline", "benchmarks")


def drawn() -> dict[str, set[str]]:
    """Room -> the files that the page names in it."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    tree = page.split("<!-- tree:")[1].split("```")[1]
    rooms: dict[str, set[str]] = {}
    room = ""
    for line in filter(str.strip, tree.splitlines()):
        if line.startswith(" "):
            rooms[room] |= set(re.split(r"\s{2,}", line.strip())[0].split())
        else:
            room = line.split()[0].rstrip("/")
            rooms[room] = set()
    return rooms


def built() -> dict[str, set[str]]:
    """Room -> the files that are there, without the __init__ of a room."""
    rooms: dict[str, set[str]] = {}
    for floor in FLOORS:
        for path in (ROOT / floor).rglob("*.py"):
            rooms.setdefault(path.parent.relative_to(ROOT).as_posix(), set()).add(path.stem)
    return {room: names if room == "frmdn" else names - {"__init__"} for room, names in rooms.items()}


def test_the_tree_names_every_room_and_file() -> None:
    page, house = drawn(), built()
    wrong = [f"{room}: a room that is not drawn" for room in sorted(house.keys() - page.keys())]
    wrong += [f"{room}: a room that is not there" for room in sorted(page.keys() - house.keys())]
    for room in sorted(house.keys() & page.keys()):
        missing, gone = sorted(house[room] - page[room]), sorted(page[room] - house[room])
        wrong += [f"{room}: add {', '.join(missing)}"] if missing else []
        wrong += [f"{room}: remove {', '.join(gone)}"] if gone else []
    assert not wrong, "the tree of docs/architecture.md\n" + "\n".join(wrong)
