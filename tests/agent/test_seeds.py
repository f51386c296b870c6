"""Seeds by name: stable, distinct, and disjoint between training and evaluation."""

from __future__ import annotations

import itertools

import pytest
import torch

from frmdn.agent.seeds import PURPOSES, RANGE, derive, episode_seeds, generator


def test_derived_seeds_never_change() -> None:
    """Written down: a change of the rule would silently change every run that is resumed."""
    assert derive(0) == 3_456_079_177_858_693_020
    assert derive(1, "collect") == 2_828_346_790_197_721_486
    assert derive(1, "step", 7) == 2_953_263_990_376_385_094


def test_derived_seeds_differ_by_root_name_and_order() -> None:
    names: list[tuple] = [
        (0,),
        (1,),
        (0, "a"),
        (0, "b"),
        (0, "a", "b"),
        (0, "b", "a"),
        (0, "a", 1),
        (0, "a", 11),
        (0, 0),
    ]
    seeds = [derive(*name) for name in names]
    assert len(set(seeds)) == len(seeds) and all(0 <= seed < 2**63 for seed in seeds)


def test_generator_repeats() -> None:
    first, again, other = (torch.rand(4, generator=generator(3, "step", s)) for s in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.parametrize("roots", [(0, 1), (7, 123_456_789)])
def test_purposes_never_share_an_episode_seed(roots: tuple[int, int]) -> None:
    """Whatever the roots: evaluation on one root never meets training on another."""
    sets = {purpose: {s for root in roots for s in episode_seeds(root, purpose, 3000)} for purpose in PURPOSES}
    for left, right in itertools.combinations(PURPOSES, 2):
        assert not sets[left] & sets[right]
    for index, purpose in enumerate(PURPOSES):
        assert all(index * RANGE <= seed < (index + 1) * RANGE for seed in sets[purpose])
    assert max(max(seeds) for seeds in sets.values()) < 2**31
    assert PURPOSES[:4] == ("collect", "evolve", "validate", "evaluate")  # moving one would change every run


def test_a_window_of_seeds_is_a_slice_of_the_whole() -> None:
    assert episode_seeds(5, "evolve", 4, start=6) == episode_seeds(5, "evolve", 10)[6:]
    seeds = episode_seeds(5, "evolve", 10_000)
    assert len(set(seeds)) == 10_000


def test_seeds_wrap_inside_their_own_range(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("frmdn.agent.seeds.derive", lambda *names: RANGE - 1)
    base = PURPOSES.index("validate") * RANGE
    assert episode_seeds(0, "validate", 3) == [base + RANGE - 1, base, base + 1]


def test_an_unknown_purpose_is_refused() -> None:
    with pytest.raises(ValueError, match="evaluate"):
        episode_seeds(0, "test", 1)
