"""One page about one run: self-contained HTML with its pictures, its video and every figure, readable offline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from frmdn.agent.agent import Agent
from frmdn.controller import measures

from .. import recipe
from ..dreams.section import dream_section
from ..files import write_bytes
from ..workspace import Workspace
from . import page, plots
from .drive import DriveRecord
from .film import poster, reconstruct, save_drive
from .findings import VIDEO, Findings, read_findings

EXAMPLES = 10  # reconstructions shown


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
        save_drive(folder / VIDEO, drive)
    parts = [
        _header(findings),
        _video(findings, drive),
        _evaluation(findings),
        _learning(findings),
        _reconstructions(agent, held_out),
        _expectations(drive),
        dream_section(findings.folder),
        _times(findings),
        _origins(findings, command),
    ]
    path = folder / "report.html"
    write_bytes(path, page.document(f"{findings.env} · frmdn", "".join(parts)).encode())
    return path


def _header(findings: Findings) -> str:
    seed = findings.config.get("seed")
    mind = f"sees through a ConvVAE, remembers with {_memory_name(findings)}, and acts through a linear controller"
    lead = f"A world-model agent: it {mind}."
    head = page.paragraph("frmdn" + (f" · seed {seed}" if seed is not None else ""), "eyebrow")
    head += f"<h1>{page.escape(findings.env)}</h1>" + page.paragraph(lead, "lead")
    report = findings.evaluation
    if not report:
        head += page.note("The agent has not been measured. Not yet: run", f"frmdn evaluate --run {findings.folder}")
    else:
        over = f"{report['episodes']} held-out {_episodes(findings)} of the official environment"
        head += f'<p class="headline">{page.number(report["mean"])} <small>± {page.number(report["std"])}</small></p>'
        head += page.paragraph(f"mean return ± standard deviation over {over}", "lead")
    return f"<header>{head}{page.tiles(_tiles(findings))}</header>"


def _tiles(findings: Findings) -> list[tuple[str, str]]:
    report, tiles = findings.evaluation, []
    if report:
        low, high = report["ci95"]
        tiles.append((f"{page.number(low)} to {page.number(high)}", "95 % interval of the mean"))
        chance = report.get("baselines", {}).get("random")
        if chance:
            tiles.append((page.number(chance["mean"]), "random policy"))
            above = report["mean"] - chance["mean"]
            # Only between returns above zero does a ratio mean anything: CarRacing's random policy scores below it.
            ratio = f" ({report['mean'] / chance['mean']:.1f} times)" if min(chance["mean"], report["mean"]) > 0 else ""
            tiles.append((page.number(above, sign="+"), f"against random{ratio}"))
    if findings.evolution:
        tiles.append((f"{findings.searched:,}", "episodes of search"))
    if findings.seconds:
        tiles.append((page.duration(findings.seconds), "working time"))
    return tiles


def _video(findings: Findings, drive: DriveRecord | None) -> str:
    path = findings.video
    if path is None:
        return page.section("Watch it", page.note("No video. Not yet: run", f"frmdn report --run {findings.folder}"))
    words = (
        "Left to right: the frame that the agent sees, what its vision keeps of that frame, and what its memory "
        "expected before seeing it. Below: return so far, step, and the controls."
    )
    if drive is not None:
        words += f" Seed {drive.seed}: return {page.number(drive.total)} after {drive.steps} steps."
    alt = f"The trained agent in {findings.env}: what it sees, reconstructs and expects"
    return page.section("Watch it", page.video(path.read_bytes(), poster(path), alt, words))


def _evaluation(findings: Findings) -> str:
    report = findings.evaluation
    if not report:
        return page.section(
            "Evaluation",
            page.note("No evaluation. Not yet: run", f"frmdn evaluate --run {findings.folder}"),
        )
    entries = {"agent": report, **report.get("baselines", {})}
    rows = [(name.replace("_", " "), *_figures(entry)) for name, entry in entries.items()]
    heads = ("policy", "mean", "std", "95 % interval", "worst", "best", "episodes")
    alt = "Returns per episode. " + "; ".join(f"{row[0]}: mean {row[1]:.0f}, interval {row[3]}" for row in rows)
    lengths = report.get("lengths") or [0] * len(report["returns"])
    single = zip(map(str, report["seeds"]), report["returns"], lengths, strict=True)
    return page.section(
        "Evaluation",
        page.paragraph(
            f"{report['episodes']} whole {_episodes(findings)} of the official environment ({report['backend']}), on "
            "seeds that neither training nor the choice of the agent has met. "
            f"Playing them took {page.duration(report['seconds'])}."
        ),
        page.drawing(plots.to_svg(plots.evaluation_figure(report)), alt),
        page.table(heads, rows),
        *_measures(entries),
        page.folded("Every return", page.table(("seed", "return", "steps"), list(single))),
    )


def _measures(entries: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What the environment tells of the episodes beside their returns; nothing where it tells nothing."""
    names = measures.names(entries["agent"])
    if not names:
        return []
    rows = []
    for policy, entry in entries.items():
        cells = [_measure(entry[name], entry.get(name + measures.INTERVAL)) for name in names]
        rows.append((policy.replace("_", " "), *cells))
    return [page.table(("policy", *(name.replace("_", " ") for name in names)), rows)]


def _measure(value: float, interval: Sequence[float] | None) -> str:
    digits = 2 if interval is not None and interval[1] <= 1 else 0
    text = page.number(value, digits)
    return (
        text
        if interval is None
        else f"{text} ({page.number(interval[0], digits)} to {page.number(interval[1], digits)})"
    )


