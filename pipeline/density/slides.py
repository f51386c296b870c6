"""The two networks of the MDN slides (Martin, Creative Prediction): squared error with 286 parameters, MDN with 510."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal

from frmdn.agent.density import ConditionalDensity, mdn
from frmdn.agent.density.mixture import draw

HIDDEN, COMPONENTS = (15, 15), 5


class SquaredError(nn.Module):
    """A tanh network that predicts the mean; trained on squared error, measured as N(mean, fitted variance).

    In training its distribution has unit variance, whose log density is the squared error but for constants; in
    evaluation the variance per dimension that `fit_variance` found.
    """

    variance: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        first, second = HIDDEN
        self.network = nn.Sequential(
            nn.Linear(inputs, first), nn.Tanh(), nn.Linear(first, second), nn.Tanh(), nn.Linear(second, outputs)
        )
        self.register_buffer("variance", torch.ones(outputs))

    def forward(self, context: Tensor, state: Any = None) -> tuple[Gaussian, None]:
        """Context [*B,C] -> a Gaussian over [*B,D]; there is no state."""
        mean = self.network(context)
        variance = torch.ones_like(self.variance) if self.training else self.variance
        return Gaussian(mean, variance.sqrt().expand_as(mean)), None

    def fit_variance(self, context: Tensor, target: Tensor) -> None:
        """Set the variance to its best estimate: the mean squared error on contexts [N,C] and targets [N,D]."""
        with torch.no_grad():
            self.variance.copy_((target - self.network(context)).square().mean(0).clamp_min(1e-12))


class Gaussian(Independent):
    """A diagonal Gaussian that samples like the mixtures do, with a temperature and a generator."""

    def __init__(self, loc: Tensor, scale: Tensor) -> None:
        super().__init__(Normal(loc, scale, validate_args=False), 1, validate_args=False)

    def sample(
        self, sample_shape: Any = (), *, temperature: float = 1.0, generator: torch.Generator | None = None
    ) -> Tensor:
        """Samples [*sample_shape,*B,D]; the temperature multiplies the variance."""
        loc, scale = self.base_dist.loc, self.base_dist.scale
        noise = draw(torch.randn, (*sample_shape, *loc.shape), loc, generator)
        return loc + scale * temperature**0.5 * noise


def slides_mdn(inputs: int, outputs: int) -> ConditionalDensity:
    """Two tanh layers of 15 and five components: 510 parameters for one input and one output."""
    return mdn(inputs, outputs, COMPONENTS, HIDDEN, standardize=False)
