"""What a comparison found: runs gathered by model and data, in one file that grows by atomic replacement."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from frmdn.rollouts.sources import Source

from ..files import write_json

BASELINE = "rmdn"
LISTS = ("validation_nll_per_dim", "cpu_seconds", "steps", "best_step", "best_share", "diverged")


def summarise(source: Source, runs: Mapping[str, Sequence[Mapping[str, Any]]], about: dict[str, Any]) -> dict[str, Any]:
    """One object {data, models, ...} from the results of the runs of each model, in the order of their seeds."""
    models = {name: _model(source, results) for name, results in runs.items() if results}
    record: dict[str, Any] = {"data": source.name, "baseline": BASELINE, "unit": source.unit}
    if source.floor is not None:
        record["floor"] = source.floor
        _add_gap_closed(models, source.floor)
    machine = {"threads": torch.get_num_threads(), "cuda": torch.cuda.is_available(), "torch": torch.__version__}
    return record | {"about": dict(source.about), **about, "machine": machine, "models": models}


def _model(source: Source, results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    nll = [float(result["nll_per_dim"]) for result in results]
    mean = sum(nll) / len(nll)
    std = math.sqrt(sum((x - mean) ** 2 for x in nll) / (len(nll) - 1)) if len(nll) > 1 else 0.0
    seconds = sum(float(result["seconds"]) for result in results) / len(results)
    record = {"nll_per_dim": nll, "mean": mean, "std": std, "parameters": results[0]["parameters"], "seconds": seconds}
    return record | source.figures(mean) | {key: [result[key] for result in results] for key in LISTS}


def _add_gap_closed(models: dict[str, dict[str, Any]], floor: float) -> None:
    """How much of the baseline's distance to the floor each model closes: 0 as the baseline, 1 at the floor."""
    if BASELINE not in models:
        return
    gap = models[BASELINE]["mean"] - floor
    for model in models.values():
        model["gap_closed"] = (models[BASELINE]["mean"] - model["mean"]) / gap


def read_results(path: Path) -> list[dict[str, Any]]:
    """The objects of a results file, none where it does not exist; ValueError names a damaged one."""
    if not path.exists():
        return []
    try:
        value = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid JSON ({error}): delete it; finished runs are kept") from None
    if not isinstance(value, list) or any(not isinstance(item, dict) or "data" not in item for item in value):
        raise ValueError(f"{path} must hold a list of objects with a `data`: delete it; finished runs are kept")
    return value


def store(path: Path, record: Mapping[str, Any]) -> None:
    """Put one data set's record into the file, in the place of an older one of the same data."""
    records = read_results(path)
    names = [item["data"] for item in records]
    if record["data"] in names:
        records[names.index(record["data"])] = dict(record)
    else:
        records.append(dict(record))
    write_json(path, records)


def beats(model: Mapping[str, Any], baseline: Mapping[str, Any]) -> bool:
    """Whether a model is better than the baseline by more than the two standard deviations added."""
    several = min(len(model["nll_per_dim"]), len(baseline["nll_per_dim"])) > 1  # one seed has no deviation
    return bool(several and baseline["mean"] - model["mean"] > baseline["std"] + model["std"])


def rows(record: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """A table for people: model, parameters, NLL, verdict against the baseline, steps, where the best check was."""
    models = record["models"]
    found: list[tuple[str, ...]] = []
    for name, model in models.items():
        verdict = ""
        if name == BASELINE:
            verdict = "baseline"
        elif BASELINE in models:
            verdict = "better" if beats(model, models[BASELINE]) else ""
            verdict = verdict or ("worse" if beats(models[BASELINE], model) else "within the spread")
        share = sum(model["best_share"]) / len(model["best_share"])
        steps = sum(model["steps"]) / len(model["steps"])
        nll = f"{model['mean']:.4f} ± {model['std']:.4f}"
        found.append((name, f"{model['parameters']:,}", nll, verdict, f"{steps:,.0f}", f"{100 * share:.0f} %"))
    return found


COLUMNS = ("model", "parameters", "NLL per dimension", "against rmdn", "steps", "best after")
