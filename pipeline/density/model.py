"""A density model with what is needed to train, save and rebuild it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from frmdn.agent.batch import Loss
from frmdn.agent.density.catalogue import build
from frmdn.agent.seeds import derive
from frmdn.rollouts.sources import Source, Steps
from frmdn.rollouts.sources.strokes.source import StrokeScale

from ..strokes.model import StrokeConfig, StrokeModel, stroke_config, stroke_model
from .names import SLIDES, WRITERS
from .slides import SquaredError, slides_mdn


@dataclass(frozen=True)
class ModelConfig:
    """Which model, and how wide: enough to build it again."""

    model: str  # a name of the catalogue or of the slides
    inputs: int  # C
    outputs: int  # D
    components: int = 5  # K
    hidden: int = 256  # H of the LSTM


class NextStep(nn.Module):
    """p(target t | contexts 0 to t), with a loss for `fit`."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.density = _density(config)

    @property
    def parameters_count(self) -> int:
        return sum(p.numel() for p in self.density.parameters() if p.requires_grad)

    def loss(self, batch: Steps, generator: torch.Generator | None = None) -> Loss:
        """Mean negative log density per dimension of the targets that are there; padding counts for nothing."""
        log_prob = self.log_prob(batch)
        count = batch.mask.sum().clamp_min(1) * self.config.outputs  # a segment may be one gap
        total = -log_prob.sum() / count
        jacobian = torch.where(batch.mask, batch.log_jacobian, 0.0).sum() / count
        return Loss(total, {"nll_per_dim": (total - jacobian).detach()})

    def log_prob(self, batch: Steps) -> Tensor:
        """log p(target | contexts) f32[B,T] of the normalised targets, 0 in the padding."""
        distribution, _ = self.density(batch.context)
        return torch.where(batch.mask, distribution.log_prob(batch.target), 0.0)


def new_model(config: ModelConfig | StrokeConfig, seed: int) -> NextStep | StrokeModel:
    """A model with initial weights of its own seed, leaving torch's global generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "initial"))
        return stroke_model(config) if isinstance(config, StrokeConfig) else NextStep(config)


def config_for(
    model: str, source: Source, components: int = 5, hidden: int = 256, end: str = "rmdn-low-rank", latent: int = 64
) -> ModelConfig | StrokeConfig:
    """The configuration of a named model for a source; raises ValueError where the two do not belong together."""
    if model in SLIDES and source.name != "inverse-sine":
        raise ValueError(f"{model} is a network of the MDN slides, for inverse-sine only: leave it out of --models")
    if isinstance(source.scale, StrokeScale):
        return stroke_config(model, source, components, hidden, end, latent)
    if model in WRITERS:
        raise ValueError(f"{model} is for drawings: take --data kanji, handwriting or drawings")
    if model in SLIDES:
        return ModelConfig(model, source.inputs, source.outputs, 5, 15)
    return ModelConfig(model, source.inputs, source.outputs, components, hidden)


def _density(config: ModelConfig) -> Any:
    if config.model == "squared-error":
        return SquaredError(config.inputs, config.outputs)
    if config.model == "mdn":
        return slides_mdn(config.inputs, config.outputs)
    return build(config.model, config.inputs, config.outputs, config.components, config.hidden, standardize=False)
