"""One run: train one model on one source with one seed, check it evenly, keep the best, measure it. Resumable."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from frmdn.agent.device import CPU, device_name
from frmdn.agent.seeds import derive
from frmdn.agent.training import TrainingState, fit
from frmdn.rollouts.sources import SegmentBatches, Source

from ..files import History, read_json, write_json
from ..settings import from_json, override, read_settings, settle, to_json
from ..strokes.model import StrokeConfig, StrokeModel
from ..weights import load, load_model, save, save_model
from .data import Data
from .measure import nll_per_dim
from .model import ModelConfig, NextStep, new_model
from .names import MODELS
from .schedule import Recipe, Watch

MAKER = "frmdn density fit"
VALIDATED = 20_000  # steps of a check at most: checks cost nothing of the budget, but somebody waits for them
Report = Callable[[int, str], None]  # checks done, the figure of the moment


@dataclass(frozen=True)
class Size:
    """How large the models are."""

    components: int = 5  # of each mixture
    hidden: int = 256  # units of the LSTM
    end: str = "rmdn-low-rank"  # of synthesis and sketch-vae: the density at their end
    latent: int = 64  # of sketch-vae: the numbers that stand for a drawing

    def __post_init__(self) -> None:
        for name in ("components", "hidden", "latent"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.end not in MODELS:
            raise ValueError(f"end must be one of {', '.join(MODELS)}, not {self.end!r:.80}")


@dataclass(frozen=True)
class Choice:
    """What a user may set about a run beside data, model and seed."""

    model: Size = field(default_factory=Size)
    recipe: Recipe = field(default_factory=Recipe)


def choose_settings(words: Sequence[str]) -> Choice:
    """The settings that words such as `recipe.clip=0.5` ask for; a number of steps takes the place of the budget."""

    def budget(plain: dict[str, Any]) -> Any:
        return plain["recipe"]["budget"] if plain["recipe"]["steps"] is None else None

    return override(Choice(), words, {"recipe.budget": ("recipe.steps", budget)})


@dataclass(frozen=True)
class Plan:
    """Everything that decides what a run learns."""

    data: Data
    model: ModelConfig | StrokeConfig
    recipe: Recipe
    seed: int

    def settings(self) -> dict[str, Any]:
        """As a run folder keeps it; the usual clock is not mentioned, as folders made before there was another one."""
        plain = to_json(self) | {"data": self.data.settings()}
        if self.recipe.clock == "wall":
            del plain["recipe"]["clock"]
        return plain


class Run:
    """A folder with one run: `run.json` says what, `checkpoint.safetensors` how far, `result.json` that it is done.

    Args:
        folder: made where it does not exist; ValueError if it holds a run of another plan or other data.
        source: the data of the plan.
        plan: what to train.
        device: where.
    """

    def __init__(self, folder: Path, source: Source, plan: Plan, device: torch.device = CPU) -> None:
        self.folder, self.source, self.plan, self.device = folder, source, plan, device
        self.history = History(folder / "history.jsonl", "check")
        about = {"scale": asdict(source.scale), "about": dict(source.about)}
        settle(
            folder / "run.json",
            plan.settings() | about,
            MAKER,
            hint=", or the same settings as then",
        )

    @property
    def result(self) -> dict[str, Any] | None:
        """The finished run's figures, or None; also where its weights are gone."""
        path = self.folder / "result.json"
        return read_json(path) if path.exists() and (self.folder / "model.safetensors").exists() else None

    def finish(self, report: Report) -> dict[str, Any]:
        """Train to the end from wherever the run stands, measure on the test split, and return the result."""
        done = self.result
        if done is not None:
            return done
        training = _Training(self)
        diverged = None
        try:
            while training.watch.share < 1:
                training.advance()
                training.check(report)
        except FloatingPointError as error:  # what was best before is what counts; the record says so
            diverged = str(error)
        return self._conclude(training, diverged)

    def _conclude(self, training: _Training, diverged: str | None) -> dict[str, Any]:
        model, watch, best = training.model, training.watch, training.best
        model.load_state_dict(best.tensors)
        save_model(self.folder, model)
        nll = nll_per_dim(model, self.source, "test")
        if not math.isfinite(nll):
            raise ValueError(f"{self.folder}: {self.plan.model.model} gives no finite density to the test split")
        result = {
            "nll_per_dim": nll,
            "validation_nll_per_dim": best.nll,
            "parameters": model.parameters_count,
            "seconds": round(watch.seconds, 3),
            "cpu_seconds": round(watch.spent[1], 3),
            "steps": watch.done,
            "best_step": best.step,
            "best_share": round(best.share, 4),  # of the budget; well below 1: it began to overfit
            "diverged": diverged,
            "device": device_name(self.device),
        }
        write_json(self.folder / "result.json", result)
        (self.folder / "checkpoint.safetensors").unlink(missing_ok=True)
        return result


