"""Images a second that train the Vision."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from frmdn.agent.training import FitConfig, fit
from frmdn.agent.vision import ConvVAE, VisionConfig

from . import classical
from .row import Meter, Row

BATCH, STEPS = 128, 4


def frames(count: int) -> Tensor:
    """Smooth random pictures u8[count,64,64,3]: what they show does not change the arithmetic."""
    coarse = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    fine = torch.nn.functional.interpolate(coarse, size=(64, 64), mode="bilinear")
    return (fine * 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def training(decoder: str) -> Callable[[], float]:
    """Our training loop, as the vision stage runs it."""
    data, model = frames(BATCH), ConvVAE(VisionConfig(decoder=decoder))
    config = FitConfig(steps=STEPS, learning_rate=1e-4, bf16=True)

    def work() -> float:
        fit(model, lambda step: data, config, seed=0)
        return float(STEPS * BATCH)

    return work


def classical_training() -> Callable[[], float]:
    """The published model in float32 and NCHW with plain Adam; the batch is already in its layout."""
    data, model = frames(BATCH).permute(0, 3, 1, 2).contiguous(), classical.VAE()
    optimizer = torch.optim.Adam(model.parameters(), 1e-4)

    def work() -> float:
        for _ in range(STEPS):
            optimizer.zero_grad()
            model.loss(data.float() / 255).backward()
            optimizer.step()
        return float(STEPS * BATCH)

    return work


def arithmetic(size: int = 1024) -> Callable[[], float]:
    """Images a second if the paper model's multiplications all ran at the speed of a large bf16 matrix product."""
    flops = 3 * 2 * multiplications()  # a backward pass costs two forward passes
    a, b = (torch.randn(size, size).bfloat16() for _ in range(2))

    def work() -> float:
        for _ in range(8):
            a @ b
        return 8 * 2 * size**3 / flops

    return work


def multiplications() -> float:
    """Multiply-accumulates of one forward pass of the paper model on one image."""
    count = [0.0]

    def convolution(module: torch.nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        weight = module.weight
        assert isinstance(weight, Tensor)
        if isinstance(module, torch.nn.Linear):
            count[0] += weight.numel()
        else:
            picture = inputs[0] if isinstance(module, torch.nn.ConvTranspose2d) else output
            count[0] += weight.numel() * picture.shape[-1] * picture.shape[-2]

    model = ConvVAE(VisionConfig(decoder="paper"))
    kinds = (torch.nn.Linear, torch.nn.Conv2d, torch.nn.ConvTranspose2d)
    for module in model.modules():
        if isinstance(module, kinds):
            module.register_forward_hook(convolution)
    with torch.no_grad():
        model.loss(frames(1))
    return count[0]


def vision(workers: int, meter: Meter) -> Iterator[Row]:
    """Ours as the quick preset trains it, with the fast decoder; the published model on both sides is in the note."""
    torch.set_num_threads(workers)
    rates = meter.measure(
        {
            "ours": training("fast"),
            "paper": training("paper"),
            "classical": classical_training(),
            "limit": arithmetic(),
        },
    )
    yield Row(
        "vision",
        rates["ours"],
        rates["classical"],
        "images/s",
        rates["limit"],
        f"trained, batch {BATCH}, {workers} threads, fast decoder against the published model in float32; with the "
        f"published decoder on both sides {rates['paper']:.0f} images/s ({rates['paper'] / rates['classical']:.1f}x); "
        "limit: the published model's multiplications, all at the speed of a 1024^3 bf16 product",
    )
