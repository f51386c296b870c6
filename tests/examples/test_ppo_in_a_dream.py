"""A library that we did not write learns in a dream, through its own interface."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch
from gymnasium.vector import AutoresetMode

import frmdn
from frmdn.agent.dream import Dream, DreamState
from frmdn.agent.memory import Memory, MemoryConfig
from frmdn.envs import get_spec
from frmdn.envs.dream import DreamEnv, DreamSlots

REASON = "stable_baselines3 is not installed, and frmdn does not need it: pip install stable-baselines3"
EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "ppo_in_a_dream.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    pytest.importorskip("stable_baselines3", reason=REASON)
    spec = importlib.util.spec_from_file_location("ppo_in_a_dream", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Steering(Memory):
    """A world whose reward is a matter of steering: 1 - |steer - 0.7|, told by the action that its state ends with."""

    def predict(self, h: torch.Tensor):  # type: ignore[no-untyped-def]
        never = torch.full_like(h[..., 0], -9.0)
        return super().predict(h)._replace(reward=1 - (h[..., 0] - 0.7).abs(), done_logit=never)

    def step(self, z, a, state):  # type: ignore[no-untyped-def]
        after = super().step(z, a, state)
        return after._replace(h=torch.cat((a[:, :1], after.h[:, 1:]), 1))


def dream_env(envs: int = 16) -> DreamEnv:
    torch.manual_seed(0)
    memory = Steering(MemoryConfig(latent=4, hidden=8, components=2)).eval()
    starts = DreamState(torch.randn(6, 4), memory.initial(6))
    slots = DreamSlots(get_spec("CarRacing-v3"), Dream(memory), starts, envs, max_steps=20)
    return DreamEnv(slots, seed=1, autoreset=AutoresetMode.SAME_STEP)


@pytest.mark.slow
def test_ppo_learns_in_a_dream(example: ModuleType) -> None:
    """Standing still gives 0.3 a step, the best policy 1: 20,000 dreamt steps must take it most of the way."""
    env = frmdn.stable_baselines(dream_env())
    untrained = example.dreamt(example.PPO("MlpPolicy", env, seed=0, device="cpu"), env, 16)
    model = example.train(env, 20_000)
    trained = example.dreamt(model, env, 16)
    assert untrained < 10 < 13 < trained <= 20