@dataclass(frozen=True)
class _Best:
    """The state that did best on the validation split."""

    nll: float
    step: int
    share: float
    tensors: dict[str, Tensor]


class _Training:
    """The run under way: phases of training between checks, each ending in one atomic checkpoint."""

    best: _Best

    def __init__(self, run: Run) -> None:
        self.run, plan = run, run.plan
        seed = derive(plan.seed, plan.data.name, plan.model.model)
        self.model = new_model(plan.model, seed).to(run.device)
        # the same batches for every model
        self.batches = SegmentBatches(run.source, derive(plan.seed, plan.data.name, "batches"))
        self.seed, self.path = seed, run.folder / "checkpoint.safetensors"
        self.state: TrainingState | None = None
        self.checks = 0
        if self.path.exists():
            self._restore()
        else:
            self.watch = Watch(plan.recipe.budget, plan.recipe.steps, clock=plan.recipe.clock)
            run.history.cut(-1)
            self.check(lambda done, note: None)
        self.run.history.cut(self.checks - 1)

    def advance(self) -> None:
        """Train until the next check is due."""
        checks = self.run.plan.recipe.checks
        goal = min(1.0, (math.floor(self.watch.share * checks + 1e-9) + 1) / checks)
        losses: list[float] = []

        def batch(step: int) -> Any:
            self.watch.run()
            self.watch.done = step
            return self.batches(step).to(self.run.device)

        def stop() -> bool:
            self.watch.done += 1
            over = self.watch.share >= goal
            if over:
                self.watch.pause()
            return over

        config = self.run.plan.recipe.fit_config(self.watch)
        try:
            self.state = fit(
                self.model,
                batch,
                config,
                seed=self.seed,
                state=self.state,
                on_log=lambda line: losses.append(line["nll_per_dim"]),
                stop=stop,
            )
        finally:
            self.watch.pause()
        self.watch.done = self.state.step
        self.training_nll = sum(losses) / len(losses)

    training_nll: float | None = None

    def check(self, report: Report) -> None:
        """Validate, keep the best, write history and checkpoint."""
        nll = nll_per_dim(self.model, self.run.source, "validation", VALIDATED)
        if not hasattr(self, "best") or nll < self.best.nll or not math.isfinite(self.best.nll):
            tensors = {name: tensor.detach().cpu().clone() for name, tensor in self.model.state_dict().items()}
            self.best = _Best(nll, self.watch.done, self.watch.share, tensors)
        line = {"check": self.checks, "step": self.watch.done, "seconds": round(self.watch.seconds, 3)}
        line["share"] = round(self.watch.share, 5)
        if self.training_nll is not None:
            line["nll_per_dim"] = self.training_nll
        if math.isfinite(nll):
            line["validation_nll_per_dim"] = nll
        self.run.history.append(line)
        self.checks += 1
        if self.state is not None:
            self._save()
        report(round(self.watch.share * self.run.plan.recipe.checks), f"NLL {nll:.4g}")

    def _save(self) -> None:
        assert self.state is not None
        numbers = [*self.watch.spent, float(self.checks), self.best.nll, float(self.best.step), self.best.share]
        tensors = {f"best.{name}": tensor for name, tensor in self.best.tensors.items()}
        tensors |= {f"state.{name}": tensor for name, tensor in self.state.tensors.items()}
        step = torch.tensor(self.state.step, dtype=torch.int64)
        save(self.path, {"step": step, "numbers": torch.tensor(numbers, dtype=torch.float64), **tensors})

    def _restore(self) -> None:
        tensors = load(self.path)
        wall, cpu, checks, nll, best_step, share = tensors.pop("numbers").tolist()
        step = int(tensors.pop("step"))
        groups: dict[str, dict[str, Tensor]] = {"best": {}, "state": {}}
        for name, tensor in tensors.items():
            kind, _, rest = name.partition(".")
            groups[kind][rest] = tensor
        self.state, self.checks = TrainingState(step, groups["state"]), int(checks)
        self.best = _Best(nll, int(best_step), share, groups["best"])
        recipe = self.run.plan.recipe
        self.watch = Watch(recipe.budget, recipe.steps, (wall, cpu), step, recipe.clock)


def open_run(folder: Path) -> tuple[dict[str, Any], NextStep | StrokeModel]:
    """A finished run: its settings and its model; ValueError where there is none."""
    if not (folder / "run.json").exists():
        raise ValueError(f"{folder} is no run of frmdn density (it has no run.json): make one with frmdn density fit")
    if not (folder / "result.json").exists():
        raise ValueError(f"{folder} is not finished: run the same frmdn density command again, it goes on")
    settings = read_settings(folder / "run.json", MAKER)
    kind: type[ModelConfig] | type[StrokeConfig] = StrokeConfig if "characters" in settings["model"] else ModelConfig
    config: ModelConfig | StrokeConfig = from_json(kind, settings["model"], "model")
    return settings, load_model(folder, new_model(config, 0))
