"""What a density is given: a wrong shape, type or missing number has one line of its own, and a mask keeps NaN out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_sequence

from frmdn.agent.density import (
    ConditionalDensity,
    Diagonal,
    FactorizedMixture,
    FlowedDistribution,
    GaussianMixture,
    frmdn,
    mdn,
    rmdn,
)
from frmdn.agent.density.catalogue import MODELS as CATALOGUE
from frmdn.agent.density.catalogue import build

F64 = torch.float64
MODELS: dict[str, Callable[[int, int], ConditionalDensity]] = {
    "mdn": lambda c, d: mdn(c, d, 3),
    **{name: lambda c, d, name=name: build(name, c, d, 3, 8) for name in CATALOGUE},  # type: ignore[misc]
    "conditional low rank": lambda c, d: frmdn(c, d, 3, 8, conditional=True),
}
ladder = pytest.mark.parametrize("name", MODELS)


def model(name: str, inputs: int = 3, outputs: int = 2, dtype: torch.dtype = F64) -> ConditionalDensity:
    torch.manual_seed(0)
    return MODELS[name](inputs, outputs).to(dtype)


def gaussian(batch: tuple[int, ...], event: int) -> GaussianMixture:
    torch.manual_seed(1)
    loc = torch.randn(*batch, 3, event, dtype=F64)
    return GaussianMixture(loc[..., 0], loc, Diagonal(loc.exp()))


def factorized(batch: tuple[int, ...], event: int) -> FactorizedMixture:
    torch.manual_seed(1)
    loc = torch.randn(*batch, event, 3, dtype=F64)
    return FactorizedMixture(loc, loc, loc.exp())


def flowed(batch: tuple[int, ...], event: int) -> FlowedDistribution:
    features = torch.randn(*batch, 3, dtype=F64)
    return mdn(3, event, 3).double()(features)[0]


BASES: dict[str, Any] = {"gaussian": gaussian, "factorized": factorized, "flowed": flowed}


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize(
    ("batch", "event", "value", "named"),
    [
        ((8,), 1, (8,), r"value is \[8\], but .* \[\*S, 8, 1\]: add the last axis by unsqueeze"),
        ((8, 5), 1, (8, 5), r"unsqueeze\(-1\)"),
        ((8,), 2, (8, 1), r"its last axis must be the 2 dimensions"),
        ((8,), 2, (8,), "the 2 dimensions"),
        ((8,), 2, (8, 3), "the 2 dimensions"),
        ((8, 8), 2, (8, 2), "an axis is missing"),  # times would be matched with rows
        ((8, 5), 2, (1, 2), "an axis is missing"),
        ((8, 5), 2, (8, 4, 2), "rows do not match"),
        ((8,), 2, (), "last axis"),
    ],
)
def test_values_of_another_shape_are_refused(
    base: str, batch: tuple[int, ...], event: int, value: tuple[int, ...], named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        BASES[base](batch, event).log_prob(torch.zeros(value, dtype=F64))


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize(
    ("value", "found"),
    [((2,), (8, 5)), ((8, 5, 2), (8, 5)), ((7, 8, 5, 2), (7, 8, 5)), ((7, 1, 1, 2), (7, 8, 5)), ((1, 5, 2), (8, 5))],
)
def test_values_that_were_meant_are_taken(base: str, value: tuple[int, ...], found: tuple[int, ...]) -> None:
    assert BASES[base]((8, 5), 2).log_prob(torch.zeros(value, dtype=F64)).shape == found


@ladder
def test_a_masked_row_may_hold_anything_and_moves_nothing(name: str) -> None:
    """Values and gradients are those of the same batch with harmless numbers in the holes."""
    density, noise = model(name), torch.Generator().manual_seed(5)
    context, y = (torch.randn(4, 6, d, dtype=F64, generator=noise) for d in (3, 2))
    mask = torch.rand(4, 6, generator=noise) > 0.3
    found = []
    for hole in (0.5, torch.nan, torch.inf):
        density.zero_grad()
        holed = y.masked_fill(~mask[..., None], hole)
        log_prob = density(context)[0].log_prob(holed, mask)
        (-log_prob.sum() / mask.sum()).backward()
        found.append((log_prob.detach(), [p.grad.clone() for p in density.parameters() if p.grad is not None]))
    assert (found[0][0][~mask] == 0).all() and (found[0][0][mask] != 0).all()
    for log_prob, gradients in found:
        assert torch.equal(log_prob, found[0][0]) and all(bool(torch.isfinite(g).all()) for g in gradients)
        for a, b in zip(gradients, found[0][1], strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)
    plain = density(context)[0].log_prob(y)
    torch.testing.assert_close(found[0][0][mask], plain[mask])


@ladder
def test_a_missing_context_is_told_as_its_mean(name: str) -> None:
    density, noise = model(name), torch.Generator().manual_seed(5)
    context, y = (7e3 + 1e3 * torch.randn(4, 6, d, dtype=F64, generator=noise) for d in (3, 2))
    mask = torch.rand(4, 6, generator=noise) > 0.3
    density.fit_scale(y, context=context)
    holed = context.masked_fill(~mask[..., None], torch.nan)
    mean = torch.where(mask[..., None], context, context.mean((0, 1)))
    log_prob = density(holed, mask=mask)[0].log_prob(y)
    torch.testing.assert_close(log_prob, density(mean)[0].log_prob(y), rtol=1e-9, atol=1e-9)
    log_prob.sum().backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in density.parameters() if p.grad is not None)


@ladder
def test_a_missing_number_without_a_mask_is_refused(name: str) -> None:
    density = model(name)
    context, y = torch.randn(4, 6, 3, dtype=F64), torch.randn(4, 6, 2, dtype=F64)
    y[1, 2, 0] = torch.nan
    with pytest.raises(ValueError, match=r"value has NaN or infinity in 1 of 24 rows: pass mask="):
        density(context)[0].log_prob(y)
    context[0, :2] = torch.inf
    with pytest.raises(ValueError, match=r"context has NaN or infinity in 2 of 24 rows: pass mask="):
        density(context)


WRONG: dict[str, tuple[Any, str]] = {
    "numpy": (np.zeros((4, 6, 3), np.float32), "numpy.ndarray, not a tensor: pass torch.as_tensor"),
    "list": ([[0.0]], "is a list, not a tensor"),
    "packed": (pack_sequence([torch.zeros(6, 3), torch.zeros(4, 3)]), "PackedSequence.*pad_packed_sequence.*mask"),
    "whole": (torch.zeros(4, 6, 3, dtype=torch.int64), r"int64, not floating point numbers: pass \w+.float\(\)"),
    "features": (torch.zeros(4, 6, 2), r"context is \[4, 6, 2\], but this model takes .*3 features"),
    "double": (torch.zeros(4, 6, 3, dtype=F64), "float64, but the weights torch.float32"),
}


@ladder
@pytest.mark.parametrize("wrong", WRONG)
def test_contexts_of_another_kind_are_refused(name: str, wrong: str) -> None:
    given, named = WRONG[wrong]
    with pytest.raises(ValueError, match=named):
        model(name, dtype=torch.float32)(given)


@pytest.mark.parametrize("wrong", ["numpy", "list", "packed", "whole"])
def test_values_of_another_kind_are_refused(wrong: str) -> None:
    given, named = WRONG[wrong]
    for base in BASES.values():
        with pytest.raises(ValueError, match=named):
            base((4, 6), 3).log_prob(given)


def test_a_missing_axis_of_time_is_named() -> None:
    for density in (rmdn(3, 2, 3, 8), frmdn(3, 2, 3, 8)):
        with pytest.raises(ValueError, match=r"context is \[4, 3\], but .*\[B, T, 3\]: add the axis of time"):
            density(torch.zeros(4, 3))
        with pytest.raises(ValueError, match="at least one step"):
            density(torch.zeros(4, 0, 3))
        with pytest.raises(ValueError, match=r"\[B, T, 3\]"):
            density(torch.zeros(3))
    assert mdn(3, 2)(torch.zeros(4, 3))[0].batch_shape == (4,)


def test_masks_of_another_kind_are_refused() -> None:
    density, context, y = rmdn(3, 2, 3, 8), torch.zeros(4, 6, 3), torch.zeros(4, 6, 2)
    masks: list[tuple[Tensor, str]] = [
        (torch.ones(4, 6), r"pass mask.bool\(\)"),
        (torch.ones(4, 6, 1, dtype=torch.bool), r"mask is \[4, 6, 1\]"),
        (torch.ones(4, dtype=torch.bool), r"mask is \[4\]"),
    ]
    for mask, named in masks:
        with pytest.raises(ValueError, match=named):
            density(context)[0].log_prob(y, mask)
        with pytest.raises(ValueError, match=named):
            density(context, mask=mask)
