"""What the stages that train have in common: fit from the last checkpoint on, and log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from frmdn.agent.seeds import derive, generator
from frmdn.agent.training import FitConfig, fit

from ..files import History
from ..metrics.series import Series
from ..session import Result, Session, Work
from ..weights import REMEDY, load_checkpoint, save_checkpoint, save_model

VALIDATION_BATCHES = 4  # batches of held-out episodes that make one validation figure


def train(
    session: Session, work: Work, model: Any, batches: Callable[[int], Any], held: Sequence[Any], config: FitConfig
) -> Result:
    """Fit from the last checkpoint on; its lines are cut to it, so that no step stands there twice."""
    model, device = model.to(session.machine.device), session.machine.device
    path, seed = work.folder / "checkpoint.safetensors", derive(session.seed, work.folder.name, "fit")
    state, series = load_checkpoint(path), work.metrics.series("step", History(work.folder / "history.jsonl", "step"))
    if state is not None and not 0 <= state.step <= config.steps:
        raise ValueError(f"{path} says step {state.step}, but there are {config.steps}: {REMEDY}")
    log = _Log(work, series, config.steps, series.cut(state.step if state else 0))
    work.report(state.step if state else 0, config.steps, "")

    def batch(step: int) -> Any:
        log.at(step)
        return batches(step).to(device)

    final = fit(
        model,
        batch,
        config,
        seed=seed,
        state=state,
        on_log=log,
        checkpoint=lambda state: save_checkpoint(path, state),
        validate=lambda: _validate(model, held, device, seed),
    )
    save_model(work.folder, model)
    work.report(final.step, config.steps, log.note)
    return Result(final.step, f"{final.step} steps, {log.summary()}")


def _validate(model: Any, held: Sequence[Any], device: torch.device, seed: int) -> dict[str, float]:
    """Mean loss and parts over held-out batches, with the same noise whatever the step."""
    sums: dict[str, float] = {}
    for i, batch in enumerate(held):
        loss = model.loss(batch.to(device), generator(seed, "validation", i, device=device))
        for name, value in {"loss": loss.total, **loss.parts}.items():
            sums[name] = sums.get(name, 0.0) + float(value) / len(held)
    return {f"validation_{name}": value for name, value in sums.items()}


class _Log:
    """Says lines with the working time over all resumes, and keeps the figure that people watch."""

    def __init__(self, work: Work, series: Series, steps: int, past: list[dict[str, Any]]) -> None:
        self.work, self.series, self.steps = work, series, steps
        self.figures: dict[str, float] = {}
        for line in past:
            self.figures |= line

    def __call__(self, line: dict[str, float]) -> None:
        self.figures |= line
        self.series.append({**line, "seconds": round(self.work.clock.seconds, 3)})

    def at(self, step: int) -> None:
        self.work.report(step, self.steps, self.note)

    @property
    def note(self) -> str:
        return f"loss {self.figures['loss']:.4g}" if "loss" in self.figures else ""

    def summary(self) -> str:
        parts = [
            f"{name.replace('_', ' ')} {self.figures[name]:.4g}"
            for name in ("loss", "validation_loss")
            if name in self.figures
        ]
        return ", ".join(parts)