def _figures(entry: Mapping[str, Any]) -> tuple[float, float, str, float, float, int]:
    returns, (low, high) = entry["returns"], entry["ci95"]
    interval = f"{page.number(low, 1)} to {page.number(high, 1)}"
    return float(entry["mean"]), float(entry["std"]), interval, min(returns), max(returns), len(returns)


def _learning(findings: Findings) -> str:
    parts = []
    for title, history, draw, words in (
        ("Vision", findings.vision, plots.vision_curves, "Held-out frames come from episodes that training never saw."),
        (
            "Memory",
            findings.memory,
            plots.memory_curves,
            "The negative log-likelihood is that of a density, so it may pass below zero: densities exceed 1.",
        ),
        (
            "Controller",
            findings.evolution,
            plots.evolution_curves,
            "The population is a cloud around CMA's mean and scores below it. The mean is the agent that is saved.",
        ),
        *_rounds(findings),
    ):
        parts.append(f"<h3>{title}</h3>")
        if history:
            parts.append(page.drawing(plots.to_svg(draw(history)), _last(title, history), words))
        else:
            parts.append(page.note("Nothing logged. Not yet: run", f"frmdn run --out {findings.folder}"))
    return page.section("How it learnt", *parts)


def _rounds(findings: Findings) -> list[tuple[str, list[dict[str, Any]], Callable[[plots.History], Figure], str]]:
    """The rounds as one more thing that learnt, where there are several."""
    words = "The curves above are those of the first round. Of the agents the best one counts; finalists met once more."
    return [("Rounds", findings.rounds, plots.rounds_curves, words)] if len(findings.rounds) > 1 else []


def _last(title: str, history: list[dict[str, Any]]) -> str:
    """The curves in words: their last values."""
    skip = ("step", "generation", "round", "episodes", "seconds", "per_second", "learning_rate", "steps_per_second")
    last: dict[str, Any] = {}
    for line in history:
        last |= line
    values = ", ".join(f"{key.replace('_', ' ')} {value:.4g}" for key, value in last.items() if key not in skip)
    return f"Learning curves of the {title.lower()}; at the end: {values}"


def _reconstructions(agent: Agent | None, held_out: NDArray[np.uint8] | None) -> str:
    title = "What the vision keeps"
    if agent is None or held_out is None or not len(held_out):
        return page.section(title, page.note("No trained vision, or no held-out frames, at hand for this page."))
    frames = held_out[np.linspace(0, len(held_out) - 1, min(EXAMPLES, len(held_out))).round().astype(int)]
    decoded = reconstruct(agent, frames)
    error = float(np.sqrt(np.mean((frames.astype(np.float32) - decoded) ** 2)))
    return page.section(
        title,
        page.paragraph(
            f"Frames of episodes held out from training, and their reconstructions from "
            f"{agent.vision.config.latent} numbers each. Root mean squared error {error:.1f} of 255."
        ),
        page.drawing(
            plots.to_svg(plots.reconstruction_grid(frames, decoded)), "Held-out frames above, reconstructions below"
        ),
    )


def _expectations(drive: DriveRecord | None) -> str:
    title = "What the memory expects"
    if drive is None:
        return page.section(title, page.note("No drive was recorded for this page."))
    if drive.expected is None:
        return page.section(title, page.note("This agent has no memory: it expects nothing."))
    return page.section(
        title,
        page.paragraph(
            "Instants of the drive above. The last row is what the memory held most likely one step earlier, "
            "after acting and before the frame arrived."
        ),
        page.drawing(
            plots.to_svg(plots.filmstrip(drive)), "Eight instants of a drive: seen, reconstructed and expected"
        ),
    )


def _times(findings: Findings) -> str:
    done = [stage for stage in findings.stages if stage.state != "missing"]
    if not done:
        return page.section("Where the time went", page.note("No stage has run. Not yet: run", "frmdn run"))
    total = max(findings.seconds, 1e-9)
    rows = [(s.name, s.state, s.seconds, f"{s.units:,} {s.unit}", s.result) for s in done]
    heads = ("stage", "state", "seconds", "units", "result")
    return page.section(
        "Where the time went",
        page.paragraph(f"Wall clock over all resumes: {page.duration(findings.seconds)}."),
        page.table(heads, rows, shares=[stage.seconds / total for stage in done]),
    )


def _origins(findings: Findings, command: str | None) -> str:
    """How to make it again: command, seeds, versions, configuration."""
    report, seed = findings.evaluation, findings.config.get("seed")
    again = command or recipe.command(findings.config)
    words = "Every random number of a run derives by name from its root seed"
    words += f", which is {seed} here." if seed is not None else "."
    parts = [
        page.paragraph(words + " Evaluation seeds are disjoint from training seeds by construction."),
        page.code(again),
    ]
    if report:
        rows = list(map(str, report["seeds"]))
        parts.append(page.folded("Evaluation seeds", page.paragraph(", ".join(rows))))
        versions = [(name, str(version)) for name, version in report["versions"].items()]
        parts.append(page.folded("Versions", page.table(("package", "version"), versions)))
    if findings.config:
        parts.append(page.folded("Configuration", page.settings(findings.config)))
    return page.section("Make it again", *parts)


def _episodes(findings: Findings) -> str:
    return "tracks" if findings.env.startswith("CarRacing") else "episodes"


def _memory_name(findings: Findings) -> str:
    density = str(findings.config.get("memory", {}).get("density", "frmdn")).upper()
    return f"an LSTM whose mixture density passes through a flow ({density})" if density == "FRMDN" else f"an {density}"
