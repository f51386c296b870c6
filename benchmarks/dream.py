"""Steps of the dream: memory, mixture, sampling and controllers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np
import torch

from frmdn.agent.dream import Dream
from frmdn.agent.memory import Memory, MemoryConfig
from frmdn.controller.fitness import RealFitness
from frmdn.controller.linear import LinearController
from frmdn.envs import get_spec
from frmdn.envs.dream import DreamSlots
from frmdn.rollouts.policy import ControllerPolicy
from frmdn.rollouts.run import Runner
from frmdn.rollouts.workers import SerialPool

from . import classical
from .row import Meter, Row

BATCH, STEPS = 512, 8


def dreaming(density: Literal["frmdn", "rmdn"]) -> Callable[[], float]:
    """512 controllers, each in a dream of its own, as one batch."""
    torch.manual_seed(0)
    dream = Dream(Memory(MemoryConfig(density=density)).eval())
    controller = LinearController(32 + 256, 3)
    theta, noise = 0.1 * torch.randn(BATCH, controller.size), torch.Generator().manual_seed(0)

    @torch.inference_mode()
    def work() -> float:
        state = dream.initial(torch.zeros(BATCH, 32))
        for _ in range(STEPS):
            raw = controller.act(theta, torch.cat([state.z, state.memory.h], 1))
            state, _, _ = dream.step(state, torch.tanh(raw), noise)
        return float(BATCH * STEPS)

    return work


def lstm_alone() -> Callable[[], float]:
    """The two matrix products of the recurrence alone."""
    x, h = torch.randn(BATCH, 35), torch.randn(BATCH, 256)
    wx, wh = torch.randn(35, 1024), torch.randn(256, 1024)

    @torch.inference_mode()
    def work() -> float:
        for _ in range(STEPS):
            torch.addmm(x @ wx, h, wh)
        return float(BATCH * STEPS)

    return work


def searching() -> Callable[[], float]:
    """What a search in dreams gets of it: starts, seeds, refilled slots and returns included, RMDN, in one process."""
    spec, slots = get_spec("CarRacing-v3"), BATCH // 2
    torch.manual_seed(0)
    dream = Dream(Memory(MemoryConfig(density="rmdn")).eval(), temperature=1.15, done_threshold=0.99)
    controller = LinearController(32 + 256, 3)
    world = DreamSlots(spec, dream, dream.initial(torch.randn(64, 32)), slots, max_steps=50)
    pool = SerialPool(lambda: Runner(world, ControllerPolicy(controller, spec.action.squash, slots)))
    theta = 0.1 * np.random.default_rng(0).standard_normal((BATCH // 8, controller.size))
    fitness = RealFitness(pool)
    return lambda: float(fitness(theta, range(8)).steps.sum())


def dream(workers: int, meter: Meter) -> Iterator[Row]:
    """Rows for the dream of RMDN, for that of FRMDN, and for the whole search in dreams."""
    torch.set_num_threads(workers)
    steps = classical.dream(classical.MDNRNN().eval(), 0.1 * torch.randn(3, 32 + 256 + 1))

    def one_by_one() -> float:
        for _ in range(100):
            next(steps)
        return 100.0

    works = {"dream": dreaming("rmdn"), "dream_frmdn": dreaming("frmdn"), "dream_search": searching()}
    rates = meter.measure({**works, "classical": one_by_one, "limit": lstm_alone()})
    of = f"against an RMDN at batch 1, {workers} threads, controllers included"
    limit = "limit: the matrix products of the LSTM alone"
    notes = {
        "dream": f"RMDN, batch {BATCH}, {of}; {limit}",
        "dream_frmdn": f"FRMDN, batch {BATCH}, {of}; {limit}",
        "dream_search": f"RMDN, {BATCH} episodes of 50 steps in {BATCH // 2} slots as a search plays them, {of}",
    }
    for name in works:
        yield Row(name, rates[name], rates["classical"], "steps/s", rates["limit"], notes[name])
