"""The training loop: resuming bit for bit, schedules, clipping, logging, and refusing what is not finite."""

from __future__ import annotations

import math
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from frmdn.agent.batch import Loss, SequenceBatch
from frmdn.agent.seeds import generator
from frmdn.agent.training import FitConfig, TrainingState, fit
from frmdn.agent.vision import ConvVAE, VisionConfig


class Line(nn.Module):
    """y = w x + b with noise from the generator, a buffer that counts, and a part for the log."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(3, 1)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def loss(self, batch: Any, generator: torch.Generator | None = None) -> Loss:
        x = batch if isinstance(batch, Tensor) else batch.latents[:, 0]
        self.calls += 1
        noise = 0.1 * torch.randn(len(x), generator=generator)
        error = (self.layer(x)[:, 0] + noise - x.sum(1)).square().mean()
        return Loss(error, {"squared": error.detach(), "noise": noise.mean()})


def points(step: int) -> Tensor:
    return torch.randn(16, 3, generator=generator(7, step))


def frames(step: int) -> Tensor:
    return torch.randint(0, 256, (4, 64, 64, 3), dtype=torch.uint8, generator=generator(7, step))


def through_bytes(state: TrainingState) -> TrainingState:
    return TrainingState(state.step, safetensors.torch.load(safetensors.torch.save(state.tensors)))


def same(left: TrainingState, right: TrainingState) -> bool:
    assert left.step == right.step and left.tensors.keys() == right.tensors.keys()
    return all(torch.equal(tensor, right.tensors[name]) for name, tensor in left.tensors.items())


def vision() -> ConvVAE:
    torch.manual_seed(0)
    return ConvVAE(VisionConfig(decoder="fast", latent=4))


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
@pytest.mark.parametrize(
    ("make", "batch", "bf16"), [(Line, points, False), (vision, frames, False), (vision, frames, True)]
)
def test_a_cut_run_equals_an_uncut_one(make: Any, batch: Any, bf16: bool, schedule: str) -> None:
    config = FitConfig(steps=6, learning_rate=1e-2, clip=1.0, bf16=bf16, schedule=schedule, checkpoint_every=3)
    halves: list[TrainingState] = []
    whole = fit(make(), batch, config, seed=5, checkpoint=halves.append)
    assert [state.step for state in halves] == [3, 6] and same(halves[1], whole)
    torch.manual_seed(123)  # the global random state must not matter
    fresh = make()
    with torch.no_grad():
        for parameter in fresh.parameters():
            parameter.add_(1)  # nor the weights it starts from
    resumed = fit(fresh, batch, config, seed=5, state=through_bytes(halves[0]))
    assert same(resumed, whole)
    assert not same(TrainingState(6, halves[0].tensors), whole)
    for name, tensor in fresh.state_dict().items():
        assert torch.equal(tensor, whole.tensors[f"model.{name}"]), name


def test_checkpoints_are_copies() -> None:
    states: list[TrainingState] = []
    model = Line()
    fit(model, points, FitConfig(steps=4, learning_rate=0.1, checkpoint_every=2), seed=0, checkpoint=states.append)
    assert not torch.equal(states[0].tensors["model.layer.weight"], states[1].tensors["model.layer.weight"])
    assert all(tensor.is_contiguous() for tensor in states[0].tensors.values())


def test_it_is_adam() -> None:
    """Against torch's plain Adam, channels-last weights included."""
    ours, theirs = vision(), vision()
    fit(ours, frames, FitConfig(steps=3, learning_rate=1e-3), seed=2)
    optimizer = torch.optim.Adam(theirs.parameters(), 1e-3, foreach=False, fused=False)
    for step in range(3):
        optimizer.zero_grad()
        theirs.loss(frames(step), generator(2, "step", step)).total.backward()
        optimizer.step()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=2e-6)


def test_updates_advance_the_version_of_the_weights() -> None:
    """Copies made for inference are refreshed by it, and torch's fused kernel leaves it alone."""
    model = Line()
    before = model.layer.weight._version
    fit(model, points, FitConfig(steps=1, learning_rate=0.1), seed=0)
    assert model.layer.weight._version > before


def test_it_learns() -> None:
    model = Line()
    fit(model, points, FitConfig(steps=300, learning_rate=0.05, schedule="cosine"), seed=0)
    torch.testing.assert_close(model.layer.weight.detach(), torch.ones(1, 3), atol=0.05, rtol=0)


def test_a_finished_run_changes_nothing() -> None:
    config = FitConfig(steps=3, learning_rate=0.1)
    done = fit(Line(), points, config, seed=0)
    assert same(fit(Line(), points, config, seed=0, state=done), done)


