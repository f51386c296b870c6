"""The one training loop: any model with a `loss`, any stream of batches, resumable bit for bit."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from .batch import Loss, SequenceBatch
from .seeds import generator


class Trainable(Protocol):
    """What `fit` asks of a model, besides being an nn.Module."""

    def loss(self, batch: Any, generator: torch.Generator | None = None) -> Loss: ...


@dataclass(frozen=True)
class FitConfig:
    """How long and how fast to train with Adam."""

    steps: int  # parameter updates in total, resumed ones included
    learning_rate: float
    clip: float | None = None  # largest global norm of the gradient
    bf16: bool = False  # bfloat16 autocast on a CPU or GPU; the weights stay float32
    schedule: str = "constant"  # or "cosine": from learning_rate down to zero over all steps
    log_every: int = 50  # steps
    checkpoint_every: int = 500  # steps
    validate_every: int | None = None  # steps; None: checkpoint_every

    def __post_init__(self) -> None:
        for name in ("steps", "log_every", "checkpoint_every", "validate_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ValueError(f"learning_rate must be a positive number, not {self.learning_rate}")
        if self.clip is not None and not self.clip > 0:
            raise ValueError(f"clip must be positive, or None for no clipping, not {self.clip}")
        if self.schedule not in ("constant", "cosine"):
            raise ValueError(f'schedule must be "constant" or "cosine", not {self.schedule!r}')

    def rate(self, step: int) -> float:
        """Learning rate of one step: a pure function, so that resuming needs no scheduler state."""
        if self.schedule == "constant":
            return self.learning_rate
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * step / self.steps))

    def optimizer(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Adam; a subclass may make another, whose state must be tensors by parameter (`step` may be a scalar)."""
        return torch.optim.Adam(parameters, lr=self.learning_rate, fused=True)


@dataclass(frozen=True)
class TrainingState:
    """Everything a resumed run needs: steps done, and the tensors of model and optimiser by flat name.

    Names are `model.<name in state_dict>` and `optimizer.<parameter name>.<Adam's name>`; the tensors are copies,
    contiguous and on the CPU, ready for `safetensors.torch.save`.
    """

    step: int
    tensors: dict[str, Tensor]


def bf16_is_fast(device: torch.device) -> bool:
    """Whether bfloat16 arithmetic runs in hardware there (AVX-512 BF16 or AMX on a CPU, any recent GPU)."""
    if device.type == "cuda":
        with torch.cuda.device(device):  # what is asked is asked of the current one
            return torch.cuda.is_bf16_supported(including_emulation=False)
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return device.type == "cpu" and any(getattr(torch.cpu, probe, bool)() for probe in probes)


def fit(
    model: nn.Module,
    batch: Callable[[int], Any],
    config: FitConfig,
    *,
    seed: int,
    state: TrainingState | None = None,
    on_log: Callable[[dict[str, float]], None] | None = None,
    checkpoint: Callable[[TrainingState], None] | None = None,
    validate: Callable[[], dict[str, float]] | None = None,
    stop: Callable[[], bool] | None = None,
) -> TrainingState:
    """Train `model` in place from `state`, or from its present weights, up to step `config.steps`.

    Step s sees `batch(s)` and the noise `generator(seed, "step", s)`, so a run cut at any checkpoint and resumed equals
    an uncut one bit for bit (on a CPU, with the same number of threads). `on_log` gets step, loss, its parts,
    learning_rate, seconds and per_second (items of the batch's first axis), and where `validate` ran its figures.
    `stop` is asked after every step (one is always made); where it says yes, that step is the last, as if
    `config.steps` were reached.
    A loss or gradient that is not finite raises FloatingPointError before it can touch the weights; a `state` of
    another model raises ValueError.
    """
    loop = _Loop(model, config, seed)
    if state is not None and not 0 <= state.step <= config.steps:
        raise ValueError(f"state is of step {state.step}, but only {config.steps} are to be made: start without it")
    step = loop.restore(state) if state is not None else 0
    model.train()
    log = _Log(config, step)
    last = step >= config.steps
    while not last:
        item = batch(step)
        loss = loop.update(item, step)
        step += 1
        last = step == config.steps or (stop is not None and stop())
        line = log.line(step, loss, item, last)
        if validate is not None and (last or step % (config.validate_every or config.checkpoint_every) == 0):
            line = {**(line or {"step": step}), **_validated(model, validate)}
        if line is not None and on_log is not None:
            on_log(line)
        if checkpoint is not None and (last or step % config.checkpoint_every == 0):
            checkpoint(loop.state(step))
    model.eval()
    return loop.state(step)


