"""Precision matrices of a mixture's components, never built as D x D.

A semi-tied precision P_k = U D_k U^T (one U for all components) is a `Diagonal` mixture behind the flow u = U^T y
(`flows.Linear`), which also supplies its Jacobian; `semi_tied` says the same as a Precision.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, cast

import torch
from torch import Tensor

LOG_BOUND = 14.0  # |log precision| < 14: standard deviations of 1e-3 to 1e3, inside what float32 can square and sum
FACTOR_BOUND = 100.0  # |V| of a low-rank factor: float32 still sees the 1 in I + V^T V for some hundred dimensions


def bounded(raw: Tensor, bound: float = LOG_BOUND) -> Tensor:
    """bound * tanh(raw / bound): the identity near 0, and unlike a clamp it always lets some gradient back."""
    return bound * torch.tanh(raw / bound)


class Precision(ABC):
    """The inverse covariance P of each of K components over D dimensions. An axis K of size 1 is shared by all."""

    @abstractmethod
    def log_density(self, error: Tensor) -> Tensor:
        """(log det P - e^T P e - D log 2 pi) / 2 of the error x - mean [*B,K,D]: [*B,K]."""

    @abstractmethod
    def select(self, component: Tensor) -> Precision:
        """The precision of one component per row: i64[*B] -> K = 1."""

    @abstractmethod
    def variance(self) -> Tensor:
        """The diagonal of P^-1, [*B,K,D]."""

    @abstractmethod
    def colour(self, normal: Tensor) -> Tensor:
        """Standard normal numbers [*,K,noise] -> numbers [*,K,D] of covariance P^-1."""

    @abstractmethod
    def valid(self) -> bool:
        """Whether it is a precision: positive and finite."""

    @property
    @abstractmethod
    def shape(self) -> torch.Size:
        """[*B,K]."""

    @property
    @abstractmethod
    def noise(self) -> int:
        """How many standard normal numbers one sample takes."""

    @property
    @abstractmethod
    def event(self) -> int:
        """D."""


class Diagonal(Precision):
    """P = diag(precision), precision [*B,K,D] > 0."""

    def __init__(self, precision: Tensor) -> None:
        self.log = precision.log()

    @classmethod
    def from_log(cls, log: Tensor) -> Diagonal:
        """From log precisions [*B,K,D]."""
        self = cls.__new__(cls)
        self.log = log
        return self

    def log_density(self, error: Tensor) -> Tensor:
        scaled = error * torch.exp(0.5 * self.log)
        constant = self.event * math.log(2 * math.pi)
        return 0.5 * (self.log.sum(-1) - scaled.square().sum(-1) - constant)

    def select(self, component: Tensor) -> Diagonal:
        return Diagonal.from_log(take(self.log, component))

    def variance(self) -> Tensor:
        return torch.exp(-self.log)

    def colour(self, normal: Tensor) -> Tensor:
        return normal * torch.exp(-0.5 * self.log)

    def valid(self) -> bool:
        return bool(torch.isfinite(self.log).all())  # the logarithm of what is not positive is not finite

    @property
    def noise(self) -> int:
        return self.event

    @property
    def event(self) -> int:
        return self.log.shape[-1]

    @property
    def shape(self) -> torch.Size:
        return self.log.shape[:-1]

    def __repr__(self) -> str:
        return "Diagonal()"


class LowRank(Precision):
    """P = diag(diagonal) + U U^T, diagonal [*B,K,D] > 0, U = factor [*B,K,D,R].

    Kept as V = D^-1/2 U, so that P = D^1/2 (I + V V^T) D^1/2. With S = I + V^T V (R x R) and s = D^1/2 e,
    log det P = sum log D + log det S and e^T P e = |s|^2 + |V^T s|^2. Cost O(D R^2) a component.
    """

    def __init__(self, diagonal: Tensor, factor: Tensor) -> None:
        self.log, self.whitened = diagonal.log(), (factor * diagonal.rsqrt().unsqueeze(-1)).mT

    @classmethod
    def from_log(cls, log: Tensor, whitened: Tensor) -> LowRank:
        """From log diagonals [*B,K,D] and V^T [*B,K,R,D] (D last, so that sums over it are fast)."""
        self = cls.__new__(cls)
        self.log, self.whitened = log, whitened
        return self

    def log_density(self, error: Tensor) -> Tensor:
        shape = torch.broadcast_shapes(error.shape, self.log.shape, self.whitened[..., 0, :].shape)
        v = self.whitened.expand(*shape[:-1], *self.whitened.shape[-2:]).flatten(0, -3)
        scaled = (error * torch.exp(0.5 * self.log)).expand(shape).flatten(0, -2)
        constant = self.event * math.log(2 * math.pi)
        value = cast(Tensor, _WhitenedLogDensity.apply(scaled, v)).unflatten(0, shape[:-1])
        return value + 0.5 * (self.log.sum(-1) - constant)

    def select(self, component: Tensor) -> LowRank:
        return LowRank.from_log(take(self.log, component), take(self.whitened, component, trailing=2))

    def variance(self) -> Tensor:
        """(1 - colsum W^2) / D, with W = L^-1 V^T and L L^T = S (Woodbury)."""
        root = torch.linalg.cholesky(_gram(self.whitened))
        w = torch.linalg.solve_triangular(root, self.whitened, upper=False)
        return (1 - w.square().sum(-2)) * torch.exp(-self.log)

    def colour(self, normal: Tensor) -> Tensor:
        """c = n1 + V n2 has covariance I + V V^T, so D^-1/2 (I + V V^T)^-1 c has covariance P^-1 (Woodbury)."""
        first, second = normal.split([self.event, self.whitened.shape[-2]], -1)
        c = first + (self.whitened * second.unsqueeze(-1)).sum(-2)
        along = (self.whitened * c.unsqueeze(-2)).sum(-1, keepdim=True)  # V^T c, [*,K,R,1]
        root = torch.linalg.cholesky(_gram(self.whitened)).expand(*along.shape[:-2], -1, -1)
        inner = torch.cholesky_solve(along, root)
        return (c - (self.whitened * inner).sum(-2)) * torch.exp(-0.5 * self.log)

    def valid(self) -> bool:
        return bool(torch.isfinite(self.log).all() and torch.isfinite(self.whitened).all())

    @property
    def noise(self) -> int:
        return self.event + self.whitened.shape[-2]

    @property
    def event(self) -> int:
        return self.log.shape[-1]

    @property
    def shape(self) -> torch.Size:
        return torch.broadcast_shapes(self.log.shape[:-1], self.whitened.shape[:-2])

    def __repr__(self) -> str:
        return f"LowRank(rank={self.whitened.shape[-2]})"


class _WhitenedLogDensity(torch.autograd.Function):
    """(log det S - |s|^2 - |V^T s|^2) / 2 of rows s [N,D] and V^T [N,R,D]: [N]; its gradient in closed form.

    Automatic differentiation would go through the Cholesky factor and hold several [N,R,D]. With a = V^T s,
    d/ds = -(s + V a) and d/dV^T = S^-1 V^T - a s^T.
    """

    @staticmethod
    def forward(ctx: Any, scaled: Tensor, v: Tensor) -> Tensor:
        inner, along = _gram(v), torch.bmm(v, scaled.unsqueeze(2))  # [N,R,R], [N,R,1]
        ctx.save_for_backward(scaled, v, inner, along)
        determinant = torch.linalg.cholesky(inner).diagonal(dim1=1, dim2=2).log().sum(1)
        return determinant - 0.5 * (scaled.square().sum(1) + along.square().sum((1, 2)))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        scaled, v, inner, along = ctx.saved_tensors
        gradient = gradient.unsqueeze(1)
        to_scaled = -gradient * (scaled + (v * along).sum(1))  # a product and a sum: twice as fast as bmm at this size
        inverse = torch.linalg.inv(inner) * gradient.unsqueeze(2)  # the gradient enters where the tensors are small
        to_v = torch.bmm(inverse, v).addcmul_(along * gradient.unsqueeze(2), scaled.unsqueeze(1), value=-1)
        return to_scaled, to_v


def _gram(v: Tensor) -> Tensor:
    """I + V^T V from V^T [*,R,D]: [*,R,R]."""
    return v @ v.mT + torch.eye(v.shape[-2], dtype=v.dtype, device=v.device)


def take(parameter: Tensor, component: Tensor, trailing: int = 1) -> Tensor:
    """The chosen component's parameters: [*B,K,...] and i64[*S,*B] -> [*S,*B,1,...], `trailing` axes after K."""
    axis = -1 - trailing
    if parameter.shape[axis] == 1:
        return parameter
    shape = parameter.shape[axis:]
    index = component.reshape(*component.shape, *[1] * (trailing + 1)).expand(*component.shape, 1, *shape[1:])
    return parameter.expand(*component.shape, *shape).gather(axis, index)
