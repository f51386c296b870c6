"""Stable-Baselines3's PPO, trained in the dream of a finished run and played in reality.

    pip install stable-baselines3
    python docs/examples/ppo_in_a_dream.py runs/car --steps 20000

Stable-Baselines3 has vector environments of its own and no adaptor for those of Gymnasium; `SB3Dream` is one. It asks
for dreams that begin anew in the step in which they end (`AutoresetMode.SAME_STEP`), as Stable-Baselines3 expects them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecEnv, VecMonitor

from frmdn.agent.agent import Agent, select_features
from frmdn.agent.seeds import episode_seeds
from frmdn.envs.dream import DreamEnv
from frmdn.pipeline.dreams.worlds import dream_slots
from frmdn.pipeline.session import Session, open_session


class SB3Dream(VecEnv):
    """A `DreamEnv` with SAME_STEP resets, as Stable-Baselines3's `VecEnv`."""

    def __init__(self, env: DreamEnv) -> None:
        self.env = env
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)

    def reset(self) -> np.ndarray:
        seed, self._seeds = self._seeds[0], [None] * self.num_envs
        return self.env.reset(seed=seed)[0]

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = actions

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        shown, rewards, terminated, truncated, more = self.env.step(self._actions)
        over, infos = terminated | truncated, [{} for _ in range(self.num_envs)]
        for slot in np.flatnonzero(over):
            infos[slot] = {
                "terminal_observation": more["final_obs"][slot],
                "TimeLimit.truncated": bool(truncated[slot]),
            }
        return shown, rewards.astype(np.float32), over, infos

    def close(self) -> None:
        self.env.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [getattr(self.env, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        raise NotImplementedError("dreams share their attributes: set them on the DreamEnv")

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **options: Any) -> list[Any]:
        raise NotImplementedError("dreams share their methods: call them on the DreamEnv")

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> list[bool]:
        return [False] * len(list(self._get_indices(indices)))


def dream_env(session: Session, agent: Agent, envs: int, max_steps: int | None, temperature: float = 1.0) -> SB3Dream:
    """`envs` dreams of a run, side by side."""
    assert agent.memory is not None
    slots = dream_slots(session, agent, temperature, envs, max_steps)
    return SB3Dream(DreamEnv(slots, seed=session.config.seed, autoreset=AutoresetMode.SAME_STEP))


def train(env: VecEnv, steps: int, seed: int = 0) -> PPO:
    """PPO for so many dreamt steps, with batches that suit a wide vector environment."""
    model = PPO("MlpPolicy", VecMonitor(env), n_steps=128, batch_size=512, seed=seed, device="cpu", verbose=0)
    return model.learn(total_timesteps=steps)


@torch.inference_mode()
def play(session: Session, agent: Agent, model: PPO, seeds: Sequence[int], max_steps: int | None = None) -> list[float]:
    """Returns of real episodes: the run's vision and memory see and remember, PPO's policy decides."""
    spec, returns = session.official, []
    env = spec.make()
    for seed in seeds:
        state, (frame, _), total = agent.initial(1), env.reset(seed=seed), 0.0
        for _ in range(max_steps or spec.max_steps):
            z = agent.vision.encode_mean(torch.from_numpy(np.ascontiguousarray(frame))[None])
            action, _ = model.predict(
                select_features(agent.config.features, z, state.memory).numpy(), deterministic=True
            )
            vector = torch.from_numpy(spec.action.from_env(action[0]))[None]
            state = type(state)(z, agent.memory.step(z, vector, state.memory))
            frame, reward, terminated, truncated, _ = env.step(action[0])
            total += float(reward)
            if terminated or truncated:
                break
        returns.append(total)
    env.close()
    return returns


def dreamt(model: PPO, env: SB3Dream, episodes: int) -> float:
    """The mean return of `episodes` dreams or more, as Stable-Baselines3 evaluates."""
    from stable_baselines3.common.evaluation import evaluate_policy

    return float(evaluate_policy(model, VecMonitor(env), n_eval_episodes=episodes)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="a finished run folder")
    parser.add_argument("--steps", type=int, default=20_000, help="to train for, in dreams")
    parser.add_argument("--envs", type=int, default=32, help="dreams side by side")
    parser.add_argument("--length", type=int, default=200, help="steps of one dream")
    parser.add_argument("--episodes", type=int, default=2, help="to play in reality before and after; 0: none")
    options = parser.parse_args()
    session = open_session(options.run)
    agent = session.agent()
    seeds = episode_seeds(session.config.seed, "transfer", options.episodes)
    env = dream_env(session, agent, options.envs, options.length)
    before = PPO("MlpPolicy", env, n_steps=128, batch_size=512, seed=0, device="cpu")
    print(f"untrained: dreamt {dreamt(before, env, 32):.1f}, real {play(session, agent, before, seeds)}")
    model = train(env, options.steps)
    print(f"after {model.num_timesteps} dreamt steps: dreamt {dreamt(model, env, 32):.1f}", end=", ")
    print(f"real {play(session, agent, model, seeds)}")


if __name__ == "__main__":
    main()
