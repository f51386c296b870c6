"""The models of strokes with what is needed to train, save and rebuild them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from frmdn.agent.batch import Loss
from frmdn.agent.strokes.density import StrokeDensity
from frmdn.agent.strokes.sketch import SketchVAE
from frmdn.agent.strokes.synthesis import Synthesis
from frmdn.rollouts.sources import Source, Steps
from frmdn.rollouts.sources.strokes.source import StrokeScale, Written

from .names import SKETCH, SYNTHESIS


@dataclass(frozen=True)
class StrokeConfig:
    """Which model of strokes, and how wide: enough to build it again."""

    model: str  # a name of the catalogue, synthesis, or sketch-vae
    inputs: int  # C of the context
    outputs: int  # D of the target
    components: int  # K
    hidden: int  # H of the LSTM
    end: str  # of synthesis and sketch-vae: the density at their end, a name of the catalogue
    latent: int  # Z of sketch-vae
    characters: int  # of the alphabet; 0 without texts

    @property
    def timed(self) -> bool:
        return self.outputs == 4


class StrokeModel(nn.Module):
    """A model of drawings, with a loss for `fit` and a measure: nats for each of the points of a batch."""

    def __init__(self, config: StrokeConfig) -> None:
        super().__init__()
        self.config = config
        self.density: Any = self._density(config)

    @staticmethod
    def _density(config: StrokeConfig) -> nn.Module:
        return StrokeDensity(config.model, config.inputs, config.timed, config.components, config.hidden)

    @property
    def parameters_count(self) -> int:
        return sum(p.numel() for p in self.density.parameters() if p.requires_grad)

    def loss(self, batch: Steps, generator: torch.Generator | None = None) -> Loss:
        """Mean negative log density of a point; padding counts for nothing."""
        count = batch.mask.sum().clamp_min(1)
        total = -self.log_prob(batch).sum() / count
        jacobian = torch.where(batch.mask, batch.log_jacobian, 0.0).sum() / count
        return Loss(total, {"nll_per_dim": (total - jacobian).detach() / self.config.outputs})

    def log_prob(self, batch: Steps) -> Tensor:
        """log p(target | past) f32[B,T] of the normalised targets, 0 in the padding."""
        found: Tensor = self.density(batch.context)[0].log_prob(batch.target, batch.mask)
        return found


class Writer(StrokeModel):
    """`Synthesis` as such a model: it is told the text of each drawing."""

    @staticmethod
    def _density(config: StrokeConfig) -> nn.Module:
        return Synthesis(config.end, config.inputs, config.characters, config.components, config.hidden)

    def log_prob(self, batch: Steps) -> Tensor:
        assert isinstance(batch, Written)
        found: Tensor = self.density(batch.context, batch.text)[0].log_prob(batch.target, batch.mask)
        return found


class Sketcher(StrokeModel):
    """`SketchVAE` as such a model: the measure is its bound, reconstruction plus KL."""

    @staticmethod
    def _density(config: StrokeConfig) -> nn.Module:
        return SketchVAE(config.end, config.inputs, config.latent, config.timed, config.components, config.hidden)

    def loss(self, batch: Steps, generator: torch.Generator | None = None) -> Loss:
        found: Loss = self.density.loss(batch.context, batch.target, batch.mask, generator)
        jacobian = torch.where(batch.mask, batch.log_jacobian, 0.0).sum() / batch.mask.sum().clamp_min(1)
        nll = found.parts["nll_per_dim"] - jacobian / self.config.outputs  # in the units of the data, as elsewhere
        return Loss(found.total, found.parts | {"nll_per_dim": nll})

    def log_prob(self, batch: Steps) -> Tensor:
        """A lower bound of log p(drawing), whose KL is dealt out evenly over the drawing's points."""
        found: Tensor = self.density.bound(batch.context, batch.target, batch.mask)
        return found


def stroke_config(model: str, source: Source, components: int, hidden: int, end: str, latent: int) -> StrokeConfig:
    """The configuration of a named model for a source; ValueError where the two do not belong together."""
    scale: StrokeScale = source.scale
    if model == SYNTHESIS and (not scale.characters or scale.timed):
        raise ValueError(f"synthesis writes texts, and {source.name} has none: take --data handwriting")
    if model == SKETCH and scale.timed:
        raise ValueError(f"sketch-vae draws without times, and {source.name} has them: take a model of the catalogue")
    return StrokeConfig(model, source.inputs, source.outputs, components, hidden, end, latent, len(scale.characters))


def stroke_model(config: StrokeConfig) -> StrokeModel:
    """The model of a configuration, initialised by torch's global generator."""
    return {SYNTHESIS: Writer, SKETCH: Sketcher}.get(config.model, StrokeModel)(config)
