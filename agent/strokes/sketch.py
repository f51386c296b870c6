"""Sketches by a variational autoencoder: a whole drawing in one vector, and drawings out of vectors."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from ..batch import Loss
from ..density.mixture import draw
from .density import StrokeDensity
from .distribution import StrokeDistribution
from .generate import told

WEIGHT, FLOOR = 0.5, 0.2  # of the KL, in nats for each of its Z dimensions
FIRST, RATE = 0.01, 0.9995  # of the annealing: its share at first, and how the rest shrinks at every step


class SketchVAE(nn.Module):
    """SketchRNN (Ha and Eck 2017): a bidirectional encoder, z ~ N(mu, sigma^2), and a decoder with a mixture.

    The decoder is a `StrokeDensity` that is told z at every point, and begins in a state tanh(W z). The loss is

        reconstruction + weight * eta(step) * max(KL, floor),   eta(step) = 1 - (1 - 0.01) 0.9995^step,

    reconstruction in nats a point, KL in nats for each dimension of z (their equations 9 to 12, where reconstruction is
    divided by the longest drawing of all instead of each by its points).

    Args:
        name: a model of the catalogue, for the decoder.
        inputs: C of the context.
        latent: Z.
        timed: whether there are waits.
        components: K.
        hidden: H of the decoder's LSTM; the encoder's two have half of it each.

    >>> from frmdn.agent.strokes.sketch import SketchVAE
    >>> model = SketchVAE("rmdn-low-rank", inputs=5, latent=4, components=3, hidden=16)
    >>> context, target = torch.zeros(2, 6, 5), torch.zeros(2, 6, 3)
    >>> z = model.encode(target, torch.ones(2, 6, dtype=torch.bool))
    >>> strokes, state = model(context, z.mean)
    >>> strokes.log_prob(target).shape
    torch.Size([2, 6])
    """

    steps: Tensor

    def __init__(
        self, name: str, inputs: int, latent: int = 64, timed: bool = False, components: int = 10, hidden: int = 256
    ) -> None:
        super().__init__()
        self.latent = latent
        self.encoder = nn.LSTM(inputs, hidden // 2, batch_first=True, bidirectional=True)
        self.posterior = nn.Linear(2 * (hidden // 2), 2 * latent)
        self.decoder = StrokeDensity(name, inputs + latent, timed, components, hidden)
        self.begin = nn.Linear(latent, 2 * int(self.decoder.density.trunk.features))  # type: ignore[arg-type]
        self.register_buffer("steps", torch.tensor(0, dtype=torch.int64))  # of training, for the annealing

    def encode(self, target: Tensor, mask: Tensor) -> Normal:
        """q(z | drawing), over [B,Z]: from the drawing's rows f32[B,T,D] in both directions; padding plays no part."""
        lengths = mask.sum(1).cpu()
        packed = nn.utils.rnn.pack_padded_sequence(told(target), lengths, batch_first=True, enforce_sorted=False)
        _, (hidden, _) = self.encoder(packed)
        mean, log = self.posterior(torch.cat([hidden[0], hidden[1]], -1)).chunk(2, -1)
        return Normal(mean, torch.exp(0.5 * log.clamp(-14, 14)), validate_args=False)

    def state(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The decoder's first state, from z f32[B,Z]."""
        hidden, cell = torch.tanh(self.begin(z)).chunk(2, -1)
        return hidden.contiguous(), cell.contiguous()

    def forward(
        self, context: Tensor, z: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[StrokeDistribution, tuple[Tensor, Tensor]]:
        """Context f32[B,T,C], z f32[B,Z] -> the distribution after each point, over [B,T], and the decoder's state."""
        inputs = torch.cat([context, z.unsqueeze(1).expand(-1, context.shape[1], -1)], -1)
        strokes, after = self.decoder(inputs, state or self.state(z))
        return strokes, after

    def parts(
        self, context: Tensor, target: Tensor, mask: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """log p(point | points before, z) f32[B,T] with z drawn from the encoder (its mean without a generator), and

        the KL to N(0, 1) of each drawing, f32[B,Z]."""
        posterior = self.encode(target, mask)
        z = posterior.mean
        if generator is not None:
            z = z + posterior.stddev * draw(torch.randn, z.shape, z, generator)
        kl = 0.5 * (posterior.mean.square() + posterior.variance - 1) - posterior.stddev.log()
        return self(context, z)[0].log_prob(target, mask), kl

    def annealed(self) -> float:
        """eta of the present step."""
        return 1 - (1 - FIRST) * RATE ** int(self.steps)

    def loss(self, context: Tensor, target: Tensor, mask: Tensor, generator: torch.Generator | None = None) -> Loss:
        """The annealed loss; each call in training counts as a step, and the count is saved with the weights."""
        log_prob, kl = self.parts(context, target, mask, generator)
        reconstruction = -log_prob.sum() / mask.sum().clamp_min(1)
        mean_kl = kl.mean()
        eta = self.annealed()
        total = reconstruction + WEIGHT * eta * mean_kl.clamp_min(FLOOR)
        if self.training:
            self.steps += 1
        bound = (reconstruction + kl.sum() / mask.sum()).detach() / target.shape[-1]
        parts: dict[str, float | Tensor] = {
            "nll_per_dim": bound,
            "reconstruction": reconstruction.detach(),
            "kl": mean_kl.detach(),
            "eta": eta,
        }
        return Loss(total, parts)

    def bound(self, context: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        """A lower bound of log p(drawing), dealt out over its points f32[B,T]: one draw of z, from a fixed seed."""
        noise = torch.Generator().manual_seed(0)
        log_prob, kl = self.parts(context, target, mask, noise)
        share = kl.sum(1, keepdim=True) / mask.sum(1, keepdim=True)
        return log_prob - torch.where(mask, share, 0.0)


def between(first: Tensor, second: Tensor, shares: Tensor) -> Tensor:
    """Latents f32[N,Z] on the way from one f32[Z] to another, spherically (White 2016), at shares f32[N] of 0 to 1.

    >>> from frmdn.agent.strokes.sketch import between
    >>> between(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), torch.tensor([0.0, 0.5, 1.0]))[1]
    tensor([0.7071, 0.7071])
    """
    cosine = torch.dot(first, second) / (first.norm() * second.norm()).clamp_min(1e-12)
    angle = math.acos(max(-1.0, min(1.0, float(cosine))))
    if angle < 1e-4:
        return torch.lerp(first, second, shares.unsqueeze(-1))
    a, b = torch.sin((1 - shares) * angle), torch.sin(shares * angle)
    return (a.unsqueeze(-1) * first + b.unsqueeze(-1) * second) / math.sin(angle)
