"""Spearman's correlation against known values, and controllers of a search found again by replaying it."""

from __future__ import annotations

import numpy as np
import pytest

from frmdn.controller.evolution import Evolution, SearchConfig
from frmdn.controller.replay import select
from frmdn.controller.transfer import rank_correlation, ranks


def test_ties_share_their_rank() -> None:
    assert ranks([10, 20, 20, 5]).tolist() == [2.0, 3.5, 3.5, 1.0]


@pytest.mark.parametrize(
    ("x", "y", "rho"),
    [
        ([1, 2, 3, 4], [10, 100, 1000, 10_000], 1.0),
        ([1, 2, 3, 4], [4, 3, 2, 1], -1.0),
        ([1, 2, 3, 4, 5], [2, 1, 4, 3, 5], 0.8),  # 1 - 6 * 4 / (5 * 24)
        ([1, 2, 2, 3], [1, 2, 3, 4], 4.5 / np.sqrt(4.5 * 5)),  # Pearson of 1, 2.5, 2.5, 4 and 1, 2, 3, 4
    ],
)
def test_rank_correlation_of_known_lists(x: list[float], y: list[float], rho: float) -> None:
    found = rank_correlation(x, y)
    assert found.value == pytest.approx(rho, abs=1e-12)
    assert -1 <= found.low <= found.high <= 1


def test_the_interval_covers_the_truth_and_narrows() -> None:
    """Of normal pairs with correlation 0.6, Spearman's rho is 6/pi asin(0.3) = 0.582."""
    rng, hits, widths = np.random.default_rng(0), 0, {}
    for n in (20, 80):
        for trial in range(20):
            x = rng.standard_normal(n)
            y = 0.6 * x + 0.8 * rng.standard_normal(n)
            found = rank_correlation(x, y, trial)
            widths.setdefault(n, []).append(found.high - found.low)
            hits += found.low <= 0.582 <= found.high
    assert hits >= 34  # of 40, 38 expected; how wide the interval is meant to be, the next test says
    assert np.mean(widths[80]) < 0.65 * np.mean(widths[20])


def test_the_interval_is_one_of_95_per_cent() -> None:
    """Its ends are the 2.5 % and the 97.5 % quantile of resampled correlations, drawn here once more and by hand."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal(60)
    y = 0.6 * x + 0.8 * rng.standard_normal(60)
    found = rank_correlation(x, y)
    drawn = []
    for _ in range(2000):
        rows = rng.integers(60, size=60)
        drawn.append(np.corrcoef(ranks(x[rows]), ranks(y[rows]))[0, 1])
    width = np.quantile(drawn, 0.975) - np.quantile(drawn, 0.025)
    assert found.high - found.low == pytest.approx(width, rel=0.07)  # one of 90 % is 16 % narrower, one of 99 % wider
    assert found.low == pytest.approx(np.quantile(drawn, 0.025), abs=0.025)
    assert found.high == pytest.approx(np.quantile(drawn, 0.975), abs=0.025)


def test_a_constant_side_ranks_nothing_and_bad_input_is_refused() -> None:
    assert np.isnan(rank_correlation([1, 1, 1], [1, 2, 3]).value)
    with pytest.raises(ValueError, match="at least 3"):
        rank_correlation([1, 2], [1, 2])
    with pytest.raises(ValueError, match="finite"):
        rank_correlation([1, 2, np.nan], [1, 2, 3])


def search(generations: int = 7) -> tuple[Evolution, list[np.ndarray], list[np.ndarray]]:
    """A short search on a sphere, and what it asked and where its mean stood before each generation, and at the end."""
    evolution, asked, means = Evolution(5, SearchConfig(population=6, sigma=0.5), 3), [], []
    for _ in range(generations):
        asked.append(evolution.ask())
        means.append(evolution.mean)
        evolution.tell(-((asked[-1] - 1) ** 2).sum(1))
    return evolution, asked, [*means, evolution.mean]


@pytest.mark.parametrize("count", [3, 8, 13])
def test_selected_controllers_are_those_of_the_search(count: int) -> None:
    evolution, asked, means = search()
    chosen = select(5, evolution.config, 3, evolution.state(), count)
    assert len(chosen) == count and len({one.name for one in chosen}) == count
    for one in chosen:
        if one.kind == "mean":
            np.testing.assert_allclose(one.theta, means[one.generation], rtol=1e-6)
            assert np.isnan(one.told)
        else:
            told = np.sort(-((asked[one.generation - 1] - 1) ** 2).sum(1))[::-1]
            assert one.told == pytest.approx(told[one.rank])
            assert -((one.theta.astype(float) - 1) ** 2).sum() == pytest.approx(one.told, abs=1e-4)
    assert {0, 7} <= {one.generation for one in chosen if one.kind == "mean"}
    ranks_taken = {one.rank for one in chosen if one.kind == "candidate"}
    assert count < 13 or len(ranks_taken) >= 4  # good and bad ones


def test_a_search_of_no_generation_has_its_start_alone() -> None:
    evolution = Evolution(5, SearchConfig(population=6), 3)
    (only,) = select(5, evolution.config, 3, evolution.state(), 10)
    assert only.name == "mean 0" and not only.theta.any()
    with pytest.raises(ValueError, match="count"):
        select(5, evolution.config, 3, evolution.state(), 0)