def test_batches_are_asked_for_once_in_order() -> None:
    asked: list[int] = []
    config = FitConfig(steps=5, learning_rate=0.1, checkpoint_every=2)
    states: list[TrainingState] = []

    def batch(step: int) -> Tensor:
        asked.append(step)
        return points(step)

    fit(Line(), batch, config, seed=0, checkpoint=states.append)
    fit(Line(), batch, config, seed=0, state=states[1])
    assert asked == [0, 1, 2, 3, 4, 4]
    assert [state.step for state in states] == [2, 4, 5]


def test_schedule_is_a_function_of_the_step() -> None:
    flat, cosine = (FitConfig(steps=10, learning_rate=0.5, schedule=name) for name in ("constant", "cosine"))
    assert [flat.rate(step) for step in (0, 5, 10)] == [0.5] * 3
    assert [cosine.rate(step) for step in (0, 5, 10)] == pytest.approx([0.5, 0.25, 0.0])


def test_the_schedule_reaches_the_weights() -> None:
    """Under a constant gradient Adam moves a weight by exactly the learning rate of each step."""

    class Slope(Line):
        def loss(self, batch: Any, generator: torch.Generator | None = None) -> Loss:
            assert self.training
            return Loss(self.layer.weight.sum(), {})

    for schedule, distance in (("constant", 0.25 + 0.25), ("cosine", 0.25 + 0.125)):
        model = Slope().eval()
        before = model.layer.weight.detach().clone()
        fit(model, points, FitConfig(steps=2, learning_rate=0.25, schedule=schedule), seed=0)
        assert not model.training
        moved = (before - model.layer.weight).detach()
        torch.testing.assert_close(moved, torch.full((1, 3), distance), rtol=1e-4, atol=0)


def test_clipping_bounds_the_gradient() -> None:
    norms = {}
    for clip in (None, 0.01):
        model = Line()
        fit(model, lambda step: 100 * points(step), FitConfig(steps=1, learning_rate=0.1, clip=clip), seed=0)
        norms[clip] = float(nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None]))
    assert norms[None] > 1 and norms[0.01] == pytest.approx(0.01, rel=1e-3)


def test_log_lines() -> None:
    lines: list[dict[str, float]] = []
    config = FitConfig(steps=5, learning_rate=0.1, schedule="cosine", log_every=2)
    fit(Line(), points, config, seed=0, on_log=lines.append)
    assert [line["step"] for line in lines] == [2, 4, 5]
    names = ["step", "loss", "squared", "noise", "learning_rate", "seconds", "per_second"]
    assert [list(line) for line in lines] == [names] * 3
    assert all(isinstance(value, int | float) for line in lines for value in line.values())
    assert lines[0]["loss"] == lines[0]["squared"] and lines[0]["learning_rate"] == config.rate(1)
    assert lines[1]["seconds"] > lines[0]["seconds"] > 0
    items = lines[0]["per_second"] * lines[0]["seconds"]
    assert items == pytest.approx(2 * 16, rel=0.05)


def test_rates_count_sequences_of_a_batch() -> None:
    lines: list[dict[str, float]] = []
    mask = torch.ones(5, 2, dtype=torch.bool)
    batch = SequenceBatch(torch.randn(5, 3, 3), torch.zeros(5, 2, 1), torch.zeros(5, 2), torch.zeros(5, 2), mask)
    fit(Line(), lambda step: batch, FitConfig(steps=1, learning_rate=0.1), seed=0, on_log=lines.append)
    assert lines[0]["per_second"] * lines[0]["seconds"] == pytest.approx(5, rel=0.05)


def test_validation_runs_when_due_in_eval_mode_without_gradient() -> None:
    model, lines, seen = Line(), [], []

    def validate() -> dict[str, float]:
        seen.append((model.training, torch.is_grad_enabled()))
        return {"validation_loss": 1.5}

    config = FitConfig(steps=7, learning_rate=0.1, log_every=2, validate_every=3)
    fit(model, points, config, seed=0, on_log=lines.append, validate=validate)
    assert seen == [(False, False)] * 3
    assert [line["step"] for line in lines] == [2, 3, 4, 6, 7]
    assert [line["step"] for line in lines if line.get("validation_loss") == 1.5] == [3, 6, 7]


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_at_its_step(poison: float) -> None:
    model = Line()
    reference = Line()
    fit(reference, points, FitConfig(steps=2, learning_rate=0.1), seed=0)
    with pytest.raises(FloatingPointError, match=r"step 2.*learning_rate"):
        fit(
            model,
            lambda step: points(step) * (poison if step == 2 else 1),
            FitConfig(steps=4, learning_rate=0.1),
            seed=0,
        )
    assert torch.equal(model.layer.weight, reference.layer.weight), "the weights must stay those of the last good step"


