"""The carrier of strokes, its simplification and its source: there and back, and nothing wrong gets in."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from frmdn.agent.strokes.generate import contexts
from frmdn.rollouts.sources import SegmentBatches, whole_batches
from frmdn.rollouts.sources.strokes.carrier import DRAW, END, LIFT, Strokes
from frmdn.rollouts.sources.strokes.simplify import simplified, simplify
from frmdn.rollouts.sources.strokes.source import Written, split_drawings, stroke_source


def drawing(seed: int, timed: bool = False, text: str = "") -> Strokes:
    rng = np.random.default_rng(seed)
    lines = [rng.normal(0, 3, (int(rng.integers(2, 6)), 2)) for _ in range(int(rng.integers(1, 4)))]
    clock = np.split(np.cumsum(rng.gamma(2.0, 0.1, sum(map(len, lines)))), np.cumsum(list(map(len, lines)))[:-1])
    return Strokes.of_lines(lines, clock if timed else None, text)


def test_lines_come_back() -> None:
    lines = [np.array([[1.0, 2], [3, 4], [3, 5]]), np.array([[0.0, 0]]), np.array([[5.0, 5], [6, 5]])]
    strokes = Strokes.of_lines(lines, [np.array([0.5, 1, 2]), np.array([3.0]), np.array([4.0, 4.5])])
    assert strokes.pen.tolist() == [DRAW, DRAW, LIFT, LIFT, DRAW, END]
    for found, line in zip(strokes.lines, lines, strict=True):
        np.testing.assert_allclose(found, line, atol=1e-6)
    assert strokes.clock is not None
    np.testing.assert_allclose(strokes.clock, [0.5, 1, 2, 3, 4, 4.5], atol=1e-6)


@pytest.mark.parametrize(
    ("offsets", "pen", "waits", "says"),
    [
        ([[0, 0], [1, 1]], [0, 1], None, "END"),
        ([[0, 0], [1, 1]], [2, 2], None, "END"),
        ([[0, np.nan]], [2], None, "NaN"),
        ([[0, 0], [1, 1]], [0, 2], [0.1, 0.0], "above 0"),
        ([[0, 0], [1, 1]], [2], None, r"pen \[N\]"),
    ],
)
def test_what_is_no_drawing_is_refused(offsets: list, pen: list, waits: list | None, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        times = None if waits is None else np.array(waits, np.float32)
        Strokes(np.array(offsets, np.float32), np.array(pen, np.uint8), times)


def peucker(line: np.ndarray, tolerance: float) -> list[int]:
    """The textbook's recursion."""

    def inner(first: int, last: int) -> list[int]:
        if last - first < 2:
            return []
        a, b = line[first], line[last]
        along = np.clip((line - a) @ (b - a) / max(((b - a) ** 2).sum(), 1e-300), 0, 1)
        distance = np.hypot(*(line - a - along[:, None] * (b - a)).T)[first + 1 : last]
        far = first + 1 + int(distance.argmax())
        return inner(first, far) + [far] + inner(far, last) if distance.max() > tolerance else []

    return sorted({0, *inner(0, len(line) - 1), len(line) - 1})


def test_all_lines_at_once_are_simplified_as_one_by_one() -> None:
    rng = np.random.default_rng(0)
    lines = [rng.normal(size=(n, 2)).cumsum(0) for n in (1, 2, 3, 50, 7, 200, 2)]
    lines.append(np.concatenate([lines[3], lines[3][:1]]))  # a closed one: its chord is a point
    for tolerance in (0.0, 0.7, 3.0, 1e9):
        found = [places.tolist() for places in simplify(lines, tolerance)]
        assert found == [peucker(line, tolerance) for line in lines]


def test_simplifying_keeps_ends_pens_and_the_times_of_what_stays() -> None:
    line = np.array([[0.0, 0], [1, 0.01], [2, 0], [2, 1]])
    strokes = Strokes.of_lines([line, line + 5], [np.arange(1.0, 5), np.arange(5.0, 9)], "ll")
    fewer = simplified(strokes, 0.1)
    assert len(fewer) == 6 and fewer.text == "ll"
    np.testing.assert_allclose(fewer.lines[1], line[[0, 2, 3]] + 5, atol=1e-6)
    assert fewer.clock is not None and fewer.clock.tolist() == [1, 3, 4, 5, 7, 8]
    with pytest.raises(ValueError, match="tolerance must be 0 or more"):
        simplify([line], -1.0)


