"""A GPU computes what the processor does. Skipped where there is none; `tests/test_one_device.py` holds what it can.

`FRMDN_TEST_DEVICE=cuda:1` or `mps` names another one; with `cpu` the tests try themselves.
"""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from frmdn.agent.agent import Agent
from frmdn.agent.batch import SequenceBatch
from frmdn.agent.density.catalogue import MODELS
from frmdn.agent.device import fault
from frmdn.agent.dream import DreamState
from frmdn.agent.memory import Memory, MemoryConfig
from frmdn.agent.state_space import StateSpace, StateSpaceConfig, Trajectories
from frmdn.agent.training import FitConfig, TrainingState, fit
from frmdn.agent.vision import ConvVAE, VisionConfig
from frmdn.controller.dreaming import DreamConfig, dream_batch
from frmdn.controller.fitness import Trial
from frmdn.controller.linear import LinearController
from frmdn.envs import get_spec
from frmdn.pipeline.commands.main import main
from frmdn.pipeline.density.model import ModelConfig, NextStep
from frmdn.rollouts.sources import Steps

THERE, HERE = torch.device(os.environ.get("FRMDN_TEST_DEVICE", "cuda:0")), torch.device("cpu")
pytestmark = pytest.mark.skipif(fault(THERE) is not None, reason=f"no {THERE}: {fault(THERE)}")

CAR = get_spec("CarRacing-v3")
TOLERANCE = 5e-3  # relative: convolutions and products of a GPU may round to TF32
BF16 = 3e-2  # relative: vision encodes in bfloat16 where that is fast


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def pictures(count: int) -> Tensor:
    return (numbers(count, 64, 64, 3).sigmoid() * 255).to(torch.uint8)


def assert_near(there: Tensor, here: Tensor, tolerance: float = TOLERANCE) -> None:
    assert there.device.type == THERE.type
    there, here = there.detach().double().cpu(), here.detach().double()
    difference = float((there - here).norm() / here.norm().clamp_min(1e-9))
    assert difference <= tolerance, f"{difference:.2g} apart"  # NaN is not


def assert_trains_alike(model: torch.nn.Module, batch: Any) -> None:
    """The same loss and the same gradient, and an update that leaves the weights finite and where they were."""
    found = {}
    for device in (HERE, THERE):
        here = copy.deepcopy(model).to(device)
        loss = here.loss(batch.to(device))
        loss.total.backward()
        found[device.type] = loss.total, torch.cat([p.grad.flatten() for p in here.parameters() if p.grad is not None])
    for there, here in zip(found[THERE.type], found["cpu"], strict=True):
        assert_near(there, here, 2e-2)
    learner = copy.deepcopy(model).to(THERE)
    fit(learner, lambda step: batch, FitConfig(3, 1e-3, clip=1.0), seed=0)
    assert all(p.device.type == THERE.type and bool(p.isfinite().all()) for p in learner.parameters())


def sequences(latent: int = 4, action: int = 3) -> SequenceBatch:
    mask = torch.ones(6, 9, dtype=torch.bool)
    mask[0, 5:] = False  # one short episode, so that padding is looked at
    return SequenceBatch(numbers(6, 10, latent), numbers(6, 9, action), numbers(6, 9), torch.zeros(6, 9), mask)


@pytest.mark.parametrize("decoder", ["paper", "fast"])
def test_the_vision_encodes_and_draws_alike_and_trains(decoder: str) -> None:
    torch.manual_seed(0)
    here = ConvVAE(VisionConfig(decoder=decoder))
    there, frames, z = copy.deepcopy(here).to(THERE), pictures(9), numbers(9, 32)
    assert_near(there.encode_mean(frames.to(THERE)), here.encode_mean(frames), BF16)
    assert_near(there.decode(z.to(THERE)), here.decode(z))
    weights = [p.detach().clone() for p in there.parameters()]
    fit(there, lambda step: frames, FitConfig(4, 1e-3, bf16=True), seed=0)
    assert all(bool(p.isfinite().all()) and not p.equal(w) for p, w in zip(there.parameters(), weights, strict=True))


MEMORIES = [
    {"density": "rmdn"},
    {"density": "frmdn", "end_balance": 5.0},
    {"density": "frmdn", "precision": "low_rank", "reward_head": "two_hot"},
    {"density": "rmdn", "precision": "semi_tied"},
]


@pytest.mark.parametrize("kind", MEMORIES, ids=lambda kind: "-".join(map(str, kind.values())))
def test_the_memory_trains_alike(kind: dict[str, Any]) -> None:
    torch.manual_seed(0)
    assert_trains_alike(Memory(MemoryConfig(latent=4, hidden=16, **kind)), sequences())


@pytest.mark.parametrize("name", MODELS)
def test_every_density_trains_alike_and_draws(name: str) -> None:
    torch.manual_seed(0)
    model = NextStep(ModelConfig(name, inputs=3, outputs=2, components=3, hidden=16))
    batch = Steps(numbers(4, 7, 3), numbers(4, 7, 2), torch.ones(4, 7, dtype=torch.bool), torch.ones(4, 7))
    assert_trains_alike(model, batch)
    with torch.no_grad():
        density, _ = model.to(THERE).density(numbers(4, 7, 3).to(THERE))
        drawn = density.sample(generator=torch.Generator(THERE).manual_seed(1))
    assert drawn.device.type == THERE.type and bool(drawn.isfinite().all())


