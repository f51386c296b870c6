"""Precisions D + U U^T: R directions in which a component is narrower than its diagonal says."""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor

from .precision import Precision, take

FACTOR_BOUND = 100.0  # |V| of a low-rank factor: float32 still sees the 1 in I + V^T V for some hundred dimensions
CHUNK = 1 << 19  # elements of the factor that are worked on at a time: 2 MiB, which stay in a processor's cache


class LowRank(Precision):
    """P = diag(diagonal) + U U^T, diagonal [*B,K,D] > 0, U = factor [*B,K,D,R].

    Kept as V = D^-1/2 U, so that P = D^1/2 (I + V V^T) D^1/2. With S = I + V^T V (R x R) and s = D^1/2 e, the matrix
    determinant lemma gives log det P = sum log D + log det S, and e^T P e = |s|^2 + |V^T s|^2. A component costs
    O(D R^2) where every row has a factor of its own, and O(D R) where all share V and differ in `strength` only.

    >>> from frmdn.density import LowRank
    >>> precision = LowRank(torch.ones(1, 2), torch.tensor([[[1.0], [1.0]]]))  # [[2, 1], [1, 2]], K = 1
    >>> precision.variance()  # the diagonal of its inverse
    tensor([[0.6667, 0.6667]])
    """

    strength: Tensor | None = None

    def __init__(self, diagonal: Tensor, factor: Tensor) -> None:
        if factor.shape[-2] != diagonal.shape[-1]:
            raise ValueError(f"factor is {tuple(factor.shape)}, but must be [*B,K,D,R] with D = {diagonal.shape[-1]}")
        self.log, self.whitened = diagonal.log(), (factor * diagonal.rsqrt().unsqueeze(-1)).mT

    @classmethod
    def from_log(cls, log: Tensor, whitened: Tensor, strength: Tensor | None = None) -> LowRank:
        """From log diagonals [*B,K,D] and V^T [*B,K,R,D] (D last, so that sums over it are fast).

        With a strength [*B,K,R] the factor is V diag(strength): the same directions [K,R,D] can serve all rows.
        """
        self = cls.__new__(cls)
        self.log, self.whitened, self.strength = log, whitened, strength
        return self

    def log_density(self, error: Tensor) -> Tensor:
        if self.whitened.ndim == 3:
            return self._with_shared_directions(error)
        whitened = self._factor()
        shape = torch.broadcast_shapes(error.shape, self.log.shape, whitened[..., 0, :].shape)
        v = whitened.expand(*shape[:-1], *whitened.shape[-2:]).flatten(0, -3)
        rows = (part.expand(shape).flatten(0, -2) for part in (error, self.log))
        return cast(Tensor, _LogDensity.apply(*rows, v)).unflatten(0, shape[:-1])

    def _with_shared_directions(self, error: Tensor) -> Tensor:
        """The same from V^T [K,R,D]: no factor for each row is ever made."""
        scaled = error * torch.exp(0.5 * self.log)
        along = torch.einsum("...kd,krd->...kr", scaled, self.whitened)
        inner = self.whitened @ self.whitened.mT
        if self.strength is not None:
            along = along * self.strength
            inner = inner * self.strength.unsqueeze(-1) * self.strength.unsqueeze(-2)
        quadratic = scaled.square().sum(-1) + along.square().sum(-1)
        log_det = self.log.sum(-1) + cast(Tensor, _LogDet.apply(_plus_one(inner)))
        return 0.5 * (log_det - quadratic - self.event * math.log(2 * math.pi))

    def _factor(self) -> Tensor:
        """V^T [*B,K,R,D], strength included."""
        return self.whitened if self.strength is None else self.whitened * self.strength.unsqueeze(-1)

    def select(self, component: Tensor) -> LowRank:
        strength = None if self.strength is None else take(self.strength, component)
        return LowRank.from_log(take(self.log, component), take(self.whitened, component, trailing=2), strength)

    def variance(self) -> Tensor:
        """(1 - colsum W^2) / D, with W = L^-1 V^T and L L^T = S (Woodbury)."""
        return (1 - self._narrowed().square().sum(-2)) * torch.exp(-self.log)

    def variance_through(self, matrix: Tensor) -> Tensor:
        """With P^-1 = D^-1/2 (I - W^T W) D^-1/2: the squares of M D^-1/2, less those of M D^-1/2 W^T."""
        free = torch.exp(-self.log) @ matrix.square().mT
        along = self._narrowed() * torch.exp(-0.5 * self.log).unsqueeze(-2)  # [*B,K,R,D]
        matrix = matrix if matrix.ndim == 2 else matrix.unsqueeze(-3)
        return free - (along @ matrix.mT).square().sum(-2)

    def _narrowed(self) -> Tensor:
        """W [*B,K,R,D]."""
        v = self._factor()
        root = _root(_gram(v))
        return torch.linalg.solve_triangular(root, v, upper=False)

    def colour(self, normal: Tensor) -> Tensor:
        """c = n1 + V n2 has covariance I + V V^T, so D^-1/2 (I + V V^T)^-1 c has covariance P^-1 (Woodbury)."""
        v = self._factor()
        first, second = normal.split([self.event, self.rank], -1)
        c = first + (v * second.unsqueeze(-1)).sum(-2)
        along = (v * c.unsqueeze(-2)).sum(-1, keepdim=True)  # V^T c, [*,K,R,1]
        root = _root(_gram(v)).expand(*along.shape[:-2], -1, -1)
        inner = torch.cholesky_solve(along, root)
        return (c - (v * inner).sum(-2)) * torch.exp(-0.5 * self.log)

    def valid(self) -> bool:
        parts = [self.log, self.whitened] + ([] if self.strength is None else [self.strength])
        return all(bool(torch.isfinite(part).all()) for part in parts)

    @property
    def rank(self) -> int:
        """R."""
        return self.whitened.shape[-2]

    @property
    def noise(self) -> int:
        return self.event + self.rank

    @property
    def event(self) -> int:
        return self.log.shape[-1]

    @property
    def shape(self) -> torch.Size:
        return torch.broadcast_shapes(self.log.shape[:-1], self.whitened.shape[:-2])

    def __repr__(self) -> str:
        return f"LowRank(rank={self.rank})"


