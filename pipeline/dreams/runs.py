"""Runs side by side, read from their JSON alone: at which temperature each was evolved, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..files import read_json
from ..report.findings import read_findings
from ..workspace import Workspace

COLUMNS = ("run", "temperature", "density", "dream score", "real score", "episodes")


def read_run(folder: Path) -> dict[str, Any]:
    """Temperature of the search, score in the dream, score in reality; None where the run does not have it.

    The dream score is that of the evaluated agent in the dreams nearest to this temperature, from `dream.json`; without
    one it is the mean of the last generation of a search in dreams.
    """
    config, findings = Workspace(folder).read_config(), read_findings(folder)
    temperature, real = search_temperature(config), findings.evaluation
    path = folder / "dream.json"
    return {
        "run": str(folder),
        "temperature": temperature,
        "density": config["memory"]["density"],
        "dream": _dream_score(read_json(path) if path.exists() else {}, findings.evolution, temperature),
        "real": {key: real[key] for key in ("mean", "std", "ci95", "episodes")} if real else None,
        "random": real.get("baselines", {}).get("random", {}).get("mean") if real else None,
    }


def search_temperature(config: Mapping[str, Any]) -> float | None:
    """The temperature of the dreams that the controller was evolved in; None of a search in reality."""
    dream = config["dream"]
    return None if dream["world"] == "reality" else float(dream["temperature"])


def _dream_score(
    report: Mapping[str, Any], evolution: list[dict[str, Any]], temperature: float | None
) -> dict[str, float] | None:
    if report:
        wanted = 1.0 if temperature is None else temperature
        row = min(report["temperatures"], key=lambda row: abs(row["temperature"] - wanted))
        return {"temperature": row["temperature"], **row["agent"]["dream"]}
    if temperature is not None and evolution:
        return {"temperature": temperature, "mean": evolution[-1]["mean"], "std": evolution[-1]["std"]}
    return None


def row(record: Mapping[str, Any]) -> tuple[str, ...]:
    """One line of the table."""
    real, dream, temperature = record["real"], record["dream"], record["temperature"]
    return (
        Path(record["run"]).name,
        "reality" if temperature is None else f"{temperature:g}",
        record["density"],
        f"{dream['mean']:.0f} ± {dream['std']:.0f}" if dream else "-",
        f"{real['mean']:.0f} ± {real['std']:.0f}" if real else "-",
        str(real["episodes"]) if real else "-",
    )