def test_a_gradient_that_is_not_finite_stops_too() -> None:
    class Cliff(Line):
        def loss(self, batch: Any, generator: torch.Generator | None = None) -> Loss:
            return Loss(
                (self.layer.weight - self.layer.weight.detach()).abs().sqrt().sum(), {}
            )  # 0, with slope inf * 0

    with pytest.raises(FloatingPointError, match="step 0"):
        fit(Cliff(), points, FitConfig(steps=1, learning_rate=0.1), seed=0)


def test_frozen_weights_stay() -> None:
    model = Line()
    model.layer.bias.requires_grad_(False)
    before = model.layer.bias.clone()
    state = fit(model, points, FitConfig(steps=2, learning_rate=0.1), seed=0)
    assert torch.equal(model.layer.bias, before) and not any("optimizer.layer.bias" in name for name in state.tensors)
    model.layer.weight.requires_grad_(False)
    with pytest.raises(ValueError, match="nothing to train"):
        fit(model, points, FitConfig(steps=2, learning_rate=0.1), seed=0)


def test_a_state_of_another_model_is_refused() -> None:
    config = FitConfig(steps=2, learning_rate=0.1)
    state = fit(Line(), points, config, seed=0)
    with pytest.raises(ValueError, match=r"(?s)does not fit this model.*configuration"):
        fit(vision(), frames, config, seed=0, state=state)
    with pytest.raises(ValueError, match="does not fit"):
        fit(Line(), points, config, seed=0, state=TrainingState(1, {"junk": torch.zeros(1)}))


@pytest.mark.parametrize(
    "settings",
    [
        {"steps": 0},
        {"learning_rate": 0.0},
        {"learning_rate": math.nan},
        {"clip": 0.0},
        {"schedule": "linear"},
        {"log_every": 0},
    ],
)
def test_wrong_settings_are_refused(settings: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        FitConfig(**{"steps": 1, "learning_rate": 0.1, **settings})


def test_stop_ends_after_the_step_as_if_it_were_the_last() -> None:
    config = FitConfig(steps=100, learning_rate=0.01, log_every=4, checkpoint_every=4)
    model, lines, saved, asked = Line(), [], [], []

    def stop() -> bool:
        asked.append(None)
        return len(asked) == 6

    state = fit(model, points, config, seed=1, on_log=lines.append, checkpoint=saved.append, stop=stop)
    assert state.step == 6 and [line["step"] for line in lines] == [4, 6] and [s.step for s in saved] == [4, 6]
    rest = fit(Line(), points, FitConfig(steps=9, learning_rate=0.01), seed=1, state=through_bytes(state))
    assert same(rest, fit(Line(), points, FitConfig(steps=9, learning_rate=0.01), seed=1))


class RMSpropFit(FitConfig):
    def optimizer(self, parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.RMSprop(parameters, lr=self.learning_rate)


def test_a_subclass_brings_its_own_optimiser_and_resumes_bit_for_bit() -> None:
    whole = fit(Line(), points, RMSpropFit(steps=8, learning_rate=0.01), seed=1)
    half = fit(Line(), points, RMSpropFit(steps=4, learning_rate=0.01), seed=1)
    again = fit(Line(), points, RMSpropFit(steps=8, learning_rate=0.01), seed=1, state=through_bytes(half))
    assert same(whole, again) and "optimizer.layer.weight.square_avg" in whole.tensors


def test_after_a_validation_the_model_trains_on_in_training_mode_with_gradients() -> None:
    """And what a validation does to the global random numbers or to the gradients reaches no weight."""
    modes: list[tuple[bool, bool]] = []

    class Watched(Line):
        def loss(self, batch: Any, generator: torch.Generator | None = None) -> Loss:
            modes.append((self.training, torch.is_grad_enabled()))
            return super().loss(batch, generator)

    def validate() -> dict[str, float]:
        assert model.loss(points(99)).total.grad_fn is None
        return {"validation_loss": float(torch.rand(()))}

    config = FitConfig(steps=5, learning_rate=0.1, validate_every=2)
    model = Watched()
    fit(model, points, config, seed=0, validate=validate)
    train, held = (True, True), (False, False)
    assert modes == [train, train, held, train, train, held, train, held] and not model.training
    plain = Line()
    fit(plain, points, config, seed=0)
    assert torch.equal(plain.layer.weight, model.layer.weight)
