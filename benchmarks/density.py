"""Densities: low-rank precisions against diagonal ones, and the training of FRMDN against that of RMDN."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from frmdn.agent.density import Diagonal, GaussianMixture, LowRank, Precision

from .memory import lstm_alone, training
from .row import Meter, Row

ROWS, EVENT, COMPONENTS, RANK = 64 * 40, 200, 20, 8  # a batch of speech: 64 sequences of 40 frames of 200 samples


def density(workers: int, meter: Meter) -> Iterator[Row]:
    torch.set_num_threads(workers)
    yield low_rank(workers, meter)
    yield training_speed(workers, meter)


def low_rank(workers: int, meter: Meter) -> Row:
    """The log density of a mixture and all its gradients; the diagonal mixture is the yardstick."""
    works = {
        "low": evaluating("low_rank"),
        "diagonal": evaluating("diagonal"),
        "shared": evaluating("shared"),
        "limit": reading(),
    }
    rates = meter.measure(works)
    return Row(
        "low rank",
        rates["low"],
        rates["diagonal"],
        "vectors/s",
        rates["limit"],
        f"log density and gradients, rank {RANK}, batch {ROWS}, {COMPONENTS} components, {EVENT} dimensions, {workers} "
        f"threads; classical: diagonal, {rates['diagonal'] / rates['low']:.1f} times as fast "
        f"({rates['diagonal'] / rates['shared']:.1f} where rows share the directions, as in the models); "
        f"peak memory of a process that does this once: {peak() / 2**20:.0f} MiB; "
        "limit: reading the factor twice and writing its gradient",
    )


def training_speed(workers: int, meter: Meter) -> Row:
    """Tokens that train a memory: two coupling blocks and low rank 4 against neither."""
    works = {"frmdn": training("frmdn", "low_rank"), "rmdn": training("rmdn"), "limit": lstm_alone()}
    rates = meter.measure(works)
    return Row(
        "frmdn",
        rates["frmdn"],
        rates["rmdn"],
        "tokens/s",
        rates["limit"],
        f"trained, FRMDN with two coupling blocks and rank 4 against RMDN, LSTM 256, 32 dimensions, 5 components, "
        f"{workers} threads; limit: the LSTM alone, forward and backward: {rates['frmdn'] / rates['limit']:.0%} of "
        f"FRMDN's time and {rates['rmdn'] / rates['limit']:.0%} of RMDN's",
    )


def evaluating(kind: str) -> Callable[[], float]:
    """Log density of a batch under mixtures of one kind of precision, and the gradient of every parameter."""
    noise = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=noise)

    parameters = [normal(ROWS, COMPONENTS), normal(ROWS, COMPONENTS, EVENT), 0.1 * normal(ROWS, COMPONENTS, EVENT)]
    if kind == "low_rank":
        parameters.append(0.1 * normal(ROWS, COMPONENTS, RANK, EVENT))
    if kind == "shared":
        parameters += [0.1 * normal(COMPONENTS, RANK, EVENT), normal(ROWS, COMPONENTS, RANK)]
    leaves = [parameter.requires_grad_() for parameter in parameters]
    value = normal(ROWS, EVENT)

    def precision(log: Tensor, *factor: Tensor) -> Precision:
        return LowRank.from_log(log, *factor) if factor else Diagonal.from_log(log)

    def work() -> float:
        for leaf in leaves:
            leaf.grad = None
        logits, loc, *rest = leaves
        GaussianMixture(logits, loc, precision(*rest), validate_args=False).log_prob(value).sum().backward()
        return float(ROWS)

    return work


def reading() -> Callable[[], float]:
    """What no arithmetic can avoid: the factor comes from memory twice, and its gradient goes there once."""
    factor = torch.ones(ROWS, COMPONENTS, RANK, EVENT)
    gradient = torch.empty_like(factor)

    def work() -> float:
        factor.sum()
        torch.mul(factor, 2.0, out=gradient)
        return float(ROWS)

    return work


def peak() -> int:
    """Bytes that a fresh process holds at most while it evaluates low-rank mixtures once, torch itself included."""
    done = subprocess.run([sys.executable, "-m", __name__], capture_output=True, text=True, check=True)
    return int(done.stdout)


def _own_peak() -> int:
    """Bytes that this process held at most. On Linux getrusage would include the figure of the parent."""
    status = Path("/proc/self/status")
    if status.exists():
        return 1024 * int(re.findall(r"VmHWM:\s+(\d+) kB", status.read_text())[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    torch.set_num_threads(1)
    evaluating("low_rank")()
    print(_own_peak())
