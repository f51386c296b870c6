"""Vision: the convolutional variational autoencoder of Ha and Schmidhuber (World Models, 2018, appendix A.1)."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributions import Normal
from torch.nn import functional as F

from .batch import Loss
from .density.mixture import draw
from .training import bf16_is_fast

WIDTHS = (32, 64, 128, 256)  # channels of the four convolutions, kernel 4, stride 2, no padding
KERNEL, STRIDE = 4, 2
COLOURS = 4  # steps of brightness a channel that `rarity_weights` tells apart
FAST_WIDTHS = (128, 64, 32, 16)  # channels of the fast decoder, from 1/16 of the frame's side up to 1/2


@dataclass(frozen=True)
class VisionConfig:
    """What the autoencoder looks like.

    `decoder="paper"` is the published one; `"fast"` costs a third of its arithmetic for about the same picture.

    >>> frmdn.VisionConfig(latent=64, decoder="fast").latent
    64
    """

    channels: int = 3
    latent: int = 32
    kl_floor: float = 0.5  # nats per latent dimension below which the KL is not pushed any further
    decoder: str = "paper"
    frame_size: int = 64
    rarity: float = 0.0  # how much more a pixel of a rare colour counts, 0 to 1; 0: as published, all alike

    def __post_init__(self) -> None:
        if not 0 <= self.rarity <= 1:
            raise ValueError(f"rarity must lie in 0 to 1, not {self.rarity}")
        if self.channels < 1 or self.latent < 1:
            raise ValueError(f"channels and latent must be at least 1, not {self.channels} and {self.latent}")
        if self.kl_floor < 0:
            raise ValueError(f"kl_floor must not be negative, not {self.kl_floor}")
        if self.decoder not in ("paper", "fast"):
            raise ValueError(f'decoder must be "paper" or "fast", not {self.decoder!r:.80}')
        if self.decoder == "paper" and self.frame_size != 64:
            raise ValueError(f'frame_size {self.frame_size}: the published decoder draws 64; use decoder="fast"')
        if self.frame_size < 48 or self.frame_size % 16:
            raise ValueError(f"frame_size must be a multiple of 16 from 48 up, not {self.frame_size}")

    @property
    def grid(self) -> int:
        """Side of the last feature map of the encoder: 2 for frames of 64."""
        side = self.frame_size
        for _ in WIDTHS:
            side = (side - KERNEL) // STRIDE + 1
        return side


class ConvVAE(nn.Module):
    """Frames to a Gaussian over latents and back.

    Pictures are channels-last, [B,H,W,C], at every door: u8 in 0..255, or f32 in 0..1. Training runs in the precision
    of the caller (autocast included); `encode_mean` and `moments` run in bfloat16 where the hardware has it.

    >>> vision = frmdn.ConvVAE()
    >>> z = vision.encode_mean(torch.zeros(2, 64, 64, 3, dtype=torch.uint8))
    >>> z.shape, vision.decode(z).shape
    (torch.Size([2, 32]), torch.Size([2, 64, 64, 3]))
    """

    def __init__(self, config: VisionConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or VisionConfig()
        pairs = itertools.pairwise((config.channels, *WIDTHS))
        self.convolutions = nn.ModuleList(nn.Conv2d(i, o, KERNEL, STRIDE) for i, o in pairs)
        self.moment_head = nn.Linear(WIDTHS[-1] * config.grid**2, 2 * config.latent)  # mean, log-variance
        self.decoder = _paper_decoder(config) if config.decoder == "paper" else _fast_decoder(config)
        self.apply(_initialise)
        # Pictures arrive channels-last; oneDNN and cuDNN are faster on weights of the same layout.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._packed: _PackedEncoder | None = None

    def encode(self, frames: Tensor) -> Normal:
        """q(z | frame) = N(mean, exp(logvar)), loc and scale f32[B,Z], differentiable.

        `frames` is u8[B,H,W,C] in 0..255 or f32[B,H,W,C] in 0..1; anything else raises ValueError.
        """
        return self._posterior(_unit(self._checked(frames)))

    @torch.no_grad()
    def moments(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z | frame), f32[B,Z] each, without gradient: what a latent store keeps."""
        mean, logvar = self._pack()(self._checked(frames)).chunk(2, 1)
        return mean, logvar

    def encode_mean(self, frames: Tensor) -> Tensor:
        """The latent an agent acts on: the mean of q(z | frame), f32[B,Z]. No gradient; the fastest path there is.

        Row i does not depend on the other rows, but in bfloat16 its last digits may depend on how many rows there are.
        """
        return self.moments(frames)[0]

    def decode(self, z: Tensor) -> Tensor:
        """Pictures f32[B,H,W,C] in 0..1 of the latents f32[B,Z]."""
        if z.ndim != 2 or z.shape[1] != self.config.latent:
            raise ValueError(f"z has shape {tuple(z.shape)}, but this ConvVAE decodes f32[B,{self.config.latent}]")
        return torch.sigmoid(self.decoder(z).float()).permute(0, 2, 3, 1)

    def loss(self, frames: Tensor, generator: torch.Generator | None = None) -> Loss:
        """Negative ELBO with a floor under the KL, per image, as published (squared error counts as nats).

        sum over pixels of (frame - decode(z))^2 + max(KL(q(z | frame) || N(0, 1)), kl_floor * Z), mean over the batch.
        With `rarity` each pixel's error has the weight that `rarity_weights` gives it.
        Parts: reconstruction (weighted), kl (before the floor).
        """
        pictures = _unit(self._checked(frames))
        posterior = self._posterior(pictures)
        mean, std = posterior.loc, posterior.scale
        noise = draw(torch.randn, mean.shape, mean, generator)
        decoded = self.decode(mean + std * noise)
        if self.config.rarity:
            weights = rarity_weights(pictures, self.config.rarity)
            reconstruction = (weights * (decoded - pictures).square()).sum() / len(frames)
        else:
            reconstruction = F.mse_loss(decoded, pictures, reduction="sum") / len(frames)
        kl = 0.5 * (mean.square() + std.square() - 1 - 2 * std.log()).sum(1)
        floored = kl.clamp_min(self.config.kl_floor * self.config.latent).mean()
        return Loss(reconstruction + floored, {"reconstruction": reconstruction.detach(), "kl": kl.detach().mean()})

    def _posterior(self, pictures: Tensor) -> Normal:
        if torch.is_grad_enabled():
            self._packed = None  # an update is coming, and fused optimisers do not advance a tensor's version
        x = pictures.permute(0, 3, 1, 2)
        for convolution in self.convolutions:
            x = F.relu(convolution(x))
        mean, logvar = self.moment_head(x.permute(0, 2, 3, 1).flatten(1)).float().chunk(2, 1)
        # Unvalidated, so that a NaN reaches the loss and the training loop can name its step and the remedy.
        return Normal(mean, torch.exp(0.5 * logvar), validate_args=False)

    def _pack(self) -> _PackedEncoder:
        """The inference copy of the encoder, made again whenever a weight has changed since."""
        layers = cast("list[nn.Conv2d | nn.Linear]", [*self.convolutions, self.moment_head])
        weights = [tensor for layer in layers for tensor in (layer.weight, cast("Tensor", layer.bias))]
        stamp = [(w.data_ptr(), 0 if w.is_inference() else w._version) for w in weights]
        if self._packed is None or self._packed.stamp != stamp:
            self._packed = _PackedEncoder(weights, stamp)
        return self._packed

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_packed": None}  # a worker makes its own copy, for its own hardware

    def _checked(self, frames: Tensor) -> Tensor:
        side, channels = self.config.frame_size, self.config.channels
        if frames.ndim != 4 or tuple(frames.shape[1:]) != (side, side, channels):
            raise ValueError(
                f"frames has shape {tuple(frames.shape)}, but this ConvVAE reads [B,{side},{side},{channels}], "
                "channels last: resize with envs.frames, or give VisionConfig another frame_size or channels"
            )
        if frames.dtype not in (torch.uint8, torch.float32):
            raise ValueError(f"frames has dtype {frames.dtype}; give uint8 in 0..255 or float32 in 0..1")
        return frames


