"""Stable-Baselines3's PPO, trained in the dream of a finished run and played in reality.

    pip install 'frmdn[sb3]'
    python docs/examples/ppo_in_a_dream.py runs/car --steps 20000

Stable-Baselines3 has vector environments of its own; `frmdn.stable_baselines` makes one of dreams. They must begin anew
in the step in which they end (`AutoresetMode.SAME_STEP`).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecEnv, VecMonitor

import frmdn
from frmdn.agent.agent import Agent, select_features
from frmdn.agent.seeds import episode_seeds
from frmdn.pipeline.session import Session, open_session


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


def dreamt(model: PPO, env: VecEnv, episodes: int) -> float:
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
    dreams = frmdn.open(options.run).dream_env(
        options.envs, max_steps=options.length, autoreset=AutoresetMode.SAME_STEP
    )
    env = frmdn.stable_baselines(dreams)
    before = PPO("MlpPolicy", env, n_steps=128, batch_size=512, seed=0, device="cpu")
    print(f"untrained: dreamt {dreamt(before, env, 32):.1f}, real {play(session, agent, before, seeds)}")
    model = train(env, options.steps)
    print(f"after {model.num_timesteps} dreamt steps: dreamt {dreamt(model, env, 32):.1f}", end=", ")
    print(f"real {play(session, agent, model, seeds)}")


if __name__ == "__main__":
    main()
