"""The models that comparisons run, by name and at equal size."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Mapping
from typing import Any

import torch

from .conditional import ConditionalDensity, frmdn, rmdn
from .flows.coupling import couplings
from .flows.flow import Identity
from .heads import FactorizedHead
from .networks import Recurrent
from .scale import Scale

RANK = 4
TOLERANCE = 0.1  # by which numbers of parameters may differ and still count as equal


def _factorized(inputs: int, outputs: int, components: int = 5, hidden: int = 256, **more: Any) -> ConditionalDensity:
    head = FactorizedHead(hidden, outputs, components)
    scales = (Scale(outputs), Scale(inputs)) if more.get("standardize", True) else (None, None)
    return ConditionalDensity(Recurrent(inputs, hidden), head, Identity(), *scales)


def _rmdn_low_rank(
    inputs: int, outputs: int, components: int = 5, hidden: int = 256, **more: Any
) -> ConditionalDensity:
    return rmdn(inputs, outputs, components, hidden, "low_rank", RANK, **more)


def _frmdn_diagonal(
    inputs: int, outputs: int, components: int = 5, hidden: int = 256, **more: Any
) -> ConditionalDensity:
    return frmdn(inputs, outputs, components, hidden, "diagonal", **more)


def _frmdn_semi_tied(
    inputs: int, outputs: int, components: int = 5, hidden: int = 256, **more: Any
) -> ConditionalDensity:
    return frmdn(inputs, outputs, components, hidden, "semi_tied", **more)


def _frmdn_low_rank(
    inputs: int, outputs: int, components: int = 5, hidden: int = 256, **more: Any
) -> ConditionalDensity:
    return frmdn(inputs, outputs, components, hidden, "low_rank", RANK, **more)


def _frmdn_spline(inputs: int, outputs: int, components: int = 5, hidden: int = 256, **more: Any) -> ConditionalDensity:
    flow = couplings(outputs, kind="spline")
    return frmdn(inputs, outputs, components, hidden, "diagonal", flow=flow, **more)


def _frmdn_conditional(
    inputs: int, outputs: int, components: int = 5, hidden: int = 256, **more: Any
) -> ConditionalDensity:
    return frmdn(inputs, outputs, components, hidden, "diagonal", conditional=True, **more)


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


def build(
    name: str, inputs: int, outputs: int, components: int = 5, hidden: int = 256, standardize: bool = True
) -> ConditionalDensity:
    """The model of that name, with as many parameters as RMDN within a tenth, initialised by torch's global generator.

    Args:
        name: one of `MODELS`.
        inputs: C of the context [B,T,C].
        outputs: D of the event.
        components: K.
        hidden: H of RMDN's LSTM; a model whose head or flow takes more has a smaller LSTM instead (`fair_hidden`).
        standardize: scales for context and y, see `ConditionalDensity`.

    Raises:
        ValueError: there is no model of that name.
    """
    if name not in MODELS:
        raise ValueError(f"name must be one of {', '.join(MODELS)}, not {name!r}")
    size = fair_hidden(name, inputs, outputs, components, hidden)
    return MODELS[name](inputs, outputs, components, size, standardize=standardize)


def fair_hidden(name: str, inputs: int, outputs: int, components: int, hidden: int) -> int:
    """The LSTM size at which a model has RMDN's number of parameters within TOLERANCE.

    `hidden` itself where that is so; else the best of half to twice `hidden`; and `hidden` again where none is good
    enough, since a flow that outweighs a small RMDN cannot be paid for by an LSTM of a few cells.
    """

    def count(model: str, size: int) -> int:
        with torch.device("meta"):  # shapes without numbers: costs nothing and draws nothing
            return sum(p.numel() for p in MODELS[model](inputs, outputs, components, size).parameters())

    target = count("rmdn", hidden)

    def off(size: int) -> float:
        return abs(count(name, size) - target) / target

    if off(hidden) <= TOLERANCE:
        return hidden
    step = max(1, hidden // 32)  # multiples of 8 for the usual 256: sizes that processors like
    sizes = range(max(step, hidden // 2), 2 * hidden + 1, step)
    above = bisect.bisect_left(sizes, target, key=lambda size: count(name, size))
    best = min(sizes[max(above - 1, 0) : above + 1], key=off)
    return best if off(best) <= TOLERANCE else hidden
