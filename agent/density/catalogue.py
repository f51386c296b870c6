"""The models that comparisons run, by name, at comparable sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .conditional import ConditionalDensity, frmdn, rmdn
from .coupling import couplings
from .flows import Identity
from .heads import FactorizedHead
from .networks import Recurrent

RANK = 4


def _factorized(inputs: int, outputs: int, components: int = 5, hidden: int = 256) -> ConditionalDensity:
    return ConditionalDensity(Recurrent(inputs, hidden), FactorizedHead(hidden, outputs, components), Identity())


def _rmdn_low_rank(inputs: int, outputs: int, components: int = 5, hidden: int = 256) -> ConditionalDensity:
    return rmdn(inputs, outputs, components, hidden, "low_rank", RANK)


def _frmdn_diagonal(inputs: int, outputs: int, components: int = 5, hidden: int = 256) -> ConditionalDensity:
    return frmdn(inputs, outputs, components, hidden, "diagonal")


def _frmdn_semi_tied(inputs: int, outputs: int, components: int = 5, hidden: int = 256) -> ConditionalDensity:
    return frmdn(inputs, outputs, components, hidden, "semi_tied")


def _frmdn_low_rank(inputs: int, outputs: int, components: int = 5, hidden: int = 256) -> ConditionalDensity:
    return frmdn(inputs, outputs, components, hidden, "low_rank", RANK)


def _frmdn_spline(inputs: int, outputs: int, components: int = 5, hidden: int = 256) -> ConditionalDensity:
    flow = couplings(outputs, kind="spline")
    return frmdn(inputs, outputs, components, hidden, "diagonal", flow=flow)


def _frmdn_conditional(inputs: int, outputs: int, components: int = 5, hidden: int = 256) -> ConditionalDensity:
    return frmdn(inputs, outputs, components, hidden, "diagonal", conditional=True)


MODELS: Mapping[str, Callable[..., ConditionalDensity]] = {
    "factorized": _factorized,
    "rmdn": rmdn,
    "rmdn-low-rank": _rmdn_low_rank,
    "frmdn-diagonal": _frmdn_diagonal,
    "frmdn-semi-tied": _frmdn_semi_tied,
    "frmdn-low-rank": _frmdn_low_rank,
    "frmdn-spline": _frmdn_spline,
    "frmdn-conditional": _frmdn_conditional,
}


def build(name: str, inputs: int, outputs: int, components: int = 5, hidden: int = 256) -> ConditionalDensity:
    """The model of that name, freshly initialised by torch's global random numbers.

    Args:
        name: one of `MODELS`.
        inputs: C of the context [B,T,C].
        outputs: D of the event.
        components: K.
        hidden: H of the LSTM.
    """
    if name not in MODELS:
        raise ValueError(f"name must be one of {', '.join(MODELS)}, not {name!r}")
    return MODELS[name](inputs, outputs, components, hidden)