def _validated(model: nn.Module, validate: Callable[[], dict[str, float]]) -> dict[str, float]:
    model.eval()
    with torch.no_grad():
        figures = validate()
    model.train()
    return figures


class _Loop:
    """Model, optimiser and the rule of one step."""

    def __init__(self, model: nn.Module, config: FitConfig, seed: int) -> None:
        self.model, self.config, self.seed = model, config, seed
        self.parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        if not self.parameters:
            raise ValueError("model has no parameter that requires a gradient: nothing to train")
        self.device = next(iter(self.parameters.values())).device
        self.bf16 = config.bf16 and bf16_is_fast(self.device)
        self.optimizer = config.optimizer(self.parameters.values())

    def update(self, item: Any, step: int) -> Loss:
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.rate(step)
        item = item.to(self.device) if hasattr(item, "to") else item  # tensors, and every batch of the library
        noise = generator(self.seed, "step", step, device=self.device)
        with torch.autocast(self.device.type, dtype=torch.bfloat16) if self.bf16 else nullcontext():
            loss: Loss = self.model.loss(item, noise)  # type: ignore[operator]
        self.optimizer.zero_grad(set_to_none=True)
        loss.total.backward()
        norm = nn.utils.get_total_norm([p.grad for p in self.parameters.values() if p.grad is not None])
        if not torch.isfinite(loss.total) & torch.isfinite(norm):  # one look: a GPU is waited for each time
            raise FloatingPointError(
                f"loss {loss.total.item():.4g} or its gradient (norm {norm.item():.4g}) is not finite at step {step}: "
                "resume from the last checkpoint with a lower learning_rate, set clip (for example 1.0), "
                "or look for NaN in the data"
            )
        if self.config.clip is not None:
            nn.utils.clip_grads_with_norm_(self.parameters.values(), self.config.clip, norm)
        self.optimizer.step()
        for parameter in self.parameters.values():
            torch.autograd.graph.increment_version(parameter)  # the fused kernel forgets to
        return loss

    def state(self, step: int) -> TrainingState:
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        for name, parameter in self.parameters.items():
            for key, value in self.optimizer.state[parameter].items():
                tensors[f"optimizer.{name}.{key}"] = value
        copies = {name: t.detach().clone(memory_format=torch.contiguous_format).cpu() for name, t in tensors.items()}
        return TrainingState(step, copies)

    def restore(self, state: TrainingState) -> int:
        """Put the tensors of `state` back, and say how many steps are done."""
        groups: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}}
        try:
            for name, tensor in state.tensors.items():
                kind, _, rest = name.partition(".")
                groups[kind][rest] = tensor
            self.model.load_state_dict(groups["model"])
            for name, tensor in groups["optimizer"].items():
                parameter, _, key = name.rpartition(".")
                self._restore_moment(self.parameters[parameter], key, tensor)
        except (KeyError, RuntimeError) as error:
            raise ValueError(
                f"state of step {state.step} does not fit this model ({error}): "
                "resume with the configuration that wrote it, or start afresh without it"
            ) from error
        return state.step

    def _restore_moment(self, parameter: Tensor, key: str, tensor: Tensor) -> None:
        if tensor.ndim:  # the fused kernel walks weights and moments in memory order, so their layouts must agree
            self.optimizer.state[parameter][key] = torch.empty_like(parameter).detach().copy_(tensor)
        else:
            self.optimizer.state[parameter][key] = tensor.to(self.device, copy=True)


class _Log:
    """Turns steps into lines for people, with the rate since the line before."""

    def __init__(self, config: FitConfig, step: int) -> None:
        self.config, self.begun = config, time.perf_counter()
        self.items, self.since = 0, self.begun

    def line(self, step: int, loss: Loss, item: Any, last: bool) -> dict[str, float] | None:
        self.items += _length(item)
        if not last and step % self.config.log_every:
            return None
        now = time.perf_counter()
        line = {"step": step, "loss": float(loss.total.detach()), **{k: float(v) for k, v in loss.parts.items()}}
        line |= {"learning_rate": self.config.rate(step - 1), "seconds": now - self.begun}
        line |= {"per_second": self.items / max(now - self.since, 1e-9)}
        self.items, self.since = 0, now
        return line


def _length(item: Any) -> int:
    if isinstance(item, Tensor):
        return len(item)
    if isinstance(item, SequenceBatch):
        return len(item.mask)
    return _length(item[0]) if isinstance(item, tuple | list) and item else 0
