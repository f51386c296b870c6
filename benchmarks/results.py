"""Finished run folders as a JSON list: `python -m frmdn.benchmarks.results runs/a runs/b > car_racing.json`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from frmdn.pipeline.files import History, read_json
from frmdn.pipeline.stages.table import table
from frmdn.pipeline.workspace import Workspace


def summarise(folder: Path) -> dict[str, Any]:
    """Preset settings, seconds by stage, cores, last figures of the histories and the whole evaluation of one run."""
    config, evaluation = Workspace(folder).read_config(), read_json(folder / "evaluation.json")
    done = {stage.name: read_json(folder / stage.folder / "done.json") for stage in table(config)}
    for baseline in evaluation["baselines"].values():
        baseline.pop("versions", None)  # the same as the agent's
    evolution = History(folder / "controller" / "history.jsonl", "generation").read()
    return {
        "run": folder.name,
        "density": config["memory"]["density"],
        "seed": config["seed"],
        "seconds": {name: record["seconds"] for name, record in done.items()},
        "seconds_total": round(sum(record["seconds"] for record in done.values()), 1),
        "cores": os.cpu_count(),
        "results": {name: record["result"] for name, record in done.items()},
        "memory_validation_nll_per_dim": _last(folder / "memory", "validation_nll_per_dim"),
        "vision_validation_reconstruction": _last(folder / "vision", "validation_reconstruction"),
        "search": {
            "episodes": sum(line["episodes"] for line in evolution),
            "steps": sum(line["steps"] for line in evolution),
            "steps_per_second": sum(line["steps"] for line in evolution) / sum(line["seconds"] for line in evolution),
            "validation": [[line["generation"], line["validation"]] for line in evolution if "validation" in line],
        },
        **_rounds(folder),
        "config": config,
        "evaluation": evaluation,
    }


def _rounds(folder: Path) -> dict[str, Any]:
    """Which of CMA's means was kept, what each round brought, and what the dreams were worth: where a run has these."""
    found: dict[str, Any] = {}
    if (folder / "controller" / "kept.json").exists():
        found["kept"] = read_json(folder / "controller" / "kept.json")
    if (folder / "rounds" / "history.jsonl").exists():
        found["rounds"] = History(folder / "rounds" / "history.jsonl", "round").read()
        found["finals"] = History(folder / "rounds" / "finals.jsonl", "round").read()
    if (folder / "dream.json").exists():
        found["dream"] = read_json(folder / "dream.json")
    return found


def _last(folder: Path, key: str) -> float:
    return float([line[key] for line in History(folder / "history.jsonl", "step").read() if key in line][-1])


if __name__ == "__main__":
    print(json.dumps([summarise(Path(argument)) for argument in sys.argv[1:]], indent=1))
