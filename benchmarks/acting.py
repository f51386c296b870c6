"""Steps of the whole agent: environment, vision, memory and controller."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial

import numpy as np
import torch

from frmdn.agent.agent import Agent
from frmdn.agent.memory import Memory, MemoryConfig
from frmdn.agent.vision import ConvVAE, VisionConfig
from frmdn.controller.linear import LinearController
from frmdn.envs import EnvSpec, get_spec, make_slots
from frmdn.rollouts.job import Job
from frmdn.rollouts.policy import AgentPolicy
from frmdn.rollouts.run import Runner
from frmdn.rollouts.workers import open_pool

from . import classical
from .collect import environment_alone
from .row import Meter, Row

SLOTS, STEPS = 16, 150


def fresh_agent(spec: EnvSpec) -> Agent:
    """Untrained weights: the arithmetic, and so the speed, is that of a trained agent."""
    torch.manual_seed(0)
    vision, memory = ConvVAE(VisionConfig()), Memory(MemoryConfig())
    features = vision.config.latent + memory.config.hidden
    return Agent(vision, memory, LinearController(features, spec.action.size), spec.action.squash)


def make_runner(spec: EnvSpec, agent: Agent) -> Runner:
    return Runner(make_slots(spec, SLOTS), AgentPolicy(agent, SLOTS), max_steps=STEPS)


def acting(workers: int, meter: Meter) -> Iterator[Row]:
    """Alive steps only: a slot whose episode has ended does not count, and does not wait either."""
    spec = get_spec("CarRacing-v3")
    agent = fresh_agent(spec)
    rng, index = np.random.default_rng(0), itertools.count()
    with open_pool(partial(make_runner, spec, agent), workers) as pool:

        def ours() -> float:
            jobs = [
                Job(index=i, seed=i, theta=rng.normal(0, 0.01, agent.controller.size).astype(np.float32))
                for i in itertools.islice(index, 3 * SLOTS * workers)
            ]
            return float(sum(outcome.steps for outcome in pool.run(jobs)))

        env = spec.build(max_episode_steps=1000)
        parts = (classical.Encoder().eval(), classical.MDNRNN().eval(), 0.01 * torch.randn(3, 32 + 256 + 1))
        torch.set_num_threads(1)  # at batch 1 a second thread only costs
        try:
            rates = meter.measure(
                {
                    "ours": ours,
                    "classical": lambda: float(classical.drive(env, parts, next(index), STEPS)),
                    "limit": environment_alone(workers),
                },
            )
        finally:
            torch.set_num_threads(workers)
        env.close()
    yield Row(
        "agent",
        rates["ours"],
        rates["classical"],
        "steps/s",
        rates["limit"],
        f"alive steps, {workers} workers x {SLOTS} slots, every episode with parameters of its own; "
        "limit: the environment alone",
    )
