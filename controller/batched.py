"""A whole generation of dreams as one batch that stays on its device: all candidates, all episodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from frmdn.agent.agent import Controller, select_features
from frmdn.agent.dream import Dream, DreamState, Noise
from frmdn.agent.rows import map_rows, put_rows
from frmdn.agent.seeds import derive, generator
from frmdn.envs.dream import CHUNK
from frmdn.envs.spec import EnvSpec
from frmdn.rollouts.job import StallRule

from .fitness import Returns, Trial


class BatchedDreams:
    """Returns of candidates in dreams that run side by side, for a GPU; a `Fitness`.

    What `DreamSlots` dreams under a `Runner`, with the same starts, dreamers, random numbers, ends and stall rule, and
    so the same returns but for the last digits of a product. The other way a worker refills free slots and the host
    sees every step. Here every episode has a row of its own until the last one is over, and the host looks every CHUNK
    steps whether any is alive. Random numbers are drawn on the CPU by the seeds: all candidates share them, so they are
    few. On a GPU of CUDA one transition is recorded once and played again (CUDA graph), where the model allows that.

    Args:
        spec: the world that is dreamt of.
        controller: as the candidates' parameters say.
        features: what it sees.
        dreams: one, or an ensemble of one make: a seed names the dreamer. All of them on the device.
        starts: N states for each dream, on the device.
        max_steps: transitions at most.
        stall: ends hopeless dreams.
    """

    def __init__(
        self,
        spec: EnvSpec,
        controller: Controller,
        features: str,
        dreams: Sequence[Dream],
        starts: Sequence[DreamState],
        *,
        max_steps: int,
        stall: StallRule | None = None,
    ) -> None:
        if len(dreams) != len(starts) or not dreams:
            raise ValueError(f"every dream needs starts of its own: {len(dreams)} dreams, {len(starts)} starts")
        self.spec, self.controller, self.features, self.stall = spec, controller, features, stall
        self.dreams, self.starts = tuple(dreams), tuple(starts)
        self.limit = min(max_steps, spec.max_steps)
        self.device = self.starts[0].z.device
        self.recorded: bool | None = None  # whether CUDA graphs play the steps; None before the first one, or elsewhere
        self._batches: dict[tuple[int, int], tuple[Batch, Callable[[], None]]] = {}

    @torch.no_grad()
    def measure(self, trials: Sequence[Trial]) -> list[Returns]:
        """Returns [P,S] of every trial. Raises ValueError where a controller or a dream gives NaN or infinity."""
        for theta, seeds, _ in trials:
            if theta.ndim != 2 or theta.shape[1] != self.controller.size or not len(theta) or not len(seeds):
                raise ValueError(
                    f"a trial needs seeds and theta [P,{self.controller.size}], not {len(seeds)} and {theta.shape}"
                )
        shape = sum(len(t.theta) * len(t.seeds) for t in trials), sum(len(t.seeds) for t in trials)
        if shape not in self._batches:
            made = Batch(self, *shape)
            self._batches[shape] = made, self._recording(made)
        batch, step = self._batches[shape]
        longest = batch.begin(trials)
        for t in range(longest):
            step()
            if (t + 1) % CHUNK == 0 and not bool(batch.alive.any()):
                break
        return self._fold(trials, batch)

    def _recording(self, batch: Batch) -> Callable[[], None]:
        """One transition of the batch: as a CUDA graph where there is CUDA and the model can be recorded."""
        if self.device.type != "cuda":
            return batch.step
        with torch.cuda.device(self.device):
            try:
                play, self.recorded = record(batch.step), True
            except RuntimeError:  # an operation that waits for the GPU; it works all the same, step by step
                torch.cuda.synchronize()
                play, self.recorded = batch.step, False
        return play

    def _fold(self, trials: Sequence[Trial], batch: Batch) -> list[Returns]:
        total, steps, bad = (x.cpu().numpy() for x in (batch.total, batch.steps, batch.bad))
        if bad.any():
            raise ValueError("a controller gave NaN as action: its parameters or its features hold NaN")
        if not np.isfinite(total).all():
            raise ValueError("rewards of a dream are not finite: look for NaN in the weights of the memory")
        found, first = [], 0
        for theta, seeds, _ in trials:
            rows, form = slice(first, first + len(theta) * len(seeds)), (len(theta), len(seeds))
            found.append(Returns(total[rows].astype(np.float64).reshape(form), steps[rows].reshape(form)))
            first = rows.stop
        return found


class Batch:
    """The rows of one shape, R episodes on S seeds: tensors that stay where they are, as a CUDA graph needs it."""

    def __init__(self, dreams: BatchedDreams, rows: int, seeds: int) -> None:
        self.of, device = dreams, dreams.device
        like, span = dreams.starts[0].z, -(-dreams.limit // CHUNK) * CHUNK
        exact = torch.float32 if device.type == "mps" else torch.float64  # the CPU adds up in float64 too
        zeros = torch.zeros(rows, dtype=torch.int64, device=device)
        self.theta = torch.zeros(rows, dreams.controller.size, dtype=like.dtype, device=device)
        self.states = [map_rows(lambda tensor: tensor[zeros].clone(), start) for start in dreams.starts]
        self.z = self.states[0].z  # of all rows; each dream keeps a memory of every row, and dreams its own ones
        self.uniform = torch.zeros(span, seeds, 2, dtype=like.dtype, device=device)
        self.normal = torch.zeros(span, seeds, dreams.dreams[0].noise, dtype=like.dtype, device=device)
        self.seed, self.who, self.limit = zeros.clone(), zeros.clone(), zeros.clone()
        self.steps, self.gain = zeros.clone(), zeros.clone()
        self.total = torch.zeros(rows, dtype=exact, device=device)
        self.alive = torch.zeros(rows, dtype=torch.bool, device=device)
        self.bad = torch.zeros(rows, dtype=torch.bool, device=device)
        self.t = torch.zeros(1, dtype=torch.int64, device=device)

    def begin(self, trials: Sequence[Trial]) -> int:
        """Put every row at its start; the steps of the longest episode."""
        of, device = self.of, self.of.device
        seeds = [seed for trial in trials for seed in trial.seeds]
        limits = [min(of.limit, trial.max_steps or of.limit) for trial in trials]
        who = np.array([derive(seed, "dream", "dreamer") % len(of.dreams) for seed in seeds])
        places = [derive(s, "dream", "start") % len(of.starts[w].z) for s, w in zip(seeds, who.tolist(), strict=True)]
        place = np.array(places)
        column, rows, caps, first = [], [], [], 0
        for (theta, own, _), limit in zip(trials, limits, strict=True):
            column.append(np.tile(np.arange(first, first + len(own)), len(theta)))
            rows.append(np.repeat(np.asarray(theta, np.float32), len(own), 0))
            caps.append(np.full(len(theta) * len(own), limit))
            first += len(own)
        seed = np.concatenate(column)

        def put(target: Tensor, values: np.ndarray) -> None:
            target.copy_(torch.from_numpy(np.ascontiguousarray(values)))

        put(self.theta, np.concatenate(rows))
        put(self.seed, seed)
        put(self.who, who[seed])
        put(self.limit, np.concatenate(caps))
        start = torch.from_numpy(place[seed]).to(device)
        for state, source in zip(self.states, of.starts, strict=True):
            put_rows(state, slice(None), source, start)
        for w in range(1, len(of.dreams)):
            self.z.copy_(torch.where((self.who == w).unsqueeze(1), of.starts[w].z[start], self.z))
        self._draw(seeds, max(limits))
        for counter in (self.steps, self.gain, self.total, self.bad, self.t):
            counter.zero_()
        self.alive.fill_(True)
        return max(limits)

    def _draw(self, seeds: Sequence[int], steps: int) -> None:
        """The random numbers of each seed, in the order in which `DreamSlots` draws them."""
        span = -(-steps // CHUNK) * CHUNK
        uniform = torch.zeros(len(seeds), span, 2, dtype=self.uniform.dtype)
        normal = torch.zeros(len(seeds), span, self.normal.shape[-1], dtype=self.normal.dtype)
        for row, seed in enumerate(seeds):
            source = generator(seed, "dream", "noise")
            for first in range(0, span, CHUNK):
                uniform[row, first : first + CHUNK].uniform_(generator=source)
                normal[row, first : first + CHUNK].normal_(generator=source)
        self.uniform[:span].copy_(uniform.transpose(0, 1))
        self.normal[:span].copy_(normal.transpose(0, 1))

    @torch.no_grad()
    def step(self) -> None:
        """One transition of all rows, dead ones too; nothing here waits for the device, and no tensor changes place."""
        of = self.of
        seen = select_features(of.features, self.z, self.states[0].memory)
        raw = of.controller.act(self.theta, seen)
        actions = of.spec.action.squash_unchecked(raw)
        self.bad |= self.alive & raw.isnan().any(1)
        noise = Noise(self._now(self.uniform), self._now(self.normal))
        z, reward, done = self.z, None, None
        for w, dream in enumerate(of.dreams):
            after, r, d = dream.step(DreamState(self.z, self.states[w].memory), actions, noise=noise)
            put_rows(self.states[w].memory, slice(None), after.memory)
            mine = self.who == w
            z = after.z if w == 0 else torch.where(mine.unsqueeze(1), after.z, z)
            reward = r if reward is None else torch.where(mine, r, reward)
            done = d if done is None else torch.where(mine, d, done)
        assert reward is not None and done is not None
        self.z.copy_(z)
        self._count(reward, done)

    def _now(self, numbers: Tensor) -> Tensor:
        """This step's random numbers [R,*] out of those of all steps and seeds."""
        return numbers.index_select(0, self.t)[0].index_select(0, self.seed)

    def _count(self, reward: Tensor, done: Tensor) -> None:
        """What a `Runner` does with a step: add up, and see who is over."""
        stall = self.of.stall
        self.t += 1
        self.total += torch.where(self.alive, reward, torch.zeros_like(reward))
        self.steps += self.alive
        over = done | (self.steps >= self.limit)
        if stall is not None:
            self.gain.copy_(torch.where(reward > 0, self.steps, self.gain))
            stalled = self.alive & ~over & (self.steps - self.gain >= stall.steps)
            if stall.idle_reward is not None:
                saved = stall.idle_reward * (self.limit - self.steps).to(self.total.dtype)
                self.total += torch.where(stalled, saved, torch.zeros_like(saved))
            over = over | stalled
        self.alive &= ~over


def record(step: Callable[[], None]) -> Callable[[], None]:
    """A step of tensors that stay in place as a CUDA graph: what plays it again, without Python in between.

    RuntimeError where something in it cannot be recorded. The step is made a few times before, so its state is lost.
    """
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    play: Callable[[], None] = graph.replay
    return play
