"""The section "Dream" of the report's page, which a later `frmdn dream report` can bring up to date in place."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..files import read_json, write_bytes
from ..report import page, plots
from ..workspace import Workspace

BEGIN, END = "<!-- dream -->", "<!-- /dream -->"
RESULT = "dream.json"


def dream_section(folder: Path) -> str:
    """What `dream.json` of a run folder says, between two marks; only the marks where there is none."""
    path = folder / RESULT
    return f"{BEGIN}{_section(read_json(path), folder) if path.exists() else ''}{END}\n"


def refresh_page(folder: Path) -> Path | None:
    """Put the section into the `report.html` that is there; None where there is no page, or one without the marks."""
    path = folder / "report.html"
    if not path.exists():
        return None
    before, begin, rest = path.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        return None
    write_bytes(path, (before + dream_section(folder).rstrip("\n") + after).encode())
    return path


def _section(result: Mapping[str, Any], folder: Path) -> str:
    from . import figures

    quality, count = result["open_loop"], len(result["controllers"])
    parts = [_outdated(result, folder)]
    parts.append(
        page.paragraph(
            f"{count} controllers, spread over the search, were played in {_episodes(result)} real episodes each, on "
            "seeds that nothing else uses, and in dreams that begin as real episodes do. A dream is worth something as "
            "a judge where it ranks them as reality does."
        )
    )
    words = "; ".join(
        f"temperature {row['temperature']:g}: Spearman {figures.rho_text(row['spearman'])}"
        for row in result["temperatures"]
    )
    parts.append(
        page.drawing(plots.to_svg(figures.transfer_figure(result)), f"Dream return against real return. {words}")
    )
    parts.append(page.table(_HEADS, [_row(row) for row in result["temperatures"]]))
    parts.append(page.drawing(plots.to_svg(figures.temperature_figure(result)), f"Over the temperature. {words}"))
    parts.append("<h3>How long it stays true</h3>")
    parts.append(
        page.paragraph(
            f"Open-loop dreams after {quality['warmup']} real steps, given the real actions, over "
            f"{quality['sequences']} starts in {quality['episodes']} episodes that the memory was not trained on. "
            "Errors are in units of reality's own spread: at 1, the average of all frames would be as near."
        )
    )
    parts.append(page.drawing(plots.to_svg(figures.open_loop_figure(result)), _steps_in_words(quality)))
    parts.append(page.table(_STEPS, _step_rows(quality)))
    return page.section("Dream", *parts)


_HEADS = ("temperature", "Spearman (95 %)", "agent, dreamt", "agent, real", "favourite", "its dream", "its real")
_STEPS = ("measured in", "of", "better than nothing changes", "95 % interval", "below the threshold", "95 % interval ")


def _outdated(result: Mapping[str, Any], folder: Path) -> str:
    if Workspace(folder).inputs("evaluate") == result["inputs"]:
        return ""
    return page.note("Measured on an earlier state of this run. Again:", f"frmdn dream report --run {folder}")


def _episodes(result: Mapping[str, Any]) -> int:
    return len(result["controllers"][0]["real"]["returns"])


def _row(row: Mapping[str, Any]) -> tuple[str, ...]:
    from .figures import rho_text

    agent, preferred = row["agent"], row["preferred"]
    cells = [_figure(one[side]) for one in (agent, preferred) for side in ("dream", "real")]
    return (f"{row['temperature']:g}", rho_text(row["spearman"]), *cells[:2], preferred["name"], *cells[2:])


def _figure(value: Mapping[str, float]) -> str:
    return f"{page.number(value['mean'])} ± {page.number(value['std'])}"


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


def _steps_in_words(quality: Mapping[str, Any]) -> str:
    return "Relative error over the horizon. " + "; ".join(
        f"{row[0]}, {row[1]}: {row[2]}" for row in _step_rows(quality)
    )
