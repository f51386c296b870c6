"""Steps of the dream: memory, mixture, sampling and controllers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch

from agent.dream import Dream
from agent.memory import Memory, MemoryConfig
from controller.linear import LinearController

from . import classical
from .row import Row, measure

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


def dream(workers: int, seconds: float) -> Row:
    torch.set_num_threads(workers)
    steps = classical.dream(classical.MDNRNN().eval(), 0.1 * torch.randn(3, 32 + 256 + 1))

    def one_by_one() -> float:
        for _ in range(100):
            next(steps)
        return 100.0

    rates = measure(
        {
            "frmdn": dreaming("frmdn"),
            "rmdn": dreaming("rmdn"),
            "classical": one_by_one,
            "limit": lstm_alone(),
        },
        seconds,
    )
    return Row(
        "dream",
        rates["rmdn"],
        rates["classical"],
        rates["rmdn"] / rates["classical"],
        "steps/s",
        rates["limit"],
        f"RMDN on both sides, batch {BATCH} against 1, {workers} threads, controllers included; "
        f"FRMDN {rates['frmdn']:.0f} steps/s ({rates['frmdn'] / rates['classical']:.1f}x); "
        "limit: the matrix products of the LSTM alone",
    )
