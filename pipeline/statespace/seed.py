"""One seed of `frmdn statespace`: its data, its training from the last checkpoint on, and its figures."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from frmdn.agent.device import CPU
from frmdn.agent.seeds import derive, generator
from frmdn.agent.state_space import StateSpace, Trajectories
from frmdn.agent.training import FitConfig, TrainingState, fit
from frmdn.envs.worlds.pendulum import pendulum_spec, picture
from frmdn.rollouts.collect import CollectConfig, collect
from frmdn.rollouts.episodes.store import EpisodeStore
from frmdn.rollouts.trajectories import TrajectoryBatches, read_trajectories

from ..drawing.figures import to_png
from ..files import History, write_bytes
from ..progress import Progress
from ..weights import load_checkpoint, load_model, save_checkpoint, save_model

if TYPE_CHECKING:
    from .settings import StateSpaceSettings

DATA_SEED = 0  # root of the episodes' seeds: all variants and all seeds learn from the same trajectories
SLOTS = 64
SAMPLES = 4  # generated trajectories of each test trajectory
LOG_EVERY, CHECKPOINT_EVERY, VALIDATE_EVERY = 20, 100, 200  # updates


class Clock:
    """Seconds of work, on the wall and of the processor, on top of those of an earlier record."""

    def __init__(self, past: Mapping[str, Any]) -> None:
        self.wall = float(past.get("seconds", 0.0)) - time.monotonic()
        self.cpu = float(past.get("cpu_seconds", 0.0)) - time.process_time()

    def read(self) -> dict[str, float]:
        times = {"seconds": self.wall + time.monotonic(), "cpu_seconds": self.cpu + time.process_time()}
        return {name: round(value, 3) for name, value in times.items()}


@dataclass(frozen=True)
class Data:
    """What is learnt from, and the true states (cos, sin, velocity / 8) f32[N,T+1,3] of the same trajectories."""

    train: Trajectories
    validation: Trajectories
    test: Trajectories
    train_states: Tensor
    test_states: Tensor


def prepare(settings: StateSpaceSettings, out: Path, progress: Progress, device: torch.device = CPU) -> Data:
    """Collect what is missing of the trajectories, and read them. Pictures are drawn from the stored states.

    What models see is put on the device, the true states stay on the CPU.
    """
    sizes = (settings.train, settings.validation, settings.test)
    store, count = EpisodeStore(out / "episodes"), sum(sizes)
    with progress.task("collect", "episodes") as task:
        collect(
            pendulum_spec("state", settings.length),
            CollectConfig(count, policy="ou", slots=min(SLOTS, count)),
            store,
            seed=DATA_SEED,
            workers=0,
            progress=lambda done, total, outcome: task.update(done, total),
        )
    states = read_trajectories(store, range(count))
    pixels = settings.observation == "pixels"
    seen = read_trajectories(store, range(count), view=picture) if pixels else states
    cuts = np.cumsum((0, *sizes)).tolist()
    train, validation, test = (seen.rows(slice(a, b)).to(device) for a, b in itertools.pairwise(cuts))
    return Data(train, validation, test, states.observations[: cuts[1]], states.observations[cuts[2] :])


def new_model(settings: StateSpaceSettings, data: Data, seed: int) -> StateSpace:
    """Initial weights of their own seed; torch's global generator stays as it was."""
    config = settings.model(data.train.observations.shape[-1], data.train.controls.shape[-1])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "statespace", "initial"))
        return StateSpace(config)


def load_seed(settings: StateSpaceSettings, data: Data, seed: int, out: Path) -> StateSpace:
    """The trained model of a finished seed; raises ValueError where its files are missing or foreign."""
    return load_model(out / f"seed-{seed}", new_model(settings, data, seed))


