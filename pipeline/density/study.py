"""`frmdn density compare`, `fit` and `sample`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from frmdn.agent.device import choose_device
from frmdn.rollouts.sources import SegmentBatches, Source

from ..commands.options import assignments
from ..progress import Progress
from ..strokes.model import StrokeModel
from ..workspace import Workspace
from .data import Columns, Data, choose, open_source
from .model import config_for
from .names import MODELS, SLIDES, WRITERS
from .results import COLUMNS, read_results, rows, store, summarise
from .run import Plan, Run, choose_settings
from .schedule import slides_recipe


def compare(options: argparse.Namespace) -> int:
    """Every model with every seed on every data set behind --data; what is done already stays."""
    choose_settings(assignments(options))  # a mistake is better known before the folder is there
    chosen = choose(options.data, options.path, options.protocol, _columns(options))
    models = list(dict.fromkeys(options.models or MODELS + (SLIDES if options.data == "inverse-sine" else ())))
    path, device = options.out / "density.json", _device(options)
    read_results(path)  # a damaged file is better known before an hour of work than after it
    with Workspace(options.out).lock():
        progress = Progress(options.out / "log.txt")
        records = [_compare_one(options, data, models, device, progress) for data in chosen]
    if options.json:
        print(json.dumps(records, indent=2, allow_nan=False))
    return 0


def _compare_one(
    options: argparse.Namespace, data: Data, models: Sequence[str], device: torch.device, progress: Progress
) -> dict[str, Any]:
    from .plots import write_plots

    source, folder = _open(data, progress), options.out / data.name
    wanted = [(name, seed) for seed in range(options.seeds) for name in models]
    runs = {
        key: Run(folder / key[0] / f"seed-{key[1]}", source, _plan(options, data, source, *key), device)
        for key in dict.fromkeys([*wanted, *_finished(folder)])  # those of earlier calls must fit the same settings
    }
    _finish({key: runs[key] for key in wanted}, progress, data.name)
    record = _gather(options, source, runs)
    store(options.out / "density.json", record)
    progress.table(f"{data.name}: {source.unit}, held out{_floor(source)}", COLUMNS, rows(record))
    for picture in write_plots(folder, source, record):
        progress.line(f"wrote {picture}")
    return record


def _finished(folder: Path) -> list[tuple[str, int]]:
    """Model and seed of every finished run in the folder."""
    names = [path.parent for path in folder.glob("*/seed-*/result.json")]
    return sorted((path.parent.name, int(path.name.removeprefix("seed-"))) for path in names)


def _finish(runs: Mapping[tuple[str, int], Run], progress: Progress, name: str) -> None:
    """All runs, seed by seed, so that a comparison stopped early has compared something."""
    total = sum(run.plan.recipe.checks for run in runs.values())
    done = sum(run.plan.recipe.checks for run in runs.values() if run.result)
    with progress.task(name, "checks") as task:
        task.update(done, total)
        for (model, seed), current in runs.items():
            if current.result is not None:
                continue
            label = f"{model} seed {seed}"

            def report(checks: int, note: str, done: int = done, label: str = label) -> None:
                task.update(done + checks, total, f"{label}: {note}")

            current.finish(report)
            done += current.plan.recipe.checks


def _gather(options: argparse.Namespace, source: Source, runs: Mapping[tuple[str, int], Run]) -> dict[str, Any]:
    """The record of all finished runs of the folder, models in the order of the catalogue, seeds ascending."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in (*SLIDES, *MODELS, *WRITERS)}
    for (name, _), current in sorted(runs.items()):
        if current.result is not None:
            found[name].append(current.result)
    recipe = choose_settings(assignments(options)).recipe
    return summarise(
        source, found, {"budget_seconds": recipe.budget, "budget_steps": recipe.steps, "clock": recipe.clock}
    )


def fit(options: argparse.Namespace) -> int:
    """One model, kept in its folder."""
    choose_settings(assignments(options))
    (data,) = choose(options.data, options.path, options.protocol, _columns(options))
    device = _device(options)
    with Workspace(options.out).lock():
        progress = Progress(options.out / "log.txt")
        source = _open(data, progress)
        plan = _plan(options, data, source, options.model, options.seed)
        current = Run(options.out, source, plan, device)
        if current.result is None:
            with progress.task(options.model, "checks") as task:
                task.update(0, plan.recipe.checks)
                result = current.finish(lambda n, note: task.update(n, plan.recipe.checks, note))
        else:
            progress.line(f"{options.out} is done already")
            result = current.result
    figures = {"nll_per_dim": result["nll_per_dim"], "unit": source.unit, **source.figures(result["nll_per_dim"])}
    progress.line(
        f"{options.model} on {data.name}: {result['nll_per_dim']:.4f} {source.unit}{_floor(source)}, "
        f"{result['parameters']:,} parameters, {result['steps']:,} steps"
    )
    if options.json:
        print(json.dumps({"data": data.name, "model": options.model, **result, **figures}, indent=2, allow_nan=False))
    return 0


def sample(options: argparse.Namespace) -> int:
    """A file to hear or to see."""
    from .sample import write_sample

    print(write_sample(options), file=sys.stderr)
    return 0


def measure(options: argparse.Namespace) -> int:
    """Figures of what a model of drawings samples."""
    from ..strokes.measures import write_measures
    from .run import open_run

    settings, model = open_run(options.run)
    if not isinstance(model, StrokeModel):
        name = settings["data"]["name"]
        raise ValueError(f"measure is for drawings, and {options.run} is of {name}: its NLL stands in result.json")
    return write_measures(options, open_source(Data.of_settings(settings["data"])), model)


def _open(data: Data, progress: Progress) -> Source:
    with progress.task("data", "clips") as task:
        source = open_source(data, lambda done, total: task.update(done, total))
    progress.line(f"{data.name}: {', '.join(f'{key} {value}' for key, value in source.about.items())}")
    return source


def _device(options: argparse.Namespace) -> torch.device:
    return choose_device(options.device, Progress().line)


def _columns(options: argparse.Namespace) -> Columns:
    return Columns(options.target, options.context, options.sequence, options.held_out, options.missing)


def _plan(options: argparse.Namespace, data: Data, source: Source, model: str, seed: int) -> Plan:
    choice = choose_settings(assignments(options))
    config = config_for(model, source, **vars(choice.model))
    recipe = slides_recipe(SegmentBatches(source, 0).steps) if model in SLIDES else choice.recipe
    return Plan(data, config, recipe, seed)


def _floor(source: Source) -> str:
    return "" if source.floor is None else f" (floor {source.floor:.4f})"
