"""Mixtures of Gaussians with structured precisions, as torch distributions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from .precision import Precision, take
from .shapes import check_value


class GaussianMixture(Distribution):
    """p(x) = sum_k softmax(logits)_k N(x; loc_k, P_k^-1), jointly over the D dimensions of x (Bishop 1994).

    Densities may exceed 1, so negative log likelihoods below 0 are no fault.

    Args:
        logits: [*B,K], logarithms of weights that need not sum to 1.
        loc: [*B,K,D], means.
        precision: of components [*B,K]. In loc and precision a component axis of size 1 ties that parameter.
        validate_args: check parameters and values; None: as torch.distributions is set.

    >>> from frmdn.density import Diagonal, GaussianMixture
    >>> weights, means = torch.tensor([0.2, 0.8]).log(), torch.tensor([[-1.0, 0.0], [1.0, 0.0]])  # K = 2, D = 2
    >>> mixture = GaussianMixture(weights, means, Diagonal(torch.ones(2, 2)))
    >>> mixture.mean
    tensor([0.6000, 0.0000])
    >>> mixture.sample((1000,)).shape, mixture.log_prob(torch.zeros(7, 2)).shape
    (torch.Size([1000, 2]), torch.Size([7]))
    """

    arg_constraints: dict[str, Any] = {  # noqa: RUF012  (torch's own class attribute)
        "logits": constraints.real_vector,
        "loc": constraints.independent(constraints.real, 2),
    }
    support = constraints.real_vector

    def __init__(self, logits: Tensor, loc: Tensor, precision: Precision, validate_args: bool | None = None) -> None:
        if precision.event != loc.shape[-1]:
            raise ValueError(
                f"precision has {precision.event} dimensions, but loc has {loc.shape[-1]}: make them equal"
            )
        shape = torch.broadcast_shapes(logits.shape, loc.shape[:-1], precision.shape)
        if logits.shape[-1] != shape[-1]:
            raise ValueError(
                f"logits has {logits.shape[-1]} components, but loc or precision {shape[-1]}: make them equal"
            )
        self.logits, self.loc, self.precision = logits, loc, precision
        super().__init__(shape[:-1], loc.shape[-1:], validate_args=validate_args)
        if self._validate_args and not precision.valid():
            raise ValueError("precision must be positive and finite: make it by exp or softplus, and look for NaN")

    def log_prob(self, value: Tensor) -> Tensor:
        """Natural logarithm of the joint density at value [*S,*B,D]: [*S,*B], nats per vector."""
        check_value(value, self.batch_shape, self.event_shape[0])
        if self._validate_args:
            self._validate_sample(value)
        components = self.precision.log_density(value.unsqueeze(-2) - self.loc)
        return torch.logsumexp(self.logits + components, -1) - torch.logsumexp(self.logits, -1)

    def sample(
        self,
        sample_shape: Sequence[int] = (),
        *,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Samples [*sample_shape,*B,D]; temperature tau > 0 divides the logits and multiplies the variances."""
        return self.sample_from(*self._random(sample_shape, generator), temperature)

    @property
    def noise(self) -> int:
        """How many standard normal numbers `sample_from` takes for one sample."""
        return self.precision.noise

    def sample_from(self, uniform: Tensor, normal: Tensor, temperature: float = 1.0) -> Tensor:
        """The samples [*S,*B,D] that these random numbers make: uniform [*S,*B] in [0, 1), normal [*S,*B,noise].

        The uniform one chooses the component (inverse CDF), the normal ones are drawn around its mean. A row depends on
        its own numbers alone, whoever drew them.
        """
        with torch.no_grad():
            return self._made_of(uniform, normal, temperature)

    def _made_of(self, uniform: Tensor, normal: Tensor, temperature: float) -> Tensor:
        check_temperature(temperature)
        component = choose(self.logits, uniform.unsqueeze(-1), temperature)
        deviation = self.precision.select(component).colour(normal.unsqueeze(-2)) * temperature**0.5
        return (take(self.loc, component) + deviation).squeeze(-2)

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        """Whether `rsample` is there: with one component."""
        return self.logits.shape[-1] == 1

    def rsample(
        self,
        sample_shape: Sequence[int] = (),
        *,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Samples [*sample_shape,*B,D] with a gradient for mean and precision: x = mean + P^-1/2 noise.

        NotImplementedError for several components: which of them is drawn jumps, and a jump has no derivative.
        """
        if not self.has_rsample:
            raise NotImplementedError(
                f"a mixture of {self.logits.shape[-1]} components has no rsample: the choice of a component has no "
                "derivative. Use components=1, or sample() and the gradient of log_prob (score function)"
            )
        return self._made_of(*self._random(sample_shape, generator), temperature)

    def _random(self, sample_shape: Sequence[int], generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """The random numbers of samples: uniform [*S,*B] and normal [*S,*B,noise]."""
        shape = (*sample_shape, *self.batch_shape)
        uniform = draw(torch.rand, (*shape, 1), self.logits, generator).squeeze(-1)
        return uniform, draw(torch.randn, (*shape, 1, self.noise), self.loc, generator).squeeze(-2)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> GaussianMixture:
        """The same density for every row of a larger batch; no numbers are copied."""
        shape = torch.Size(batch_shape)
        logits, loc = self.logits.expand(*shape, -1), self.loc.expand(*shape, -1, -1)
        return GaussianMixture(logits, loc, self.precision, validate_args=False)._checking(self._validate_args)

    def _checking(self, values: bool) -> GaussianMixture:
        self._validate_args = values  # parameters that were checked once need no second look
        return self

    @property
    def mean(self) -> Tensor:
        """[*B,D]."""
        mean = (torch.softmax(self.logits, -1).unsqueeze(-1) * self.loc).sum(-2)
        return mean.expand(*self.batch_shape, -1)

    @property
    def variance(self) -> Tensor:
        """Variance of each dimension [*B,D]: within plus between components."""
        weights = torch.softmax(self.logits, -1).unsqueeze(-1)
        between = (self.loc - self.mean.unsqueeze(-2)).square()
        return (weights * (self.precision.variance() + between)).sum(-2)

    def variance_through(self, matrix: Tensor) -> Tensor:
        """The variance of each dimension of M x [*B,E], for M [E,D], or [*B,E,D] if every row has its own."""
        weights = torch.softmax(self.logits, -1).unsqueeze(-1)
        between = ((self.loc - self.mean.unsqueeze(-2)) @ matrix.mT).square()
        return (weights * (self.precision.variance_through(matrix) + between)).sum(-2)

    @property
    def mode(self) -> Tensor:
        """The mean of the most likely component [*B,D]: a point prediction that never falls between two modes."""
        component = self.logits.argmax(-1).expand(self.batch_shape)
        return take(self.loc, component).squeeze(-2).expand(*self.batch_shape, -1)

    def __repr__(self) -> str:
        sizes = f"batch={tuple(self.batch_shape)}, components={self.logits.shape[-1]}, event={self.event_shape[0]}"
        return f"GaussianMixture({sizes}, {self.precision!r})"


def check_temperature(temperature: float) -> None:
    """Raise ValueError unless the temperature is above 0."""
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, not {temperature}: use mode for the point prediction")


def choose(logits: Tensor, uniform: Tensor, temperature: float) -> Tensor:
    """Components by their weights softmax(logits [*B,K] / temperature), i64[*S,*B], from uniform numbers [*S,*B,1]."""
    chances = torch.softmax(logits / temperature, -1).cumsum(-1)[..., :-1]  # the last is 1: no test needed
    return (uniform >= chances).sum(-1)


def draw(source: Any, shape: Sequence[int], like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Random numbers drawn where the generator lives, moved to where they are needed."""
    device = like.device if generator is None else generator.device
    return source(shape, generator=generator, dtype=like.dtype, device=device).to(like.device)
