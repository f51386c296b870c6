"""Tokens a second that train the Memory: on stored latents, or re-encoding the frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import torch

from frmdn.agent.batch import SequenceBatch
from frmdn.agent.memory import Memory, MemoryConfig
from frmdn.agent.training import FitConfig, fit

from . import classical
from .row import Meter, Row

BATCH, LENGTH, STEPS = 32, 128, 2


def batch(count: int = BATCH, length: int = LENGTH) -> SequenceBatch:
    noise = torch.Generator().manual_seed(0)
    z = torch.randn(count, length + 1, 32, generator=noise)
    a = torch.rand(count, length, 3, generator=noise)
    nothing = torch.zeros(count, length)
    return SequenceBatch(z, a, nothing, nothing, nothing == 0)


def training(
    density: Literal["frmdn", "rmdn"], precision: Literal["diagonal", "low_rank"] = "diagonal"
) -> Callable[[], float]:
    """Our training loop on latents as the memory stage has them."""
    data, model = batch(), Memory(MemoryConfig(density=density, precision=precision))
    config = FitConfig(steps=STEPS, learning_rate=1e-4, clip=1.0)

    def work() -> float:
        fit(model, lambda step: data, config, seed=0)
        return float(STEPS * BATCH * LENGTH)

    return work


def reencoding(together: bool) -> Callable[[], float]:
    """One sequence at a time from frames: every frame is encoded again each time that it is trained on.

    `together` encodes the sequence's frames as one batch; the classical way goes frame by frame, current and following.
    """
    encoder, model = classical.Encoder().eval(), classical.MDNRNN()
    optimizer = torch.optim.Adam(model.parameters(), 1e-4)
    pictures = torch.rand(33, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    actions = torch.rand(1, 32, 3, generator=torch.Generator().manual_seed(1))

    def encode(frames: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            parts = [encoder(frames)] if together else [encoder(frame[None]) for frame in frames]
            return torch.cat([mean + torch.exp(0.5 * logvar) * torch.randn_like(mean) for mean, logvar in parts])

    def work() -> float:
        if together:
            z = encode(pictures)
            current, following = z[None, :-1], z[None, 1:]
        else:
            current, following = encode(pictures[:-1])[None], encode(pictures[1:])[None]
        optimizer.zero_grad()
        model.loss(current, actions, following).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return 32.0

    return work


def lstm_alone() -> Callable[[], float]:
    """The recurrence alone, forward and backward: what any density on top of it cannot beat."""
    lstm = torch.nn.LSTM(35, 256, batch_first=True)
    x = torch.randn(BATCH, LENGTH, 35)

    def work() -> float:
        lstm.zero_grad()
        lstm(x)[0].sum().backward()
        return float(BATCH * LENGTH)

    return work


def memory(workers: int, meter: Meter) -> Iterator[Row]:
    torch.set_num_threads(workers)
    rates = meter.measure(
        {
            "frmdn": training("frmdn"),
            "rmdn": training("rmdn"),
            "classical": reencoding(together=False),
            "batched": reencoding(together=True),
            "limit": lstm_alone(),
        },
    )
    yield Row(
        "memory",
        rates["rmdn"],
        rates["classical"],
        "tokens/s",
        rates["limit"],
        f"trained, RMDN on both sides, {workers} threads, LSTM 256; ours on stored latents, batch {BATCH} x {LENGTH}; "
        "classical one sequence of 32 at a time, frames re-encoded one by one (as one batch: "
        f"{rates['batched']:.0f} tokens/s, ours {rates['rmdn'] / rates['batched']:.1f}x); "
        f"FRMDN {rates['frmdn']:.0f} tokens/s, {rates['frmdn'] / rates['rmdn']:.2f} of RMDN; "
        "limit: the LSTM alone, forward and backward",
    )
