"""Batches from stores: pure functions of (seed, step), so that training resumes anywhere, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from frmdn.agent.batch import SequenceBatch
from frmdn.agent.seeds import derive, generator

from .episodes.joined import Episodes, LatentSource
from .latents import Latents

T = TypeVar("T")
EPISODES = 32  # episodes whose frames meet in one block: enough to make a batch diverse, few enough to read


def split(indices: Sequence[int], validation: float = 0.05, seed: int = 0) -> tuple[list[int], list[int]]:
    """Episodes for training and for validation, each ascending; the same for the same seed.

    Both get at least one episode where there are two or more; a single episode serves for both.
    """
    if not 0 <= validation < 1:
        raise ValueError(f"validation must be in 0 <= validation < 1, not {validation}")
    ordered = sorted(indices)
    if len(ordered) < 2:
        return ordered, ordered
    count = min(max(1, round(validation * len(ordered))), len(ordered) - 1)
    chosen = set(_rng(seed, "split").permutation(len(ordered))[:count].tolist())
    train = [index for place, index in enumerate(ordered) if place not in chosen]
    return train, [index for place, index in enumerate(ordered) if place in chosen]


class FrameBatches:
    """Batches of frames for Vision: u8[B,H,W,C] for any step, every frame of every episode equally likely.

    An epoch visits the episodes in a new random order and takes the same share of each (one frame at least), a new
    random subset of its frames. These streams, end to end, are cut into blocks; a block is shuffled and cut into
    batches. While one block is used, a thread reads the next. At most two blocks are in memory.

    Args:
        store: the episodes.
        indices: which of them to use.
        batch_size: B.
        seed: of all choices.
        memory: bytes that the two blocks may take.
    """

    def __init__(
        self, store: Episodes, indices: Sequence[int], batch_size: int, seed: int, *, memory: int = 200_000_000
    ) -> None:
        _check(indices, batch_size)
        self.store, self.indices, self.batch_size, self.seed = store, list(indices), batch_size, seed
        self._lengths = np.array([store.summary(index).steps + 1 for index in self.indices])
        frame = store.read_frames(self.indices[0], np.array([0]))
        self._shape = frame.shape[1:]
        self.per_block = int(np.clip(memory // 2 // (batch_size * frame.nbytes), 1, 64))
        episodes = min(EPISODES, len(self.indices))
        share = min(1.0, self.per_block * batch_size / (episodes * self._lengths.mean()))
        self._quota = np.maximum(1, np.round(share * self._lengths)).astype(np.int64)
        self._blocks = _Ahead(self._block)

    def __call__(self, step: int) -> Tensor:
        """The batch of a step, u8[B,H,W,C]."""
        block, place = divmod(step, self.per_block)
        return self._blocks(block)[place * self.batch_size : (place + 1) * self.batch_size]

    def close(self) -> None:
        """Drop the blocks and end the reading thread; the batches can be used again."""
        self._blocks.close()

    def _block(self, block: int) -> Tensor:
        """Frames u8[per_block * B,H,W,C] of one block, shuffled."""
        size = self.per_block * self.batch_size
        place = _rng(self.seed, "block", block).permutation(size)
        out = np.empty((size, *self._shape), np.uint8)
        first = 0
        for frames in self._stream(block * size, (block + 1) * size):
            out[place[first : first + len(frames)]] = frames
            first += len(frames)
        return torch.from_numpy(out)

    def _stream(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Positions start to stop-1 of the endless stream of epochs, one array of frames per episode."""
        size = int(self._quota.sum())
        while start < stop:
            epoch, offset = divmod(start, size)
            count = min(stop - start, size - offset)
            yield from self._epoch_part(epoch, offset, offset + count)
            start += count

    def _epoch_part(self, epoch: int, start: int, stop: int) -> Iterator[np.ndarray]:
        order = _rng(self.seed, "epoch", epoch).permutation(len(self.indices))
        last = np.cumsum(self._quota[order])
        for slot in range(int(np.searchsorted(last, start, side="right")), len(order)):
            which, base = order[slot], int(last[slot] - self._quota[order[slot]])
            if base >= stop:
                return
            chosen = _rng(self.seed, "frames", epoch, self.indices[which]).permutation(self._lengths[which])
            rows = chosen[max(start - base, 0) : min(stop - base, int(self._quota[which]))]
            yield self.store.read_frames(self.indices[which], np.sort(rows))