class _LogDensity(torch.autograd.Function):
    """Log density of rows: error [N,D], log D [N,D], V^T [N,R,D] -> [N]; its gradient in closed form.

    Automatic differentiation would go through the Cholesky factor and hold several [N,R,D]. With a = V^T s,
    d/ds = -(s + V a) and d/dV^T = S^-1 V^T - a s^T; the rows pass in pieces, so that what is between fits in the cache.
    """

    @staticmethod
    def forward(ctx: Any, error: Tensor, log: Tensor, v: Tensor) -> Tensor:
        parts = [_forward(*piece) for piece in _pieces(error, log, v)]
        value, inner, along = (torch.cat(part) for part in zip(*parts, strict=True))
        ctx.save_for_backward(error, log, v, inner, along)
        return value

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        error, log, v, inner, along = ctx.saved_tensors
        gradients = torch.empty_like(error), torch.empty_like(log), torch.empty_like(v)
        rows = (error, log, v, torch.linalg.inv(inner), along, gradient.unsqueeze(1))
        for piece in _pieces(*rows, *gradients, by=2):
            _backward(*piece)
        return gradients


def _pieces(*tensors: Tensor, by: int = 2) -> Any:
    """The tensors' rows in pieces of about CHUNK elements of tensor number `by`; whole on a GPU."""
    rows = len(tensors[0])
    size = max(1, CHUNK // tensors[by][0].numel()) if rows and tensors[0].device.type == "cpu" else max(rows, 1)
    return zip(*(tensor.split(size) for tensor in tensors), strict=True)


def _forward(error: Tensor, log: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    scaled = error * torch.exp(0.5 * log)
    inner, along = _gram(v), torch.bmm(v, scaled.unsqueeze(2))  # [N,R,R], [N,R,1]
    quadratic = scaled.square().sum(1) + along.square().sum((1, 2))
    constant = error.shape[1] * math.log(2 * math.pi)
    return 0.5 * (log.sum(1) - quadratic - constant) + _half_log_det(inner), inner, along


def _backward(
    error: Tensor, log: Tensor, v: Tensor, inverse: Tensor, along: Tensor, gradient: Tensor, *out: Tensor
) -> None:
    """Fills `out`: the gradients of error, log and V^T."""
    to_error, to_log, to_v = out
    deviation = torch.exp(0.5 * log)
    scaled = error * deviation
    to_scaled = (v * along).sum(1).add_(scaled).mul_(-gradient)  # a product and a sum: twice as fast as bmm here
    torch.mul(to_scaled, deviation, out=to_error)
    torch.add(gradient, to_scaled.mul_(scaled), out=to_log).mul_(0.5)
    torch.bmm(inverse * gradient.unsqueeze(2), v, out=to_v)
    to_v.addcmul_(along * gradient.unsqueeze(2), scaled.unsqueeze(1), value=-1)


class _LogDet(torch.autograd.Function):
    """log det of small positive definite matrices [*,R,R]: [*]; the gradient is the inverse."""

    @staticmethod
    def forward(ctx: Any, inner: Tensor) -> Tensor:
        ctx.save_for_backward(inner)
        return 2 * _half_log_det(inner)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (inner,) = ctx.saved_tensors
        return gradient[..., None, None] * torch.linalg.inv(inner)


def _half_log_det(inner: Tensor) -> Tensor:
    return _root(inner).diagonal(dim1=-2, dim2=-1).log().sum(-1)


def _root(inner: Tensor) -> Tensor:
    """The Cholesky factor [*,R,R] of I + V^T V, which is positive definite.

    A GPU would have to be waited for to check that; there a NaN is left for the loss to show.
    """
    return torch.linalg.cholesky(inner) if inner.is_cpu else torch.linalg.cholesky_ex(inner).L


def _gram(v: Tensor) -> Tensor:
    """I + V^T V from V^T [*,R,D]: [*,R,R]."""
    return _plus_one(v @ v.mT)


def _plus_one(inner: Tensor) -> Tensor:
    return inner + torch.eye(inner.shape[-1], dtype=inner.dtype, device=inner.device)