class _PackedEncoder:
    """Encoder weights laid out for inference, bfloat16 where that is fast.

    Two measured choices: the first two convolutions run as convolutions; the last two, whose weights outweigh their
    pictures, run as one matrix product each, because oneDNN would reorder those weights at every call. And bytes go in
    as they are: 0..255 is exact in bfloat16, and the division by 255 sits in the first weight.
    """

    CONVOLVED = 2

    def __init__(self, weights: list[Tensor], stamp: list[tuple[int, int]]) -> None:
        """`weights` are weight, bias of each convolution, then of the moment head."""
        self.stamp = stamp
        self.dtype = torch.bfloat16 if bf16_is_fast(weights[0].device) else torch.float32
        *pairs, head = [(w.detach(), b.detach()) for w, b in zip(weights[::2], weights[1::2], strict=True)]
        layers: list[tuple[Tensor, Tensor]] = []
        for index, (weight, bias) in enumerate(pairs):
            weight = (weight / (255 if index == 0 else 1)).to(self.dtype)  # [O,I,4,4], a copy
            if index < self.CONVOLVED:
                weight = weight.contiguous(memory_format=torch.channels_last)
            else:
                weight = weight.permute(0, 2, 3, 1).flatten(1).t()  # [16I,O]
            layers.append((weight, bias.to(self.dtype, copy=True)))
        self.convolved, self.multiplied = layers[: self.CONVOLVED], layers[self.CONVOLVED :]
        self.head = head[0].clone().t(), head[1].clone()  # float32: the mean keeps its digits

    def __call__(self, frames: Tensor) -> Tensor:
        """Frames as `ConvVAE.encode` takes them -> mean and log-variance side by side, f32[B,2Z]."""
        x = (frames if frames.dtype == torch.uint8 else frames * 255).to(self.dtype).permute(0, 3, 1, 2)
        for weight, bias in self.convolved:
            x = F.conv2d(x, weight, bias, STRIDE).relu_()
        x = x.permute(0, 2, 3, 1).contiguous()  # [B,H,W,C]; copies nothing, a convolution on channels-last stays so
        for weight, bias in self.multiplied:
            patches, side = _patches(x)
            x = torch.addmm(bias, patches, weight).relu_().view(len(frames), side, side, -1)
        weight, bias = self.head
        return torch.addmm(bias, x.flatten(1).float(), weight)