@pytest.mark.parametrize("variant", ["dvbf", "gaussian", "iaf-step", "iaf-trajectory"])
def test_every_state_space_model_trains(variant: str) -> None:
    torch.manual_seed(0)
    model = StateSpace(StateSpaceConfig(variant=variant, latent=4, control=1, steps=6)).to(THERE)  # type: ignore[arg-type]
    data = Trajectories(numbers(5, 7, 3), numbers(5, 6, 1), numbers(5, 6)).to(THERE)
    fit(model, lambda step: data, FitConfig(3, 1e-3, clip=1.0), seed=0)
    assert all(bool(p.isfinite().all()) for p in model.parameters())


def test_training_goes_on_from_a_checkpoint_of_either_device() -> None:
    """The moments of Adam come back where the weights are, and a run may change its device half-way."""
    torch.manual_seed(0)
    fresh, batch = Memory(MemoryConfig(latent=4, hidden=16)), sequences()

    def trained(device: torch.device, state: TrainingState | None = None) -> TrainingState:
        return fit(
            copy.deepcopy(fresh).to(device), lambda step: batch, FitConfig(6 if state else 3, 1e-3), seed=0, state=state
        )

    whole = fit(copy.deepcopy(fresh).to(THERE), lambda step: batch, FitConfig(6, 1e-3), seed=0)
    for first, second in ((THERE, THERE), (HERE, THERE), (THERE, HERE)):
        state = trained(second, trained(first))
        assert state.step == 6 and all(tensor.is_cpu for tensor in state.tensors.values())
        for name, tensor in whole.tensors.items():
            torch.testing.assert_close(state.tensors[name], tensor, rtol=2e-2, atol=2e-3)


@pytest.mark.parametrize("density", ["rmdn", "frmdn"])
@pytest.mark.parametrize("members", [1, 3])
def test_a_search_in_dreams_returns_alike(density: str, members: int) -> None:
    memories = []
    for seed in range(members):
        torch.manual_seed(seed)
        memories.append(Memory(MemoryConfig(latent=4, hidden=16, density=density)).eval())  # type: ignore[arg-type]
    starts = [DreamState(numbers(9, 4), m.initial(9)) for m in memories]
    config = DreamConfig(world="dream", temperature=1.15, stall_steps=None, done_threshold=None)
    controller = LinearController(20, 3)
    trial = Trial(0.3 * np.random.default_rng(0).standard_normal((5, controller.size)), [3, 14, 159], 40)
    parts = CAR, controller, "zh", memories, starts, config, 40
    here, there = (dream_batch(device, *parts) for device in (HERE, THERE))
    expected, found = here.measure([trial])[0], there.measure([trial])[0]
    assert there.recorded is (True if THERE.type == "cuda" else None), "a step is played again as a CUDA graph"
    near = np.isclose(found.total, expected.total, rtol=0.05, atol=0.05)  # a draw on the edge may fall the other way
    assert near.mean() > 0.8, f"{found.total} on {THERE}, {expected.total} here"
    again = there.measure([trial])[0]
    np.testing.assert_array_equal(again.total, found.total)


def test_an_agent_acts_alike() -> None:
    torch.manual_seed(0)
    vision, memory = ConvVAE(), Memory(MemoryConfig(hidden=16))
    here = Agent(vision, memory, LinearController(48, 3), CAR.action.squash)
    there, theta, frames = here.to(THERE), 0.1 * numbers(4, here.controller.size), pictures(4)
    states = here.initial(4), there.initial(4)
    for _ in range(3):
        expected, mine = here.act(frames, states[0], theta)
        found, other = there.act(frames.to(THERE), states[1], theta.to(THERE))
        states = mine, other
        assert_near(found, expected, BF16)
        assert other.memory is not None and other.memory.h.device.type == THERE.type


@pytest.mark.slow
@pytest.mark.parametrize("where", ["reality", "dream"])
def test_a_run_is_whole(where: str, tmp_path: Path) -> None:
    """All stages, with one worker that has the GPU to itself; then a dream, its report and an agent file."""
    out = tmp_path / "run"
    words = ["run", "--preset", "smoke", "--out", str(out), "--workers", "1", "--device", str(THERE)]
    assert main([*words, *(["--in", "dream"] if where == "dream" else [])]) == 0
    assert str(THERE) in json.loads((out / "evaluation.json").read_text())["device"]
    assert main(["dream", "--run", str(out), "--device", str(THERE), "--video", str(tmp_path / "dream.webm")]) == 0
    assert main(["export", "--run", str(out), "--out", str(tmp_path / "agent.safetensors")]) == 0
    assert main(["evaluate", str(tmp_path / "agent.safetensors"), "--episodes", "2", "--device", str(THERE)]) == 0
