"""Acting in Super Mario Bros: agents on all cores against one environment at batch 1, and the emulator alone."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from frmdn.agent.agent import Agent
from frmdn.agent.memory import Memory, MemoryConfig
from frmdn.agent.vision import ConvVAE, VisionConfig
from frmdn.controller.linear import LinearController
from frmdn.envs import EnvSpec, get_spec, make_slots
from frmdn.envs.worlds import emulator
from frmdn.envs.worlds.super_mario_console import Console
from frmdn.rollouts.job import Job
from frmdn.rollouts.policy import AgentPolicy
from frmdn.rollouts.run import Runner
from frmdn.rollouts.workers import open_pool

from . import classical
from .row import Meter, Row

ID, SLOTS, STEPS, LATENT = "SuperMarioBros-1-1-v0", 16, 100, 64
RIGHT = 128  # the button, so that the emulator has a moving picture to draw


def fresh_agent(spec: EnvSpec) -> Agent:
    """Untrained weights of the sizes that the quick preset has: the speed is that of a trained agent."""
    torch.manual_seed(0)
    vision = ConvVAE(VisionConfig(latent=LATENT))
    memory = Memory(MemoryConfig(latent=LATENT, action=spec.action.size))
    controller = LinearController(LATENT + memory.config.hidden, spec.action.size)
    return Agent(vision, memory, controller, spec.action.squash)


def make_runner(spec: EnvSpec, agent: Agent) -> Runner:
    return Runner(make_slots(spec, SLOTS), AgentPolicy(agent, SLOTS), max_steps=STEPS)


def emulator_alone(repeat: int, workers: int) -> Callable[[], float]:
    """One core's frames with no picture taken, in decisions of `repeat` frames, times the workers."""
    console = Console((1, 1))
    console.reset()

    def work() -> float:
        for _ in range(25 * repeat):
            _, _, over = console.press(RIGHT)
            if over:
                console.reset()
        return 25.0 * workers

    return work


def one_at_a_time(spec: EnvSpec) -> Callable[[], float]:
    """The classical way: one environment, on its package's own build; a batch of one, plain float32 modules."""
    env = replace(spec, build=partial(spec.build, plain=True)).make()
    encoder, memory = classical.Encoder().eval(), classical.MDNRNN().eval()
    theta = 0.01 * torch.randn(spec.action.size, 32 + 256 + 1)
    seeds = itertools.count()

    @torch.inference_mode()
    def work() -> float:
        frame, _ = env.reset(seed=next(seeds))
        state = (torch.zeros(1, 1, 256), torch.zeros(1, 1, 256))
        for step in range(STEPS):
            z, _ = encoder(torch.from_numpy(frame).float().div(255).permute(2, 0, 1)[None])
            features = torch.cat([z, state[0][0], torch.ones(1, 1)], 1)
            raw = features @ theta.T
            frame, _, terminated, truncated, _ = env.step(int(raw.argmax()))
            _, state = memory.lstm(torch.cat([z, torch.tanh(raw[:, :3])], 1)[None], state)
            if terminated or truncated:
                return step + 1.0
        return float(STEPS)

    return work


def mario(workers: int, meter: Meter) -> Iterator[Row]:
    """Decisions a second (of four frames each); MissingExtra where the package is not installed."""
    spec = get_spec(ID)
    repeat = spec.repeat
    ours_on = "the second build" if emulator.built() else "the package's build (see frmdn emulator)"
    alone, single = emulator_alone(repeat, workers), one_at_a_time(spec)
    agent, rng, index = fresh_agent(spec), np.random.default_rng(0), itertools.count()
    with open_pool(partial(make_runner, spec, agent), workers) as pool:

        def ours() -> float:
            jobs = [
                Job(index=i, seed=i, theta=rng.normal(0, 0.1, agent.controller.size).astype(np.float32))
                for i in itertools.islice(index, 3 * SLOTS * max(1, workers))
            ]
            return float(sum(outcome.steps for outcome in pool.run(jobs)))

        torch.set_num_threads(1)  # at batch 1 a second thread only costs
        try:
            rates = meter.measure({"ours": ours, "classical": single, "limit": alone})
        finally:
            torch.set_num_threads(max(1, workers))
    yield Row(
        "mario",
        rates["ours"],
        rates["classical"],
        "steps/s",
        rates["limit"],
        f"decisions of {repeat} frames, {workers} workers x {SLOTS} slots; {dict(spec.about)['package']}, {ours_on}; "
        "limit: the emulator alone on one core, times the workers; classical: on the package's own build",
    )
