"""Dreams as Stable-Baselines3 takes them: its own checks of a VecEnv, step by step against the DreamEnv behind it."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode

import frmdn
from frmdn.agent.dream import Dream, DreamState
from frmdn.agent.memory import Memory, MemoryConfig
from frmdn.envs import MissingExtra, get_spec
from frmdn.envs.adapters import stable_baselines as adaptor
from frmdn.envs.dream import DreamEnv, DreamSlots

REASON = "stable-baselines3 is not installed, and frmdn does not need it: pip install 'frmdn[sb3]'"


def dreams(autoreset: AutoresetMode = AutoresetMode.SAME_STEP) -> DreamEnv:
    torch.manual_seed(0)
    memory = Memory(MemoryConfig(latent=4, hidden=8, components=2)).eval()
    starts = DreamState(torch.randn(6, 4), memory.initial(6))
    slots = DreamSlots(get_spec("CarRacing-v3"), Dream(memory, done_threshold=0.99), starts, 3, max_steps=5)
    return DreamEnv(slots, seed=1, autoreset=autoreset)


@pytest.fixture
def env():
    pytest.importorskip("stable_baselines3", reason=REASON)
    return frmdn.stable_baselines(dreams())


def test_it_shows_what_the_dreams_show(env) -> None:
    behind = dreams()
    np.testing.assert_array_equal(env.reset(), behind.reset()[0])
    for t in range(12):
        actions = np.random.default_rng(t).uniform(-1, 1, (3, 3)).astype(np.float32)
        shown, rewards, over, infos = env.step(actions)
        wanted, paid, terminated, truncated, more = behind.step(actions)
        np.testing.assert_array_equal(shown, wanted)
        np.testing.assert_array_equal(rewards, paid.astype(np.float32))
        assert over.tolist() == (terminated | truncated).tolist() == [t % 5 == 4] * 3
        for slot, info in enumerate(infos):
            assert ("terminal_observation" in info) == bool(over[slot])
            if over[slot]:
                np.testing.assert_array_equal(info["terminal_observation"], more["final_obs"][slot])
                assert info["TimeLimit.truncated"] is True and not np.array_equal(more["final_obs"][slot], shown[slot])


def test_a_seed_counts_for_the_next_reset_alone(env) -> None:
    env.seed(7)
    first, other = env.reset(), env.reset()
    env.seed(7)
    np.testing.assert_array_equal(env.reset(), first)
    assert not np.array_equal(first, other) and len({row.tobytes() for row in first}) == 3


def test_its_wrappers_and_its_policies_take_it(env) -> None:
    from stable_baselines3 import PPO
    from stable_baselines3.common.evaluation import evaluate_policy
    from stable_baselines3.common.vec_env import VecMonitor

    model = PPO("MlpPolicy", VecMonitor(env), n_steps=8, batch_size=8, n_epochs=1, device="cpu", seed=0)
    model.learn(24)
    assert model.num_timesteps == 24 and model.ep_info_buffer
    mean, spread = evaluate_policy(model, VecMonitor(env), n_eval_episodes=3)
    assert np.isfinite([mean, spread]).all()


def test_dreams_that_begin_anew_one_step_later_are_refused() -> None:
    with pytest.raises(ValueError, match=r"autoreset=AutoresetMode.SAME_STEP, not NEXT_STEP"):
        frmdn.stable_baselines(dreams(AutoresetMode.NEXT_STEP))


def test_without_the_package_the_pip_line_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    adaptor._adaptor.cache_clear()
    for module in [name for name in sys.modules if name.split(".")[0] == "stable_baselines3"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    with pytest.raises(MissingExtra, match=r"pip install 'frmdn\[sb3\]'"):
        frmdn.stable_baselines(dreams())
