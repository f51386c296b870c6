"""Monotonic rational-quadratic splines with linear tails (Durkan et al. 2019; Gregory and Delbourgo 1982)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from ..precision import bounded

SMALLEST_BIN = 1e-3  # share of the interval: float32 still sees where in its bin a number lies
LOG_SLOPE_BOUND = 3.0  # slopes at the knots lie in e^-3 to e^3


class Piece(NamedTuple):
    """The pieces of the spline that the elements of x fall into, each [*,D]."""

    left: Tensor  # where the piece begins
    width: Tensor
    bottom: Tensor  # the value there
    height: Tensor
    start: Tensor  # slope at its left end
    end: Tensor  # slope at its right end


def rational_quadratic(x: Tensor, raw: Tensor, bound: float, inverse: bool = False) -> tuple[Tensor, Tensor]:
    """The spline's value at x, or with `inverse` the place where it takes the value x, and the log of the slope there.

    Args:
        x: [*,D]; outside [-bound, bound] the spline is the identity.
        raw: unconstrained [*,D,3 bins - 1]: widths, heights and inner slopes; zeros make the identity.
        bound: end of the interval, > 0.
        inverse: solve instead of evaluate; the log slope is that of the inverse then.
    """
    inside = x.abs() < bound
    x_in = torch.where(inside, x, torch.zeros_like(x))  # no infinite intermediate result may reach a gradient
    piece = _piece(x_in, raw, bound, inverse)
    moved, log_slope = _solve(x_in, piece) if inverse else _evaluate(x_in, piece)
    return torch.where(inside, moved, x), torch.where(inside, log_slope, torch.zeros_like(x))


def _piece(x: Tensor, raw: Tensor, bound: float, inverse: bool) -> Piece:
    bins = (raw.shape[-1] + 1) // 3
    raw = raw.expand(*torch.broadcast_shapes(raw.shape[:-1], x.shape), -1)
    widths, heights, slopes = raw.split([bins, bins, bins - 1], -1)
    widths, heights = (2 * bound * _shares(part) for part in (widths, heights))
    lefts, bottoms = (_edges(part, bound) for part in (widths, heights))
    slopes = functional.pad(bounded(slopes, LOG_SLOPE_BOUND), (1, 1)).exp()  # slope 1 at both ends
    edges = bottoms if inverse else lefts
    index = (x.unsqueeze(-1) >= edges[..., 1:]).sum(-1, keepdim=True)  # in 0 ... bins - 1
    parts = (lefts, widths, bottoms, heights, slopes[..., :-1], slopes[..., 1:])
    return Piece(*(part.gather(-1, index).squeeze(-1) for part in parts))


def _shares(raw: Tensor) -> Tensor:
    """[*,bins] -> positive shares that sum to 1, none below SMALLEST_BIN."""
    return SMALLEST_BIN + (1 - SMALLEST_BIN * raw.shape[-1]) * torch.softmax(raw, -1)


def _edges(sizes: Tensor, bound: float) -> Tensor:
    """Where the bins begin, [*,bins]; the first at -bound."""
    return functional.pad(sizes.cumsum(-1)[..., :-1], (1, 0)) - bound


def _evaluate(x: Tensor, piece: Piece) -> tuple[Tensor, Tensor]:
    """Equations 4 and 5."""
    place = (x - piece.left) / piece.width
    rest, mean = place * (1 - place), piece.height / piece.width
    denominator = mean + (piece.start + piece.end - 2 * mean) * rest
    value = piece.bottom + piece.height * (mean * place.square() + piece.start * rest) / denominator
    numerator = piece.end * place.square() + 2 * mean * rest + piece.start * (1 - place).square()
    return value, 2 * (mean.log() - denominator.log()) + numerator.log()


def _solve(y: Tensor, piece: Piece) -> tuple[Tensor, Tensor]:
    """Equations 6 to 8: the root of a quadratic that lies in the piece, in the form that loses no digits."""
    mean, above = piece.height / piece.width, y - piece.bottom
    bend = above * (piece.start + piece.end - 2 * mean)
    a, b, c = piece.height * (mean - piece.start) + bend, piece.height * piece.start - bend, -mean * above
    root = (b.square() - 4 * a * c).clamp_min(0).sqrt()
    x = piece.left + piece.width * (2 * c / (-b - root))
    return x, -_evaluate(x, piece)[1]
