"""One distribution of a pen's next step: where it goes, when, and whether it leaves the paper."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.nn import functional

from ..density.factorized import FactorizedMixture
from ..density.flowed import FlowedDistribution
from ..density.low_rank import LowRank
from ..density.mixture import GaussianMixture, choose, draw
from ..density.precision import Diagonal
from ..density.shapes import check_value

PENS = 3  # goes on, leaves the paper, has finished


class StrokeDistribution(Distribution):
    """p(dx, dy, [wait,] pen) = p(dx, dy, [wait]) P(pen): any density of the library, and three chances.

    Graves 2013, equations 20 to 26, with the whole vector behind a flow; the pen has three states as in SketchRNN (Ha
    and Eck 2017, section 3.3). A wait w > 0 stands in the density by its logarithm, jointly with the offsets, and its
    Jacobian counts: p(w) = p(log w) / w. All likelihoods are exact.

    Args:
        offsets: over [*B,2], or over [*B,3] with the logarithm of the wait.
        pen: [*B,3], logarithms of the pen's chances; they need not sum to 1.

    >>> from frmdn.density import Diagonal, FlowedDistribution, GaussianMixture, Identity
    >>> from frmdn.agent.strokes.distribution import StrokeDistribution
    >>> mixture = GaussianMixture(torch.zeros(1), torch.zeros(1, 2), Diagonal(torch.ones(1, 2)))
    >>> strokes = StrokeDistribution(FlowedDistribution(mixture, Identity()), torch.zeros(3))
    >>> strokes.log_prob(torch.tensor([0.0, 0.0, 1.0]))  # -log(2 pi) - log 3
    tensor(-2.9365)
    >>> strokes.sample((5,)).shape
    torch.Size([5, 3])
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012  (torch's own class attribute)
    support = constraints.real_vector

    def __init__(self, offsets: FlowedDistribution, pen: Tensor, validate_args: bool | None = None) -> None:
        if pen.shape[-1] != PENS or offsets.event_shape[0] not in (2, 3):
            raise ValueError(
                f"pen is {list(pen.shape)} and offsets have {offsets.event_shape[0]} dimensions, but a step has "
                f"{PENS} states of the pen, and 2 dimensions or 3 with the wait"
            )
        self.offsets, self.pen = offsets, pen
        self.timed = offsets.event_shape[0] == 3
        super().__init__(offsets.batch_shape, torch.Size([offsets.event_shape[0] + 1]), validate_args=validate_args)

    def log_prob(self, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """Log density at dx, dy, [wait,] pen [*S,*B,D]: [*S,*B], nats per point.

        Args:
            value: the pen as 0, 1 or 2; waits above 0.
            mask: bool[*S,*B], as in `FlowedDistribution.log_prob`: rows that do not count give 0 and no gradient.

        Raises:
            ValueError: shapes that do not fit, a wait of 0 or less, or a pen that is none, in a row that counts.
        """
        check_value(value, self.batch_shape, self.event_shape[0])
        move, state = value[..., :-1], value[..., -1]
        counts = torch.ones_like(state, dtype=torch.bool) if mask is None else mask
        if bool((((state != 0) & (state != 1) & (state != 2)) & counts).any()):
            raise ValueError("the pen must be 0, 1 or 2 (goes on, leaves the paper, has finished) in every row")
        jacobian = torch.zeros_like(state)
        if self.timed:
            wait = move[..., 2]
            if bool(((wait <= 0) & counts).any()):
                raise ValueError("a wait is 0 or less: times must ascend; mask= leaves rows out")
            log_wait = wait.masked_fill(~counts, 1.0).log()
            move, jacobian = torch.cat([move[..., :2], log_wait.unsqueeze(-1)], -1), -log_wait
        chances = functional.log_softmax(self.pen, -1)
        chances = chances.expand(*torch.broadcast_shapes(chances.shape[:-1], state.shape), PENS)
        index = state.masked_fill(~counts, 0.0).long().expand(chances.shape[:-1])
        pen = chances.gather(-1, index.unsqueeze(-1)).squeeze(-1)
        found = self.offsets.log_prob(move, mask) + jacobian + pen
        return found if mask is None else torch.where(mask, found, torch.zeros_like(found))

    def sample(
        self,
        sample_shape: Sequence[int] = (),
        *,
        temperature: float = 1.0,
        bias: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Samples dx, dy, [wait,] pen [*sample_shape,*B,D].

        Args:
            temperature: tau > 0 divides all logits and multiplies the variances (Ha and Eck 2017, equation 8).
            bias: b >= 0 makes the mixture neater, see `biased`; the pen is left as it is.
            generator: of the random numbers.
        """
        with torch.no_grad():
            move = self.biased(bias).offsets.sample(sample_shape, temperature=temperature, generator=generator)
            if self.timed:
                move = torch.cat([move[..., :2], move[..., 2:].exp()], -1)
            shape = (*sample_shape, *self.batch_shape, 1)
            state = choose(self.pen, draw(torch.rand, shape, self.pen, generator), temperature)
            return torch.cat([move, state.unsqueeze(-1).to(move.dtype)], -1)

    def biased(self, bias: float) -> StrokeDistribution:
        """The same with deviations exp(-b) times as wide and logits (1 + b) times as far apart, in flow space.

        Graves 2013, equations 61 and 62: probability bias. 0 changes nothing; 1 and more is neat handwriting.

        Raises:
            ValueError: bias below 0.
        """
        if not bias >= 0:
            raise ValueError(f"bias must be 0 or more, not {bias}: for wilder samples raise the temperature")
        if bias == 0:
            return self
        known = self.offsets
        base = _narrow(known.base, bias)
        return StrokeDistribution(
            FlowedDistribution(base, known.flow, known.context, False, known.scale), self.pen, False
        )

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> StrokeDistribution:
        """The same density for every row of a larger batch."""
        return StrokeDistribution(self.offsets.expand(batch_shape), self.pen.expand(*batch_shape, PENS), False)

    def __repr__(self) -> str:
        return f"StrokeDistribution({self.offsets!r}, timed={self.timed})"


def _narrow(base: Any, bias: float) -> Any:
    """A mixture with logits times 1 + b and deviations times exp(-b)."""
    if isinstance(base, FactorizedMixture):
        return FactorizedMixture(base.logits * (1 + bias), base.loc, base.scale * math.exp(-bias), validate_args=False)
    known = base.precision
    if isinstance(known, Diagonal):
        precision: Diagonal | LowRank = Diagonal.from_log(known.log + 2 * bias)
    elif isinstance(known, LowRank):  # P = D^1/2 (I + V V^T) D^1/2: a factor on D is one on P
        precision = LowRank.from_log(known.log + 2 * bias, known.whitened, known.strength)
    else:
        raise ValueError(f"bias knows Diagonal and LowRank, not {type(known).__name__}: use the temperature")
    return GaussianMixture(base.logits * (1 + bias), base.loc, precision, validate_args=False)
