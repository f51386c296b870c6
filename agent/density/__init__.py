"""Density models of continuous vectors and sequences; usable without any reinforcement learning."""

from .conditional import ConditionalDensity, frmdn, mdn, rmdn
from .flows import Autoregressive, Chain, Coupling, Flow, FlowedDistribution, Identity, Linear, couplings
from .mixture import GaussianMixture, MixtureHead
from .precision import Diagonal, LowRank, Precision

__all__ = [
    "Autoregressive",
    "Chain",
    "ConditionalDensity",
    "Coupling",
    "Diagonal",
    "Flow",
    "FlowedDistribution",
    "GaussianMixture",
    "Identity",
    "Linear",
    "LowRank",
    "MixtureHead",
    "Precision",
    "couplings",
    "frmdn",
    "mdn",
    "rmdn",
]
