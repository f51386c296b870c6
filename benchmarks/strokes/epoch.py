"""Strokes: an epoch of kanji, against a plain way to write it and against its LSTM alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import cast

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from frmdn.agent.strokes.density import StrokeDensity
from frmdn.rollouts.sources import SegmentBatches, Source, Steps
from frmdn.rollouts.sources.strokes.builtin import strokes as strokes_source

from ..row import Meter, Row

HIDDEN, COMPONENTS = 256, 10


def strokes(workers: int, meter: Meter) -> Iterator[Row]:
    torch.set_num_threads(workers)
    yield kanji_epoch(workers, meter, strokes_source("kanji"))


def kanji_epoch(workers: int, meter: Meter, source: Source) -> Row:
    """Points of kanji that train a prediction with full covariances; making the batches is counted."""
    works = {"ours": training(source), "classical": plainly(source), "limit": lstm_alone(source)}
    rates = meter.measure(works)
    points = sum(source.splits["train"].lengths)
    return Row(
        "strokes",
        rates["ours"],
        rates["classical"],
        "points/s",
        rates["limit"],
        f"kanji trained on, full covariances, LSTM {HIDDEN}, {COMPONENTS} components, batch {source.batch}, {workers} "
        f"threads: an epoch of {points:,} points in {points / rates['ours']:.0f} s; classical: an LSTMCell in a loop "
        "and torch's MixtureSameFamily of MultivariateNormal; limit: the LSTM alone on the points without padding, "
        f"forward and backward: {points / rates['limit']:.0f} s",
    )


def _feed(source: Source) -> Callable[[], Steps]:
    """The batches of an epoch, one after the other, and from the beginning again."""
    batches, step = SegmentBatches(source, 0), iter(range(2**31))
    return lambda: batches(next(step))


def training(source: Source) -> Callable[[], float]:
    """A step of Adam on the next batch; returns its points."""
    model = StrokeDensity("rmdn-low-rank", source.inputs, source.scale.timed, COMPONENTS, HIDDEN)
    adam, batch_of = torch.optim.Adam(model.parameters(), 1e-3, fused=True), _feed(source)

    def work() -> float:
        batch = batch_of()
        distribution, _ = model(batch.context)
        loss = -distribution.log_prob(batch.target, batch.mask).sum() / batch.mask.sum()
        adam.zero_grad(set_to_none=True)
        loss.backward()
        adam.step()
        return float(batch.mask.sum())

    return work


class Plain(nn.Module):
    """The same model, as one writes it first."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(inputs, HIDDEN)
        self.head = nn.Linear(HIDDEN, 6 * COMPONENTS + 3)

    def forward(self, context: Tensor, target: Tensor) -> Tensor:
        state, outputs = None, []
        for t in range(context.shape[1]):
            state = self.cell(context[:, t], state)
            outputs.append(state[0])
        raw = self.head(torch.stack(outputs, 1))
        logits, loc, log, lean = raw[..., :-3].split([COMPONENTS, 2 * COMPONENTS, 2 * COMPONENTS, COMPONENTS], -1)
        scale = log.unflatten(-1, (COMPONENTS, 2)).clamp(-7, 7).exp()
        root = torch.diag_embed(scale) + torch.zeros_like(scale).unsqueeze(-1)
        root = root + lean[..., None, None] * torch.tensor([[0.0, 0.0], [1.0, 0.0]])
        offsets = MultivariateNormal(loc.unflatten(-1, (COMPONENTS, 2)), scale_tril=root)
        mixture = MixtureSameFamily(Categorical(logits=logits), offsets)
        return mixture.log_prob(target[..., :2]) + Categorical(logits=raw[..., -3:]).log_prob(target[..., 2])


def plainly(source: Source) -> Callable[[], float]:
    """The same step with that model."""
    model = Plain(source.inputs)
    adam, batch_of = torch.optim.Adam(model.parameters(), 1e-3), _feed(source)

    def work() -> float:
        batch = batch_of()
        loss = -(model(batch.context, batch.target) * batch.mask).sum() / batch.mask.sum()
        adam.zero_grad()
        loss.backward()
        adam.step()
        return float(batch.mask.sum())

    return work


def lstm_alone(source: Source) -> Callable[[], float]:
    """The LSTM forward and backward on as many points, with no padding among them, and nothing else."""
    lstm, batch_of = nn.LSTM(source.inputs, HIDDEN, batch_first=True), _feed(source)

    def work() -> float:
        batch = batch_of()
        points = int(batch.mask.sum())
        rows = points // source.batch
        features, _ = cast(tuple[Tensor, object], lstm(batch.context[:, : min(rows, batch.context.shape[1])]))
        lstm.zero_grad(set_to_none=True)
        features.sum().backward()
        return float(features.shape[0] * features.shape[1])

    return work
