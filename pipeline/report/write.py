"""One page about one run: self-contained HTML with its pictures, its video and every figure, readable offline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frmdn.agent.agent import Agent
from frmdn.controller import measures

from .. import recipe
from ..drawing.video import poster, save_video
from ..dreams.section import dream_section
from ..files import write_bytes
from ..progress import duration
from ..workspace import Workspace
from . import plots
from .drive import DriveRecord
from .film import reconstruct
from .findings import VIDEO, Findings, read_findings
from .page import flat, interval, number, render

EXAMPLES = 10  # reconstructions shown
CURVES = (  # title, what the findings call its history, figure, caption
    ("Vision", "vision", plots.vision_curves, "Held-out frames come from episodes that training never saw."),
    (
        "Memory",
        "memory",
        plots.memory_curves,
        "The negative log-likelihood is that of a density, so it may pass below zero: densities exceed 1.",
    ),
    (
        "Controller",
        "evolution",
        plots.evolution_curves,
        "The population is a cloud around CMA's mean and scores below it; where episodes are short at first, less "
        "still. The means are validated on whole ones. The agent is the last mean, or an average of the last ones.",
    ),
    (
        "Rounds",
        "rounds",
        plots.rounds_curves,
        "The curves above are those of the first round. Of the agents the best one counts; finalists met once more.",
    ),
)
AXES = ("step", "generation", "round", "episodes", "seconds", "per_second", "learning_rate", "steps_per_second")


def write_report(
    run: Workspace | Path | str,
    *,
    agent: Agent | None = None,
    drive: DriveRecord | None = None,
    held_out: NDArray[np.uint8] | None = None,
    command: str | None = None,
) -> Path:
    """Write `report.html` of a run folder, and `agent.webm` where a drive is given; returns the page's path.

    `held_out` u8[N,H,W,C] are frames that the vision was not trained on; with `agent` they become the reconstructions.
    `command` is the shell line that made the run; by default it is found from the configuration. What is missing is
    left out, and the page says how to get it.

    Raises ValueError where the folder does not exist or one of its JSON files is damaged.
    """
    folder = run.root if isinstance(run, Workspace) else Path(run)
    findings = read_findings(folder)
    if drive is not None:
        save_video(folder / VIDEO, drive.steps, drive.pictures)
    begun = [stage for stage in findings.stages if stage.state != "missing"]
    html = render(
        "page.html",
        findings=findings,
        seed=findings.config.get("seed"),
        density=str(findings.config.get("memory", {}).get("density", "frmdn")).upper(),
        tiles=_tiles(findings),
        drive=drive,
        poster=poster,
        evaluation=_evaluation(findings.evaluation),
        learning=_learning(findings),
        kept=_kept(agent, held_out),
        strip=plots.filmstrip(drive) if drive is not None and drive.expected is not None else None,
        dream=dream_section(folder),
        times=[(s.name, s.state, s.seconds, f"{s.units:,} {s.unit}", s.result) for s in begun],
        shares=[stage.seconds / max(findings.seconds, 1e-9) for stage in begun],
        command=command or recipe.command(findings.config),
        settings=flat(findings.config),
    )
    path = folder / "report.html"
    write_bytes(path, html.encode())
    return path


def _tiles(findings: Findings) -> list[tuple[str, str]]:
    """The cards at the top: (value, what it is)."""
    report, tiles = findings.evaluation, []
    if report:
        tiles.append((interval(*report["ci95"]), "95 % interval of the mean"))
        chance = report.get("baselines", {}).get("random")
        if chance:
            tiles.append((number(chance["mean"]), "random policy"))
            above = report["mean"] - chance["mean"]
            # Only between returns above zero does a ratio mean anything: CarRacing's random policy scores below it.
            ratio = f" ({report['mean'] / chance['mean']:.1f} times)" if min(chance["mean"], report["mean"]) > 0 else ""
            tiles.append((number(above, sign="+"), f"against random{ratio}"))
    if findings.evolution:
        tiles.append((f"{findings.searched:,}", "episodes of search"))
    if findings.seconds:
        tiles.append((duration(findings.seconds), "working time"))
    return tiles


def _evaluation(report: Mapping[str, Any]) -> dict[str, Any]:
    """The tables of the evaluation, a row for the agent and for each baseline; empty before there is one."""
    if not report:
        return {}
    entries = {name.replace("_", " "): one for name, one in {"agent": report, **report.get("baselines", {})}.items()}
    rows = [(name, *_figures(entry)) for name, entry in entries.items()]
    lengths = report.get("lengths") or [0] * len(report["returns"])
    told = measures.names(report)
    return {
        "figure": plots.evaluation_figure(report),
        "alt": "Returns per episode. " + "; ".join(f"{row[0]}: mean {row[1]:.0f}, interval {row[3]}" for row in rows),
        "rows": rows,
        "single": list(zip(map(str, report["seeds"]), report["returns"], lengths, strict=True)),
        "measured": [name.replace("_", " ") for name in told],
        "measures": [(name, *(_measure(entry, key) for key in told)) for name, entry in entries.items() if told],
    }


def _figures(entry: Mapping[str, Any]) -> tuple[float, float, str, float, float, int]:
    returns = entry["returns"]
    between = interval(*entry["ci95"], digits=1)
    return float(entry["mean"]), float(entry["std"]), between, min(returns), max(returns), len(returns)


def _measure(entry: Mapping[str, Any], name: str) -> str:
    """What the environment tells of the episodes beside their returns, with its interval where there is one."""
    between: Sequence[float] | None = entry.get(name + measures.INTERVAL)
    digits = 2 if between is not None and between[1] <= 1 else 0
    text = number(entry[name], digits)
    return text if between is None else f"{text} ({interval(*between, digits=digits)})"


def _learning(findings: Findings) -> list[dict[str, Any]]:
    """What learnt: its curves, and their last values in words. Rounds only where there are several."""
    parts = []
    for title, name, draw, words in CURVES:
        history = getattr(findings, name)
        if name == "evolution" and findings.watched:
            continue
        if name == "rounds" and len(history) < 2:
            continue
        last = {key: value for line in history for key, value in line.items() if key not in AXES}
        values = ", ".join(f"{key.replace('_', ' ')} {value:.4g}" for key, value in last.items())
        alt = f"Learning curves of the {title.lower()}; at the end: {values}"
        parts.append({"title": title, "figure": draw(history) if history else None, "alt": alt, "words": words})
    return parts


def _kept(agent: Agent | None, held_out: NDArray[np.uint8] | None) -> dict[str, Any] | None:
    """Held-out frames and their reconstructions, spread evenly over those given."""
    if agent is None or held_out is None or not len(held_out):
        return None
    frames = held_out[np.linspace(0, len(held_out) - 1, min(EXAMPLES, len(held_out))).round().astype(int)]
    decoded = reconstruct(agent, frames)
    error = float(np.sqrt(np.mean((frames.astype(np.float32) - decoded) ** 2)))
    return {
        "latent": agent.vision.config.latent,
        "error": error,
        "figure": plots.reconstruction_grid(frames, decoded),
    }
