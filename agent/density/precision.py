"""Precision matrices of a mixture's components, never built as D x D.

A semi-tied precision P_k = U D_k U^T (one U for all components) is a `Diagonal` mixture behind the flow u = U^T y
(`flows.Linear`), which also supplies its Jacobian; `semi_tied` says the same as a Precision. `low_rank` has D + U U^T.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

LOG_BOUND = 14.0  # |log precision| < 14: standard deviations of 1e-3 to 1e3, inside what float32 can square and sum


def bounded(raw: Tensor, bound: float = LOG_BOUND) -> Tensor:
    """bound * tanh(raw / bound): the identity near 0, and unlike a clamp it always lets some gradient back."""
    return bound * torch.tanh(raw / bound)


class Precision(ABC):
    """The inverse covariance P of each of K components over D dimensions. An axis K of size 1 is shared by all.

    >>> from frmdn.density import Diagonal, LowRank, Precision
    >>> issubclass(Diagonal, Precision) and issubclass(LowRank, Precision)
    True
    """

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
    def variance_through(self, matrix: Tensor) -> Tensor:
        """The diagonal of M P^-1 M^T [*B,K,E] for a matrix M [E,D], or [*B,E,D] if every row has its own."""

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
    """P = diag(precision), precision [*B,K,D] > 0.

    >>> from frmdn.density import Diagonal
    >>> Diagonal(torch.tensor([[4.0, 1.0]])).variance()
    tensor([[0.2500, 1.0000]])
    """

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

    def variance_through(self, matrix: Tensor) -> Tensor:
        return self.variance() @ matrix.square().mT

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


def take(parameter: Tensor, component: Tensor, trailing: int = 1) -> Tensor:
    """The chosen component's parameters: [*B,K,...] and i64[*S,*B] -> [*S,*B,1,...], `trailing` axes after K."""
    axis = -1 - trailing
    if parameter.shape[axis] == 1:
        return parameter
    shape = parameter.shape[axis:]
    index = component.reshape(*component.shape, *[1] * (trailing + 1)).expand(*component.shape, 1, *shape[1:])
    return parameter.expand(*component.shape, *shape).gather(axis, index)