def train_seed(
    settings: StateSpaceSettings, data: Data, seed: int, folder: Path, progress: Progress
) -> tuple[StateSpace, dict[str, float]]:
    """Train from the last checkpoint on, on one thread; the model, and the times of its work over all resumes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the tensors are small: a second thread costs more than it brings
    try:
        return _train(settings, data, seed, folder, progress)
    finally:
        torch.set_num_threads(threads)


def _train(
    settings: StateSpaceSettings, data: Data, seed: int, folder: Path, progress: Progress
) -> tuple[StateSpace, dict[str, float]]:
    model = new_model(settings, data, seed).to(data.train.observations.device)
    path = folder / "checkpoint.safetensors"
    state, history = load_checkpoint(path), History(folder / "history.jsonl", "step")
    past = history.cut(state.step if state else 0)
    clock = Clock(past[-1] if past else {})
    root = derive(seed, "statespace", "fit")
    annealing, tempered = round(settings.annealing * settings.updates), settings.annealed == "likelihood"
    batches = TrajectoryBatches(data.train, settings.batch, root, annealing, tempered=tempered)
    config = FitConfig(
        settings.updates,
        settings.learning_rate,
        clip=settings.clip,
        schedule="cosine",
        log_every=LOG_EVERY,
        checkpoint_every=CHECKPOINT_EVERY,
        validate_every=VALIDATE_EVERY,
    )
    with progress.task(f"seed {seed}", "updates") as task:

        def log(line: dict[str, float]) -> None:
            history.append({**line, **clock.read()})
            if "bound" in line:
                note = f"bound {line['bound']:.1f}, KL {line['kl']:.2f}"
                task.update(int(line["step"]), config.steps, note)

        def save(state: TrainingState) -> None:
            save_checkpoint(path, state)

        fit(
            model,
            batches,
            config,
            seed=root,
            state=state,
            on_log=log,
            checkpoint=save,
            validate=lambda: validate(model, data.validation, root),
        )
    save_model(folder, model)
    return model, clock.read()


@torch.no_grad()
def validate(model: StateSpace, data: Trajectories, seed: int) -> dict[str, float]:
    """Bound, reconstruction and KL at full weight on held-out trajectories, and the error generated at the means."""
    parts = model.loss(data, generator(seed, "validation")).parts
    known = model.config.lookahead + 1
    error = (model.emission(model.generate(data.observations[:, :known], data.controls)) - data.observations).abs()
    figures = {name: float(parts[name]) for name in ("bound", "reconstruction", "kl", "reward")}
    figures["generation_mae"] = float(error[:, known:].mean())
    return {f"validation_{name}": value for name, value in figures.items()}


@torch.no_grad()
def evaluate_seed(
    settings: StateSpaceSettings, data: Data, model: StateSpace, seed: int, folder: Path
) -> dict[str, Any]:
    """The figures of the test set; `statespace.MEANING` says what each one is. Draws the plots of the seed as well."""
    from .plots import Generated, generated_figure, latent_figure, pixel_filmstrip

    test, noise = data.test, generator(seed, "statespace", "test")
    x, u = test.observations, test.controls
    known = settings.lookahead + 1
    first = x[:, :known]  # all that generation may see; its error counts from the next observation on
    means = model.emission(model.generate(first, u))
    drawn = torch.stack([model.emission(model.generate(first, u, noise)) for _ in range(SAMPLES)])
    parts = model.loss(test, noise).parts
    parts = {name: float(part) for name, part in parts.items()}
    states, fitted = (_centre(model, part) for part in (test, data.train))
    seen, x, means, drawn = (each.cpu() for each in (model.emission(states), x, means, drawn))
    states, fitted = states.cpu(), fitted.cpu()
    if settings.observation == "pixels":
        write_bytes(folder / "filmstrip.png", to_png(pixel_filmstrip(x, seen, means, drawn[0])))
    else:
        write_bytes(folder / "generated.png", to_png(generated_figure(Generated(x, means, drawn))))
    write_bytes(folder / "latent.png", to_png(latent_figure(states, data.test_states)))
    return {
        "generation_mae": float((means - x)[:, known:].abs().mean()),
        "generation_mae_sampled": float((drawn - x)[..., known:, :].abs().mean()),
        "reconstruction_mae": float((seen - x).abs().mean()),
        **{name: parts[name] for name in ("kl", "bound", "reconstruction")},
        "r2": dict(
            zip(("cos", "sin", "velocity"), r_squared(fitted, data.train_states, states, data.test_states), strict=True)
        ),
    }


def _centre(model: StateSpace, data: Trajectories) -> Tensor:
    """States [N,T+1,Z] at the centre of the posterior."""
    x = data.observations
    return model.posterior(x, data.controls, x.new_zeros(*x.shape[:2], model.config.latent)).states


def r_squared(states: Tensor, truth: Tensor, test_states: Tensor, test_truth: Tensor) -> list[float]:
    """1 - residual / variance of each true number on test data, for least squares with intercept fitted elsewhere."""

    def design(z: Tensor) -> Tensor:
        flat = z.flatten(0, -2).double()
        return torch.cat((flat, torch.ones(len(flat), 1, dtype=flat.dtype)), 1)

    weights = torch.linalg.lstsq(design(states), truth.flatten(0, -2).double()).solution
    wanted = test_truth.flatten(0, -2).double()
    residual = (wanted - design(test_states) @ weights).square().sum(0)
    return (1 - residual / (wanted - wanted.mean(0)).square().sum(0)).tolist()
