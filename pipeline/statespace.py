"""`frmdn statespace`: train one variant of the state-space model for several seeds, and measure what it generates."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from .files import read_json, write_bytes, write_json
from .progress import Progress, duration
from .workspace import Workspace

MEANING = {
    "generation_mae": "noise at its centre: that of q(z_0 | x_0) to begin with, and every transition at its mean",
    "generation_mae_sampled": "noise drawn: z_0 from q(z_0 | x_0), every transition from the prior",
    "reconstruction_mae": "states at the centre of the posterior",
    "kl": "nats per trajectory, posterior against prior; bound = reconstruction - kl, in nats per trajectory",
    "seconds": "of training, as a clock on the wall counts; cpu_seconds those that the one core worked for it",
    "r2": "least squares from states at the posterior's centre, fitted on training and scored on test trajectories",
}


@dataclass(frozen=True)
class StateSpaceSettings:
    """All that the results depend on besides the seed; it is stored in the folder and never mixed."""

    variant: str = "dvbf"
    env: str = "Pendulum-v1"
    observation: str = "state"  # state: (cos, sin, velocity / 8); pixels: 16 x 16 pictures
    train: int = 500  # trajectories
    validation: int = 128
    test: int = 128
    length: int = 50  # steps of a trajectory
    latent: int = 4
    matrices: int = 16  # of the locally linear transition
    hidden: int = 64  # width of the networks inside the walk through time
    width: int = 64  # width of the networks outside of it: emission, and recognition of the initial state
    lookahead: int = 0  # observations after the first one that the initial state is inferred from
    recognition: str = "filter"  # from what is seen at t, or "smooth" from all that is seen from t on
    updates: int = 1000  # of the parameters
    batch: int = 50  # trajectories
    learning_rate: float = 8e-3  # falls to 0 as a cosine
    annealing: float = 0.1  # share of the updates over which a weight rises to 1
    annealed: str = "kl"  # whose weight that is: the KL's, or the likelihood's
    clip: float = 5.0  # largest norm of the gradient

    def __post_init__(self) -> None:
        from agent.state_space import StateSpaceConfig

        if self.env != "Pendulum-v1":
            raise ValueError(
                f"env must be Pendulum-v1, the only world that has states and pictures here, not {self.env!r}"
            )
        if self.observation not in ("state", "pixels"):
            raise ValueError(f"observation must be state or pixels, not {self.observation!r}")
        for name in ("train", "validation", "test", "length", "updates", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.annealed not in ("kl", "likelihood"):
            raise ValueError(f"annealed must be kl or likelihood, not {self.annealed!r}")
        if not 0 <= self.annealing <= 1:
            raise ValueError(f"annealing must be a share between 0 and 1, not {self.annealing}")
        if self.batch > self.train:
            raise ValueError(f"batch must be at most the {self.train} trajectories of train, not {self.batch}")
        if self.lookahead >= self.length:
            raise ValueError(f"lookahead must be below the length {self.length}, not {self.lookahead}")
        StateSpaceConfig(
            variant=self.variant,  # type: ignore[arg-type]
            latent=self.latent,
            matrices=self.matrices,
            hidden=self.hidden,
            width=self.width,
            lookahead=self.lookahead,
            recognition=self.recognition,  # type: ignore[arg-type]
        )


def defaults(variant: str, observation: str) -> StateSpaceSettings:
    """The settings behind the figures in docs/state-space.md."""
    settings = StateSpaceSettings(variant=variant, observation=observation)
    if observation == "pixels":  # one picture does not show the velocity: the initial state sees five
        sizes = replace(settings, length=15, latent=3, width=128, lookahead=4, updates=2000)
        return replace(sizes, annealing=0.5, annealed="likelihood")
    return settings


def statespace(options: argparse.Namespace) -> int:
    """Train, measure and plot what is missing in the folder; print the figures of all seeds."""
    settings = override(defaults(options.variant, options.observation), {"env": options.env}, options.settings)
    if options.control:
        _check_control(settings)
    workspace = Workspace(options.out)
    workspace.check_free()
    with workspace.lock():
        _settle(workspace, settings)
        summary = _run(settings, workspace.root, options.seeds, options.control)
    if options.json:
        print(json.dumps(summary, indent=2, allow_nan=False))
    return 0


def _run(settings: StateSpaceSettings, out: Path, seeds: int, controls: bool) -> dict[str, Any]:
    """Bring all seeds to done, and return what the command prints."""
    from .statespace_seed import evaluate_seed, prepare, train_seed

    progress = Progress(out / "log.txt")
    data = prepare(settings, out, progress)
    results = []
    for seed in range(seeds):
        path = out / f"seed-{seed}" / "result.json"
        if not path.exists():
            model, times = train_seed(settings, data, seed, path.parent, progress)
            write_json(path, {**evaluate_seed(settings, data, model, seed, path.parent), **times})
        results.append(read_json(path))
        progress.line(_said(seed, results[-1]))
    summary = summarise(settings, results)
    _plot(out, seeds, settings)
    if controls:
        from .statespace_control import control

        summary["control"] = control(settings, data, out, progress)
    write_json(out / "result.json", summary)
    return summary


def override(settings: StateSpaceSettings, given: Mapping[str, Any], assignments: Sequence[str]) -> StateSpaceSettings:
    """The settings with `KEY=VALUE` words applied; ValueError names an unknown key or a wrong value."""
    values = dict(given)
    known = {field.name: type(getattr(settings, field.name)) for field in fields(settings)}
    for word in assignments:
        key, equals, text = word.partition("=")
        if not equals or key not in known:
            raise ValueError(f"--set {word!r} must be KEY=VALUE with a key of: {', '.join(known)}")
        try:
            values[key] = known[key](text)
        except ValueError:
            raise ValueError(f"--set {key} needs a value of type {known[key].__name__}, not {text!r}") from None
    return replace(settings, **values)


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
        "settings": asdict(settings),
    }


def _check_control(settings: StateSpaceSettings) -> None:
    """Refuse before training what could only fail after it."""
    foresees = settings.variant == "iaf-trajectory" or settings.recognition == "smooth" or settings.lookahead
    if foresees or settings.observation != "state":
        raise ValueError(
            "--control needs a model that infers its state as it goes: --observation state, lookahead 0, recognition "
            "filter, and another variant than iaf-trajectory, whose posterior needs the whole trajectory"
        )


def _settle(workspace: Workspace, settings: StateSpaceSettings) -> None:
    """Store the settings, or make sure that the folder was made with them: trained seeds would else be mixed."""
    wanted = asdict(settings)
    if not workspace.config_path.exists():
        workspace.write_config(wanted)
        return
    found = workspace.read_config()
    different = [f"{k}: {found.get(k)} there, {v} here" for k, v in wanted.items() if found.get(k) != v]
    if different:
        raise ValueError(f"{workspace.root} was made with other settings ({'; '.join(different)}): use another --out")


def _said(seed: int, result: Mapping[str, Any]) -> str:
    r2 = ", ".join(f"{name} {value:.3f}" for name, value in result["r2"].items())
    fit, kl = result["reconstruction"], result["kl"]
    return (
        f"seed {seed}: generation error {result['generation_mae']:.4f} at means, "
        f"{result['generation_mae_sampled']:.4f} sampled; bound {result['bound']:.1f} = {fit:.1f} - {kl:.2f} nats; "
        f"R2 {r2} ({duration(result['seconds'])})"
    )


def _plot(out: Path, seeds: int, settings: StateSpaceSettings) -> None:
    from .files import History
    from .plots import to_png
    from .statespace_plots import training_curves

    histories = [History(out / f"seed-{seed}" / "history.jsonl", "step").read() for seed in range(seeds)]
    annealed = round(settings.annealing * settings.updates)
    write_bytes(out / "training.png", to_png(training_curves(histories, annealed)))