class LatentBatches:
    """Batches of latent sequences for Memory: a SequenceBatch of `length` transitions for any step.

    A segment starts at a place s drawn uniformly from -(length-1) ... T-1 and moved into 0 ... T-length, and episodes
    are drawn in proportion to their number of such places. So every transition, the first and the last included, is
    at least as likely as one in the middle of a long episode (and less than three times), and segments that begin
    where the episode begins, as acting does, are no rarity. Memory starts every segment from its zero state.
    Shorter episodes are padded on the right with zeros.
    Latents are sampled anew for every step: z = mean + noise * exp(logvar / 2) * eps.

    Args:
        latents: the stored moments.
        indices: which episodes to use.
        batch_size: B.
        length: transitions a segment, L.
        seed: of all choices and noise.
        memory: bytes of moments kept; of episodes beyond it, just the segment needed is read from disk.
        noise: standard deviations of the samples, in those of the vision's uncertainty; 0 gives the means.
    """

    def __init__(
        self,
        latents: LatentSource,
        indices: Sequence[int],
        batch_size: int,
        length: int,
        seed: int,
        *,
        memory: int = 512_000_000,
        noise: float = 1.0,
    ) -> None:
        _check(indices, batch_size)
        if not noise >= 0:
            raise ValueError(f"noise must not be negative, not {noise}")
        if length < 1:
            raise ValueError(f"length must be at least 1, not {length}")
        self.latents, self.indices, self.batch_size, self.length = latents, list(indices), batch_size, length
        self.seed, self._free, self.noise = seed, memory, noise
        shapes = np.array([latents.shape(index) for index in self.indices])
        if (shapes[:, 1:] != shapes[0, 1:]).any():
            raise ValueError(f"{latents.folder} mixes latent or action sizes; delete it and run `frmdn encode` again")
        self._steps, (self._latent, self._action) = shapes[:, 0], shapes[0, 1:].tolist()
        self._places = np.cumsum(self._steps + length - 1)
        self._kept: dict[int, Latents] = {}
        self._batches = _Ahead(self._batch)

    def __call__(self, step: int) -> SequenceBatch:
        """The batch of a step."""
        return self._batches(step)

    def close(self) -> None:
        """Drop what is kept and end the reading thread; the batches can be used again."""
        self._batches.close()
        self._free += sum(kept.nbytes for kept in self._kept.values())
        self._kept.clear()

    def segments(self, step: int) -> list[tuple[int, int, int]]:
        """(position in `indices`, start, stop) of each segment of a step; start and stop count transitions."""
        place = _rng(self.seed, "segments", step).integers(self._places[-1], size=self.batch_size)
        which = np.searchsorted(self._places, place, side="right")
        # places of an episode end at `_places`, and its last one is the transition T-1
        last = np.maximum(self._steps[which] - self.length, 0)
        start = np.clip(place - self._places[which] + self._steps[which], 0, last)
        stop = np.minimum(start + self.length, self._steps[which])
        return list(zip(which.tolist(), start.tolist(), stop.tolist(), strict=True))

    def _batch(self, step: int) -> SequenceBatch:
        b, t = self.batch_size, self.length
        mean, logvar = (torch.zeros(b, t + 1, self._latent) for _ in range(2))
        actions, rewards, ends = torch.zeros(b, t, self._action), torch.zeros(b, t), torch.zeros(b, t)
        mask, real = torch.zeros(b, t, dtype=torch.bool), torch.zeros(b, t + 1, 1)
        targets = [tensor.numpy() for tensor in (mean, logvar, actions, rewards, ends)]
        for row, (which, start, stop) in enumerate(self.segments(step)):
            part = self._read(which, start, stop)
            for target, source in zip(
                targets, (part.mean, part.logvar, part.actions, part.rewards, part.end), strict=True
            ):
                target[row, : len(source)] = source
            mask[row, : stop - start] = True
            real[row, : stop - start + 1] = 1
        noise = torch.randn(b, t + 1, self._latent, generator=generator(self.seed, "noise", step))
        if self.noise != 1:
            noise.mul_(self.noise)
        z = noise.mul_(logvar.mul_(0.5).exp_()).add_(mean).mul_(real)  # [B,L+1,Z]; padding stays zero
        return SequenceBatch(z, actions, rewards, ends, mask)

    def _read(self, which: int, start: int, stop: int) -> Latents:
        """A segment, from memory where the episode is kept or fits, from disk otherwise; the values are the same."""
        index = self.indices[which]
        if index not in self._kept:
            size = 4 * int(self._steps[which] * (2 * self._latent + self._action + 2) + 2 * self._latent)
            if size > self._free:
                return self.latents.read_slice(index, start, stop)
            self._kept[index], self._free = self.latents.read(index), self._free - size
        kept, ends, span = self._kept[index], slice(start, stop + 1), slice(start, stop)
        return Latents(kept.mean[ends], kept.logvar[ends], kept.actions[span], kept.rewards[span], kept.end[span])


class _Ahead(Generic[T]):
    """Remembers make(key) of the present key, and prepares that of the next in a thread. `make` must be pure."""

    def __init__(self, make: Callable[[int], T]) -> None:
        self._make, self._futures = make, dict[int, Future[T]]()
        self._thread: ThreadPoolExecutor | None = None

    def __call__(self, key: int) -> T:
        if key < 0:
            raise ValueError(f"steps count from 0, and cannot be {key}")
        if self._thread is None:
            self._thread = _single_threaded()
        for stale in [k for k in self._futures if k not in (key, key + 1)]:
            self._futures.pop(stale).cancel()
        for k in (key, key + 1):
            if k not in self._futures:
                self._futures[k] = self._thread.submit(self._make, k)
        try:
            return self._futures[key].result()
        except BaseException:
            self._futures.pop(key, None)  # a mended file must be read again, not fail again
            raise

    def close(self) -> None:
        if self._thread is not None:
            self._thread.shutdown(wait=True, cancel_futures=True)
        self._thread = None
        self._futures.clear()


def _single_threaded() -> ThreadPoolExecutor:
    """A thread whose torch operations stay on one core.

    With a second team of OpenMP threads there would be more of them than cores, and libgomp then puts all to sleep at
    every barrier: training on two threads would take twice its time.
    """
    threads, pool = torch.get_num_threads(), ThreadPoolExecutor(1, "batches")
    pool.submit(_take_one_core).result()
    torch.set_num_threads(threads)  # for threads to come; those that have asked for their number keep it
    return pool


def _take_one_core() -> None:
    torch.set_num_threads(1)
    torch.get_num_threads()  # a thread takes the number of the moment when it first asks, which is now


def _check(indices: Sequence[int], batch_size: int) -> None:
    if not indices:
        raise ValueError("indices is empty; there must be at least one episode to make batches of")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, not {batch_size}")


def _rng(seed: int, *names: str | int) -> np.random.Generator:
    return np.random.default_rng(derive(seed, *names))