def _patches(x: Tensor) -> tuple[Tensor, int]:
    """[B,S,S,C] -> the 4x4 patches at stride 2, [B*side*side, 16C], and side."""
    batch, size, _, channels = x.shape
    side = (size - KERNEL) // STRIDE + 1
    rows, columns = x.stride(1), x.stride(2)  # the four pixels of a patch's row lie next to each other: one run of 4C
    shape = (batch, side, side, KERNEL, KERNEL * channels)
    view = x.as_strided(shape, (x.stride(0), STRIDE * rows, STRIDE * columns, rows, 1))
    return view.reshape(batch * side * side, -1), side


class _FirstDeconvolution(nn.ConvTranspose2d):
    """A transposed convolution of a 1x1 picture, as the matrix product that it is: a fifth of the time."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        channels, kernel = self.out_channels, self.kernel_size[0]
        grid = x.flatten(1) @ self.weight.permute(0, 2, 3, 1).flatten(1)  # [B, kernel*kernel*channels]
        picture = grid.view(-1, kernel, kernel, channels)
        if self.bias is not None:
            picture = picture + self.bias.to(grid.dtype)
        return picture.permute(0, 3, 1, 2)


def _initialise(module: nn.Module) -> None:
    """Glorot's uniform weights, as TensorFlow gave the published model; torch's smaller ones learn more slowly here."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _unit(frames: Tensor) -> Tensor:
    """Frames as f32 in 0..1."""
    return frames.float().div_(255) if frames.dtype == torch.uint8 else frames


@torch.no_grad()
def rarity_weights(pictures: Tensor, amount: float) -> Tensor:
    """Weights f32[B,H,W,1] of the pixels of pictures f32[B,H,W,C] in 0..1, with mean 1 over the batch.

    (1 - amount) + amount c / sqrt(share), where `share` is how large a part of the batch's pixels has about this colour
    (four steps a channel) and c makes the mean 1. A small sprite in a colour of its own is worth little to a squared
    error, and so is lost first; this makes its pixels dear.
    """
    codes = torch.zeros(pictures.shape[:-1], dtype=torch.int64, device=pictures.device)
    for channel in pictures.unbind(-1):
        codes = codes * COLOURS + (channel * (COLOURS - 1e-3)).long()
    counts = torch.bincount(codes.flatten(), minlength=COLOURS ** pictures.shape[-1])
    weights = counts[codes].float().rsqrt()
    return (1 - amount + amount * weights / weights.mean()).unsqueeze(-1)


def _paper_decoder(config: VisionConfig) -> nn.Sequential:
    """1x1x1024 -> 5x5x128 -> 13x13x64 -> 30x30x32 -> 64x64xC; there is no relu behind the dense layer, as published."""
    return nn.Sequential(
        nn.Linear(config.latent, 1024),
        nn.Unflatten(1, (1024, 1, 1)),
        _FirstDeconvolution(1024, 128, 5, STRIDE),
        nn.ReLU(),
        nn.ConvTranspose2d(128, 64, 5, STRIDE),
        nn.ReLU(),
        nn.ConvTranspose2d(64, 32, 6, STRIDE),
        nn.ReLU(),
        nn.ConvTranspose2d(32, config.channels, 6, STRIDE),
    )


def _fast_decoder(config: VisionConfig) -> nn.Sequential:
    """4x4x128 -> 8x8x64 -> 16x16x32 -> 32x32x16 -> 64x64xC for frames of 64; the last step draws 2x2 pixels a place."""
    side, widths = config.frame_size // 16, FAST_WIDTHS
    layers: list[nn.Module] = [nn.Linear(config.latent, widths[0] * side**2), nn.Unflatten(1, (widths[0], side, side))]
    for i, o in itertools.pairwise(widths):
        layers += [nn.ReLU(), nn.ConvTranspose2d(i, o, KERNEL, STRIDE, padding=1)]
    draw = nn.Conv2d(widths[-1], 4 * config.channels, 3, padding=1)
    return nn.Sequential(*layers, nn.ReLU(), draw, nn.PixelShuffle(2))
