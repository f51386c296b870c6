"""`frmdn statespace`: train one variant of the state-space model for several seeds, and measure what it generates."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from frmdn.agent.device import choose_device, device_name

from ..files import read_json, write_bytes, write_json
from ..progress import Progress, duration
from ..settings import override, settle, to_json
from ..workspace import Workspace
from .settings import MEANING, StateSpaceSettings, defaults


def statespace(options: argparse.Namespace) -> int:
    """Train, measure and plot what is missing in the folder; print the figures of all seeds."""
    settings = override(defaults(options.variant, options.observation), [f"env={options.env}", *options.settings])
    if options.control:
        _check_control(settings)
    device = choose_device(options.device, Progress().line)
    workspace = Workspace(options.out)
    workspace.check_free()
    with workspace.lock():
        settle(workspace.config_path, to_json(settings), "frmdn statespace")
        summary = _run(settings, workspace.root, options.seeds, options.control, device)
    if options.json:
        print(json.dumps(summary, indent=2, allow_nan=False))
    return 0


def _run(settings: StateSpaceSettings, out: Path, seeds: int, controls: bool, device: torch.device) -> dict[str, Any]:
    """Bring all seeds to done, and return what the command prints."""
    from .seed import evaluate_seed, prepare, train_seed

    progress = Progress(out / "log.txt")
    data = prepare(settings, out, progress, device)
    results = []
    for seed in range(seeds):
        path = out / f"seed-{seed}" / "result.json"
        if not (path.exists() and (path.parent / "model.safetensors").exists()):
            model, times = train_seed(settings, data, seed, path.parent, progress)
            write_json(
                path,
                {**evaluate_seed(settings, data, model, seed, path.parent), **times, "device": device_name(device)},
            )
        results.append(read_json(path))
        progress.line(_said(seed, results[-1]))
    summary = summarise(settings, results)
    summary["device"] = sorted({result.get("device", "cpu") for result in results})
    _plot(out, seeds, settings)
    if controls:
        from .control import control

        summary["control"] = control(settings, data, out, progress)
    write_json(out / "result.json", summary)
    return summary


def summarise(settings: StateSpaceSettings, results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The object that the command prints: entry i of every list is seed i; means and sample standard deviations."""
    import numpy as np

    def column(name: str) -> list[float]:
        return [float(result[name]) for result in results]

    def spread(values: list[float]) -> float:
        return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0

    means, sampled = column("generation_mae"), column("generation_mae_sampled")
    names = ("generation_mae", "generation_mae_sampled", "reconstruction_mae", "kl", "bound", "reconstruction")
    return {
        "variant": settings.variant,
        "observation": settings.observation,
        "seeds": list(range(len(results))),
        **{name: column(name) for name in names},
        "r2": {name: float(np.mean([result["r2"][name] for result in results])) for name in results[0]["r2"]},
        "r2_seeds": {name: [float(result["r2"][name]) for result in results] for name in results[0]["r2"]},
        "mean": float(np.mean(means)),
        "std": spread(means),
        "mean_sampled": float(np.mean(sampled)),
        "std_sampled": spread(sampled),
        "seconds": float(sum(column("seconds"))),
        "seconds_seeds": column("seconds"),
        "cpu_seconds": float(sum(column("cpu_seconds"))),
        "meaning": MEANING,
        "settings": to_json(settings),
    }


def _check_control(settings: StateSpaceSettings) -> None:
    """Refuse before training what could only fail after it."""
    foresees = settings.variant == "iaf-trajectory" or settings.recognition == "smooth" or settings.lookahead
    if foresees or settings.observation != "state":
        raise ValueError(
            "--control needs a model that infers its state as it goes: --observation state, lookahead 0, recognition "
            "filter, and another variant than iaf-trajectory, whose posterior needs the whole trajectory"
        )


def _said(seed: int, result: Mapping[str, Any]) -> str:
    r2 = ", ".join(f"{name} {value:.3f}" for name, value in result["r2"].items())
    fit, kl = result["reconstruction"], result["kl"]
    return (
        f"seed {seed}: generation error {result['generation_mae']:.4f} at means, "
        f"{result['generation_mae_sampled']:.4f} sampled; bound {result['bound']:.1f} = {fit:.1f} - {kl:.2f} nats; "
        f"R2 {r2} ({duration(result['seconds'])})"
    )


def _plot(out: Path, seeds: int, settings: StateSpaceSettings) -> None:
    from ..drawing.figures import to_png
    from ..files import History
    from .plots import training_curves

    histories = [History(out / f"seed-{seed}" / "history.jsonl", "step").read() for seed in range(seeds)]
    annealed = round(settings.annealing * settings.updates)
    write_bytes(out / "training.png", to_png(training_curves(histories, annealed)))
