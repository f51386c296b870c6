"""What worlds tell of episodes beside the return, as figures of an evaluation: a mean or rate with interval, a sum."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from frmdn.envs.measure import Measure

EACH, INTERVAL = "_each", "_ci95"  # endings of keys: the numbers of the single episodes, and the interval
Z = 1.959964  # quantile 0.975 of the normal distribution
Interval = Callable[[list[float]], tuple[float, float]]


def summarise(
    measures: Sequence[Measure], told: Sequence[dict[str, float]], interval: Interval
) -> dict[str, float | list[float]]:
    """Figures by key, from what each episode told: `name`, `name_ci95` (not of a sum) and `name_each`.

    `interval` makes that of a mean; a rate has Wilson's.
    """
    figures: dict[str, float | list[float]] = {}
    for measure in measures:
        each = [episode[measure.name] for episode in told]
        figures[measure.name] = float(sum(each) if measure.kind == "sum" else np.mean(each))
        if measure.kind != "sum":
            figures[measure.name + INTERVAL] = list(wilson(each) if measure.kind == "rate" else interval(each))
        figures[measure.name + EACH] = each
    return figures


def wilson(each: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of a rate (Wilson 1927): it is honest at 0 of n and n of n, where a bootstrap has no width.

    Raises ValueError where there is no episode, or one that neither succeeded (1) nor failed (0).
    """
    if not each or any(value not in (0.0, 1.0) for value in each):
        raise ValueError(f"a rate needs episodes of 0 or 1, at least one, not {list(each)}")
    n, p = len(each), float(np.mean(each))
    centre, spread = p + Z**2 / (2 * n), Z * np.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
    low, high = (centre - spread) / (1 + Z**2 / n), (centre + spread) / (1 + Z**2 / n)
    return float(max(0.0, low)), float(min(1.0, high))


def names(report: Mapping[str, Any]) -> list[str]:
    """The measures of an evaluation, as its JSON tells them."""
    return [key.removesuffix(EACH) for key in report if key.endswith(EACH)]