@pytest.mark.parametrize("timed", [False, True])
def test_normalising_and_back_is_the_identity(timed: bool) -> None:
    found = {
        split: [drawing(i + 10 * j, timed) for i in range(5)] for j, split in enumerate(("train", "validation", "test"))
    }
    source = stroke_source("own", found, "units")
    assert source.outputs == 3 + timed and source.inputs == 5 + timed
    for strokes in found["test"]:
        back = source.scale.native(source.scale.normal(strokes))
        np.testing.assert_allclose(back.offsets, strokes.offsets, atol=1e-5)
        np.testing.assert_array_equal(back.pen, strokes.pen)
        if timed:
            np.testing.assert_allclose(back.waits, strokes.waits, rtol=1e-5)
    offsets = np.concatenate([each.offsets for each in found["train"]]) / source.scale.size
    assert abs(float(offsets.std()) - 1) < 1e-5
    if timed:
        waits = np.concatenate([each.waits for each in found["train"]]) / source.scale.wait
        assert abs(float(np.log(waits).mean())) < 1e-5


def test_an_end_in_the_middle_ends_the_drawing() -> None:
    source = stroke_source("own", {split: [drawing(0)] for split in ("train", "validation", "test")}, "units")
    rows = torch.tensor([[1.0, 0, 0], [1, 0, 2], [9, 9, 0], [9, 9, 2]])
    back = source.scale.native(rows)
    assert len(back) == 2 and back.pen.tolist() == [0, 2]
    assert source.scale.native(rows[:1]).pen.tolist() == [END]  # cut off before its end


def test_a_batch_tells_each_row_the_row_before() -> None:
    found = {split: [drawing(i, True) for i in range(40)] for split in ("train", "validation", "test")}
    source = stroke_source("own", found, "units")
    batch = SegmentBatches(source, 0)(0)
    assert batch.target.shape[2] == 4 and batch.context.shape[2] == 6
    assert (batch.context[:, 0] == 0).all()
    torch.testing.assert_close(batch.context[:, 1:, :2], batch.target[:, :-1, :2])
    torch.testing.assert_close(batch.context[:, 1:, 2].exp(), batch.target[:, :-1, 2])
    pens = batch.context[:, 1:, 3:].argmax(-1)
    assert (pens[batch.mask[:, 1:]] == batch.target[:, :-1, 3][batch.mask[:, 1:]]).all()
    assert torch.isfinite(batch.context).all()
    rows = sum(int(part.mask.sum()) for part in whole_batches(source, "test", 0))
    assert rows == sum(map(len, found["test"]))


def test_the_first_context_of_an_empty_past_is_zero() -> None:
    assert contexts(torch.zeros(2, 1, 3)).tolist() == [[[0.0] * 5], [[0.0] * 5]]


def test_texts_travel_with_their_drawings() -> None:
    texts = ["ab", "c", "bca"]
    found = {split: [drawing(i, text=texts[i]) for i in range(3)] for split in ("train", "validation", "test")}
    source = stroke_source("own", found, "units")
    assert source.scale.characters == "abc"
    seen = set()
    for batch in whole_batches(source, "test", 0):
        assert isinstance(batch, Written)
        for target, text, mask in zip(batch.target, batch.text, batch.mask, strict=True):
            word = "".join("abc"[code - 1] for code in text.tolist() if code)
            match = next(each for each in found["test"] if each.text == word)
            torch.testing.assert_close(target[mask], source.scale.normal(match))
            seen.add(word)
    assert seen == set(texts)
    with pytest.raises(ValueError, match="'d'"):
        source.scale.codes("bad")


def test_splits_share_nothing_and_stay() -> None:
    named = {f"n{i}": drawing(i) for i in range(50)}
    parts = split_drawings(named)
    ids = [id(each) for some in parts.values() for each in some]
    assert len(set(ids)) == len(ids) == 50
    again = split_drawings(dict(reversed(named.items())))
    assert {id(each) for each in again["test"]} == {id(each) for each in parts["test"]}


def test_a_source_names_what_is_missing() -> None:
    still = Strokes(np.zeros((2, 2), np.float32), np.array([0, 2], np.uint8))
    with pytest.raises(ValueError, match="own has no drawing for validation"):
        stroke_source("own", {"train": [still], "validation": [], "test": [still]}, "units")
    with pytest.raises(ValueError, match="own: the pen never moves"):
        stroke_source("own", {split: [still] for split in ("train", "validation", "test")}, "units")
