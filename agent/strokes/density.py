"""The library's densities at the end of a trunk, with a pen."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ..density.catalogue import MODELS, build
from ..density.conditional import ConditionalDensity
from ..density.heads import MixtureHead
from .distribution import PENS, StrokeDistribution


class StrokeDensity(nn.Module):
    """p(next point | points before): a model of the catalogue for where and when, and a layer for the pen.

    *Prediction*, Graves 2013, section 4: unconditional handwriting, drawings, and touches with times. In the plane,
    models named `*-low-rank` have rank 1, and rank 2 with times: with every number of the factor said by the trunk,
    D + U U^T is then **every** covariance, Graves' correlated Gaussians.

    Args:
        name: one of `MODELS` of `frmdn.agent.density.catalogue`; all have RMDN's number of parameters within a tenth.
        inputs: C of the context [B,T,C].
        timed: whether there are waits.
        components: K.
        hidden: H of RMDN's LSTM.

    Raises:
        ValueError: there is no model of that name.

    >>> from frmdn.agent.strokes.density import StrokeDensity
    >>> model = StrokeDensity("frmdn-diagonal", inputs=5, timed=False, hidden=16)
    >>> strokes, state = model(torch.zeros(4, 10, 5))
    >>> strokes.log_prob(torch.zeros(4, 10, 3)).shape
    torch.Size([4, 10])
    """

    def __init__(self, name: str, inputs: int, timed: bool, components: int = 5, hidden: int = 256) -> None:
        super().__init__()
        self.density = planar(build(name, inputs, 3 if timed else 2, components, hidden, standardize=False), name)
        self.pen = nn.Linear(int(self.density.trunk.features), PENS)  # type: ignore[arg-type]

    def forward(self, context: Tensor, state: Any = None) -> tuple[StrokeDistribution, Any]:
        """Context [B,T,C] -> the distribution after each, over [B,T], and the trunk's next state."""
        features, state = self.density.trunk(context, state)
        return self.distribution(features), state

    def distribution(self, features: Tensor) -> StrokeDistribution:
        """The density given the trunk's features [*B,F]."""
        return StrokeDistribution(self.density.distribution(features), self.pen(features), validate_args=False)


class StrokeHead(nn.Module):
    """The end of such a model without its trunk: features [*B,F] -> a distribution of the next point.

    Args:
        name: as above.
        features: F.
        timed: whether there are waits.
        components: K.
    """

    def __init__(self, name: str, features: int, timed: bool, components: int) -> None:
        super().__init__()
        if name not in MODELS:
            raise ValueError(f"name must be one of {', '.join(MODELS)}, not {name!r}")
        whole = planar(MODELS[name](1, 3 if timed else 2, components, features, standardize=False), name)
        self.density = ConditionalDensity(nn.Identity(), whole.head, whole.flow)
        self.pen = nn.Linear(features, PENS)

    def forward(self, features: Tensor) -> StrokeDistribution:
        return StrokeDistribution(self.density.distribution(features), self.pen(features), validate_args=False)


def planar(density: ConditionalDensity, name: str) -> ConditionalDensity:
    """The density with covariances that are full, where its name asks for a low rank."""
    head = density.head
    if name.endswith("low-rank") and isinstance(head, MixtureHead):
        features = head.logits.in_features
        density.head = MixtureHead(features, head.event, head.components, "low_rank_free", head.event - 1)
    return density
