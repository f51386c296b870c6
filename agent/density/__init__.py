"""Density models of continuous vectors and sequences; usable without any reinforcement learning."""

from .conditional import ConditionalDensity, frmdn, mdn, rmdn
from .factorized import FactorizedMixture
from .flowed import FlowedDistribution
from .flows.autoregressive import Autoregressive
from .flows.coupling import Coupling, SplineCoupling, couplings
from .flows.flow import Chain, Flow, Identity, Inverse, Linear, Standardize
from .flows.zuko import FromZuko, import_zuko
from .heads import FactorizedHead, MixtureHead
from .low_rank import LowRank
from .mixture import GaussianMixture
from .precision import Diagonal, Precision
from .scale import Scale
from .semi_tied import SemiTied

__all__ = [
    "Autoregressive",
    "Chain",
    "ConditionalDensity",
    "Coupling",
    "Diagonal",
    "FactorizedHead",
    "FactorizedMixture",
    "Flow",
    "FlowedDistribution",
    "FromZuko",
    "GaussianMixture",
    "Identity",
    "Inverse",
    "Linear",
    "LowRank",
    "MixtureHead",
    "Precision",
    "Scale",
    "SemiTied",
    "SplineCoupling",
    "Standardize",
    "couplings",
    "frmdn",
    "import_zuko",
    "mdn",
    "rmdn",
]
