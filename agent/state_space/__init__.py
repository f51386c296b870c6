"""Latent state-space models trained by a variational bound: Deep Variational Bayes Filters and their relatives."""

from .batch import Trajectories
from .model import Path, StateSpace, StateSpaceConfig
from .recognition import Noise
from .transition import GaussianTransition, LocallyLinear, Step
from .world import StateSpaceAgent, StateSpaceWorld

__all__ = [
    "GaussianTransition",
    "LocallyLinear",
    "Noise",
    "Path",
    "StateSpace",
    "StateSpaceAgent",
    "StateSpaceConfig",
    "StateSpaceWorld",
    "Step",
    "Trajectories",
]
