"""Batches: pure functions of (seed, step), every row once an epoch, nothing held out seen in training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from frmdn.rollouts.sources import Held, SegmentBatches, Source, Steps, shifted, split_names, whole_batches

LENGTHS = [5, 17, 40, 3, 23]


def prepare(raw: Tensor, mask: Tensor, noise: torch.Generator) -> Steps:
    target = raw + 0.01 * torch.rand(raw.shape, generator=noise)
    return Steps(shifted(target), target, mask, torch.zeros(mask.shape))


def source(**changes: Any) -> Source:
    """Row t of sequence i holds 100 i + t, so that every row is known again."""
    sequences = [torch.arange(n, dtype=torch.float32)[:, None] + 100 * i for i, n in enumerate(LENGTHS)]
    splits = {"train": Held(sequences), "validation": Held(sequences[:2]), "test": Held(sequences[2:])}
    settings: dict[str, Any] = {"batch": 2, "scale": None} | changes
    return Source("rows", 1, 1, "nats", splits, prepare, **settings)


def rows(batch: Steps) -> list[int]:
    return sorted(batch.target[batch.mask].floor().long().flatten().tolist())


EVERY = sorted(100 * i + t for i, n in enumerate(LENGTHS) for t in range(n))


def test_batches_are_functions_of_seed_and_step() -> None:
    one, other = SegmentBatches(source(length=6), 3), SegmentBatches(source(length=6), 3)
    forward = [one(step) for step in range(12)]
    for step in reversed(range(12)):
        again = other(step)
        assert torch.equal(again.target, forward[step].target) and torch.equal(again.mask, forward[step].mask)
    assert not torch.equal(SegmentBatches(source(length=6), 4)(0).target, forward[0].target)


def test_an_epoch_of_whole_sequences_sees_each_once() -> None:
    batches = SegmentBatches(source(batch=1), 0)
    assert batches.steps == len(LENGTHS)
    for epoch in range(3):
        seen = [row for step in range(batches.steps) for row in rows(batches(epoch * batches.steps + step))]
        assert sorted(seen) == EVERY


@pytest.mark.parametrize("overlap", [0, 1])
def test_segments_of_an_epoch_cover_the_sequences_without_repeats(overlap: int) -> None:
    batches = SegmentBatches(source(batch=1, length=6, overlap=overlap), 0)
    cuts = {tuple(map(tuple, batches._cut(epoch).tolist())) for epoch in range(5)}
    assert len(cuts) == 5  # each epoch at other places
    for epoch in range(5):
        steps = [
            (index, t) for index, start, stop in batches._cut(epoch).tolist() for t in range(start + overlap, stop)
        ]
        assert sorted(steps) == [(i, t) for i, n in enumerate(LENGTHS) for t in range(overlap, n)]
        assert all(stop - start <= 6 for _, start, stop in batches._cut(epoch).tolist())


def test_padding_is_masked_and_noise_is_new_at_every_step() -> None:
    batches = SegmentBatches(source(batch=5), 0)
    first, second = batches(0), batches(batches.steps)
    assert first.target.shape == (5, 40, 1) and sorted(first.mask.sum(1).tolist()) == sorted(LENGTHS)
    assert rows(first) == rows(second) == EVERY
    assert not torch.equal(first.target.sort(0).values, second.target.sort(0).values)


def test_measuring_visits_every_sequence_once_with_the_same_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("frmdn.rollouts.sources.segments.TOKENS", 30)
    batches, again = (list(whole_batches(source(), "train", 7)) for _ in range(2))
    assert len(batches) > 1 and sorted(row for batch in batches for row in rows(batch)) == EVERY
    assert all(torch.equal(a.target, b.target) for a, b in zip(batches, again, strict=True))


def test_a_limit_selects_sequences_over_the_whole_split() -> None:
    chosen = [row for batch in whole_batches(source(), "train", 0, limit=40) for row in rows(batch)]
    assert {row // 100 for row in chosen} == {0, 4} and set(chosen) < set(EVERY)


def test_the_context_is_the_target_before() -> None:
    target = torch.arange(12.0).reshape(2, 3, 2)
    context = shifted(target)
    assert not context[:, 0].any() and torch.equal(context[:, 1:], target[:, :-1])


def test_splits_depend_on_names_alone() -> None:
    names = [f"speaker-{i}/clip.wav" for i in range(40)]
    parts = split_names(names)
    assert [len(parts[key]) for key in ("train", "validation", "test")] == [32, 4, 4]
    assert sorted(place for places in parts.values() for place in places) == list(range(40))
    turned = split_names(names[::-1])
    for key, places in parts.items():
        assert {names[i] for i in places} == {names[::-1][i] for i in turned[key]}
    with pytest.raises(ValueError, match="at least 3"):
        split_names(names[:2])


def test_alike_batches_have_little_padding_and_miss_nobody() -> None:
    """Each sequence once an epoch, in batches of like lengths, in another order every epoch."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(2, 60, 130).tolist()
    held = Held([torch.full((n, 1), float(i)) for i, n in enumerate(lengths)])

    def plain(raw: Tensor, mask: Tensor, noise: torch.Generator) -> Steps:
        return Steps(raw, raw, mask, torch.zeros(mask.shape))

    def batches(alike: int, seed: int = 0) -> SegmentBatches:
        splits = dict.fromkeys(("train", "validation", "test"), held)
        return SegmentBatches(Source("own", 1, 1, "", splits, plain, None, 8, alike=alike), seed)

    def padding(found: SegmentBatches) -> float:
        masks = [found(step).mask for step in range(found.steps)]
        return 1 - sum(int(m.sum()) for m in masks) / sum(m.numel() for m in masks)

    sorted_ = batches(8)
    for epoch in range(2):
        seen = [int(row[0, 0]) for s in range(16) for row in sorted_(16 * epoch + s).target]
        assert len(seen) == len(set(seen)) == 128
    first, second = ([tuple(sorted_(16 * e + s).target[:, 0, 0].tolist()) for s in range(16)] for e in range(2))
    assert not set(first) & set(second)
    assert padding(sorted_) < 0.5 * padding(batches(1))
    assert (batches(8)(5).target == sorted_(5).target).all()  # the step alone says which batch
    sizes = [sorted_(s).mask.shape[1] for s in range(8)]
    assert sizes != sorted(sizes)  # short ones do not come first
