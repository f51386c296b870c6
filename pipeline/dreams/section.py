"""The section "Dream" of the report's page, which a later `frmdn dream report` can bring up to date in place."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ..files import read_json, write_bytes
from ..report.page import number, render
from ..workspace import Workspace
from .figures import open_loop_figure, rho_text, temperature_figure, transfer_figure

BEGIN, END = Markup("<!-- dream -->"), Markup("<!-- /dream -->")
RESULT = "dream.json"


def dream_section(folder: Path) -> Markup:
    """What `dream.json` of a run folder says, between two marks; only the marks where there is none."""
    path = folder / RESULT
    return BEGIN + (_section(read_json(path), folder) if path.exists() else "") + END


def refresh_page(folder: Path) -> Path | None:
    """Put the section into the `report.html` that is there; None where there is no page, or one without the marks."""
    path = folder / "report.html"
    if not path.exists():
        return None
    before, begin, rest = path.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        return None
    write_bytes(path, (before + str(dream_section(folder)) + after).encode())
    return path


def _section(result: Mapping[str, Any], folder: Path) -> Markup:
    rows, steps = [_row(row) for row in result["temperatures"]], _step_rows(result["open_loop"])
    return render(
        "dream.html",
        folder=folder,
        result=result,
        outdated=Workspace(folder).inputs("evaluate") != result["inputs"],
        rows=rows,
        steps=steps,
        ranks="; ".join(f"temperature {row[0]}: Spearman {row[1]}" for row in rows),
        lasting="; ".join(f"{row[0]}, {row[1]}: {row[2]}" for row in steps),
        transfer=transfer_figure(result),
        temperatures=temperature_figure(result),
        open_loop=open_loop_figure(result),
    )


def _row(row: Mapping[str, Any]) -> tuple[str, ...]:
    agent, preferred = row["agent"], row["preferred"]
    cells = [_figure(one[side]) for one in (agent, preferred) for side in ("dream", "real")]
    return (f"{row['temperature']:g}", rho_text(row["spearman"]), *cells[:2], preferred["name"], *cells[2:])


def _figure(value: Mapping[str, float]) -> str:
    return f"{number(value['mean'])} ± {number(value['std'])}"


def _step_rows(quality: Mapping[str, Any]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for part, label in (("latents", "latents"), ("frames", "decoded frames")):
        for name, what in (("point", "point predictions"), ("drawn", "drawn dreams")):
            better, below = quality[part]["better_than_still"][name], quality[part]["below_threshold"][name]
            run = f"steps {better['since']} to {better['steps']}" if better["steps"] else "never"
            rows.append((label, what, run, _interval(better), f"{below['steps']} steps", _interval(below)))
    return rows


def _interval(value: Mapping[str, int]) -> str:
    return f"{value['low']} to {value['high']}"
