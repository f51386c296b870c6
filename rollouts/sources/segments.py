"""Batches of a source: for training a pure function of (seed, step), for measuring every sequence once and whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from frmdn.agent.seeds import derive, generator

from .sequences import Source, Split, Steps

TOKENS = 8_192  # steps of a batch that is only measured: bounds the memory of the widest mixture


class SegmentBatches:
    """Training batches of a source, the same for the same seed and step, in an epoch's random order without repeats.

    Sequences longer than `source.length` rows are cut into segments, each epoch at another place, so that a model sees
    no fixed beginnings. What does not fill a last batch waits for another epoch. Noise is new at every step.

    Args:
        source: where the sequences come from; its training split is used.
        seed: of order, cuts and noise.
    """

    def __init__(self, source: Source, seed: int) -> None:
        self.source, self.seed = source, seed
        self.split = source.splits["train"]
        self._rows = np.asarray(self.split.lengths, np.int64)
        longest = int(self._rows.max())
        self._advance = (min(source.length, longest) if source.length else longest) - source.overlap
        least = int(np.ceil((self._rows - source.overlap) / self._advance).sum())
        self.size = min(source.batch, least)
        self.steps = least // self.size  # of an epoch
        self._epoch: tuple[int, np.ndarray] | None = None

    def __call__(self, step: int) -> Steps:
        """The batch of a step."""
        epoch, place = divmod(step, self.steps)
        if self._epoch is None or self._epoch[0] != epoch:
            self._epoch = epoch, self._cut(epoch)
        chosen = self._epoch[1][place * self.size : (place + 1) * self.size].tolist()
        raw, mask = padded([self.split.rows(*segment) for segment in chosen])
        return self.source.prepare(raw, mask, generator(self.seed, "noise", step))

    def _cut(self, epoch: int) -> np.ndarray:
        """The segments (sequence, start, stop) of an epoch, shuffled: i64[N,3]."""
        rng = np.random.default_rng(derive(self.seed, "epoch", epoch))
        overlap, advance = self.source.overlap, self._advance
        found = []
        for index, rows in enumerate(self._rows.tolist()):
            end = rows - overlap
            shift = int(rng.integers(advance)) if end > advance else 0
            for start in range(shift - advance if shift else 0, end, advance):
                found.append((index, max(start, 0), min(start + advance, end) + overlap))
        segments = rng.permutation(np.asarray(found, np.int64))
        return segments if self.source.alike == 1 else self._alike(segments, rng)

    def _alike(self, segments: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The batches of an epoch, each of like lengths: those that are drawn together are sorted, not the epoch."""
        whole = self.steps * self.size
        for start in range(0, whole, self.source.alike * self.size):
            drawn = segments[start : min(start + self.source.alike * self.size, whole)]
            batches = drawn[np.argsort(drawn[:, 2] - drawn[:, 1], kind="stable")].reshape(-1, self.size, 3)
            segments[start : start + len(drawn)] = rng.permutation(batches).reshape(-1, 3)
        return segments


def whole_batches(source: Source, split: str, seed: int, limit: int | None = None) -> Iterator[Steps]:
    """Sequences of a split once and whole, each in the company of its own length; the noise depends on the seed alone.

    With a `limit`, a fixed selection of about so many rows, spread evenly over the split.
    """
    sequences: Split = source.splits[split]
    lengths = np.asarray(sequences.lengths)
    keep = np.arange(len(lengths))
    if limit is not None and lengths.sum() > limit:
        keep = np.unique(np.linspace(0, len(keep) - 1, max(1, round(limit / lengths.mean()))).round().astype(int))
    order = keep[np.argsort(lengths[keep], kind="stable")].tolist()
    group: list[int] = []
    for index in order:
        if group and (len(group) + 1) * sequences.lengths[index] > TOKENS:
            yield _measured(source, sequences, group, seed)
            group = []
        group.append(index)
    if group:
        yield _measured(source, sequences, group, seed)


def _measured(source: Source, sequences: Split, group: Sequence[int], seed: int) -> Steps:
    raw, mask = padded([sequences.rows(index, 0, sequences.lengths[index]) for index in group])
    return source.prepare(raw, mask, generator(seed, "noise", group[0]))


def padded(sequences: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Sequences [S,R] of several lengths as f32[B,S,R] with zeros behind, and their mask bool[B,S]."""
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    raw = torch.nn.utils.rnn.pad_sequence(list(sequences), batch_first=True)
    return raw, torch.arange(raw.shape[1]) < lengths[:, None]
