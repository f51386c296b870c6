"""Pictures as sequences of rows: dequantised, through a logit, with the Jacobian that makes bits per dimension."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .pictures import read_digits, read_pictures
from .sequences import TEST, TRAIN, VALIDATION, Held, Source, Steps, shifted, split_names

ALPHA = 0.05  # keeps the logit away from its poles (RealNVP, Dinh et al. 2017, section 4.1)
HELD_OUT = 0.1  # of the training pictures, where the files have a test set of their own


@dataclass(frozen=True)
class PictureScale:
    """v -> (logit(alpha + (1 - 2 alpha) (v + u) / levels) - mean) / std, u ~ U(0, 1)."""

    height: int
    width: int
    channels: int
    levels: int  # values a pixel can take
    alpha: float
    mean: float
    std: float

    def forward(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """Dequantised levels v + u in 0 ... levels -> targets, and the log-derivative of each: same shapes."""
        q = self.alpha + (1 - 2 * self.alpha) * value / self.levels
        slope = torch.log(q) + torch.log1p(-q)  # of the inverse: d logit / dq = 1 / (q (1 - q))
        constant = math.log((1 - 2 * self.alpha) / self.levels) - math.log(self.std)
        return (torch.logit(q) - self.mean) / self.std, constant - slope

    def native(self, target: Tensor) -> np.ndarray:
        """Targets [N,H,W*C] -> pictures u8[N,H,W,C], levels stretched over 0 to 255."""
        q = torch.sigmoid(target.detach().cpu().double() * self.std + self.mean)
        value = (q - self.alpha) / (1 - 2 * self.alpha) * self.levels
        level = value.floor().clamp(0, self.levels - 1) * 255 / (self.levels - 1)
        return level.round().to(torch.uint8).numpy().reshape(-1, self.height, self.width, self.channels)


def images(path: Path | str | None = None) -> Source:
    """Rows of pictures from the top down, p(row | rows above); figures in nats per pixel level, and bits per dimension.

    Noise u ~ U(0, 1) makes the levels continuous; -log2 p of it bounds the bits of the discrete picture from above
    (Theis et al. 2016, section 3.1).

    Args:
        path: MNIST's IDX or CIFAR-10's binary files; None: the 8 x 8 digits of scikit-learn.

    Raises:
        ValueError: a file is missing, foreign or damaged; the message names it.
        MissingExtra: the digits are wanted, but scikit-learn is not there.
    """
    parts = {"all": read_digits()} if path is None else read_pictures(Path(path))
    splits = _split(parts)
    levels = 17 if path is None else 256
    _, height, width, channels = splits[TRAIN].shape
    scale = _measure(splits[TRAIN], levels)
    return Source(
        name="images",
        inputs=width * channels,
        outputs=width * channels,
        unit="nats per dimension of the picture's levels",
        splits={name: Held(_rows(pictures)) for name, pictures in splits.items()},
        prepare=partial(_prepare, scale),
        scale=scale,
        batch=64,
        about={
            "pictures": {name: len(pictures) for name, pictures in splits.items()},
            "shape": [height, width, channels],
            "levels": levels,
            "path": Path(path).name if path else "digits, built in",
        },
        figures=lambda nll: {"bits_per_dim": nll / math.log(2)},
    )


def _split(parts: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Train, validation and test; a test set that comes with the files stays the test set."""
    if "all" in parts:
        places = split_names([str(i) for i in range(len(parts["all"]))])
        return {name: parts["all"][chosen] for name, chosen in places.items()}
    train = parts["train"]
    places = split_names([str(i) for i in range(len(train))], (HELD_OUT, HELD_OUT))
    rest = sorted(places[TRAIN] + places[TEST])
    return {TRAIN: train[rest], VALIDATION: train[places[VALIDATION]], TEST: parts["test"]}


def _measure(pictures: np.ndarray, levels: int) -> PictureScale:
    """Mean and deviation of the logits over (at most a thousand of) the training pictures, with noise of its own."""
    height, width, channels = pictures.shape[1:]
    plain = PictureScale(height, width, channels, levels, ALPHA, mean=0.0, std=1.0)
    some = torch.from_numpy(np.ascontiguousarray(pictures[:: max(1, len(pictures) // 1000)])).double()
    noise = torch.rand(some.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    logits, _ = plain.forward(some + noise)
    return replace(plain, mean=float(logits.mean()), std=float(logits.std()))


def _rows(pictures: np.ndarray) -> list[Tensor]:
    """u8[H,W*C] of each picture."""
    n, height, width, channels = pictures.shape
    return list(torch.from_numpy(np.ascontiguousarray(pictures)).reshape(n, height, width * channels).unbind())


def _prepare(scale: PictureScale, raw: Tensor, mask: Tensor, noise: torch.Generator) -> Steps:
    target, slope = scale.forward(raw + torch.rand(raw.shape, generator=noise))
    return Steps(shifted(target), target, mask, slope.sum(-1))
