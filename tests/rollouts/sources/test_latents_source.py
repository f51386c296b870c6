"""Latents of a run folder: in step with the actions, sampled or as means, whole episodes held out."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from frmdn.rollouts.episodes.episode import StoreError
from frmdn.rollouts.latents import Latents, LatentStore
from frmdn.rollouts.sources import SegmentBatches, whole_batches
from frmdn.rollouts.sources.latents import latents

Z, A = 3, 2


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Ten episodes; latent t of episode i holds 1000 i + t, action t of it 1000 i + t + 1/2."""
    store = LatentStore(tmp_path / "run" / "latents")
    for i in range(10):
        steps = 30 + 17 * i
        place = 1000.0 * i + np.arange(steps + 1, dtype=np.float32)[:, None]
        logvar = np.full((steps + 1, Z), -2.0 - i, np.float32)
        action = np.repeat(place[:-1] + 0.5, A, 1)
        zero = np.zeros(steps, np.float32)
        store.write(i, Latents(np.repeat(place, Z, 1), logvar, action, zero, zero))
    return tmp_path / "run"


def test_means_are_in_step(run: Path) -> None:
    source = latents(run, sampled=False)
    assert (source.name, source.inputs, source.outputs, source.floor) == ("latents-mean", Z + A, Z, None)
    seen = set()
    batches = SegmentBatches(source, 0)
    for step in range(2 * batches.steps):
        batch = batches(step)
        context, target = batch.context[batch.mask], batch.target[batch.mask]
        assert torch.equal(context[:, 0] + 1, target[:, 0]) and torch.equal(context[:, Z], context[:, 0] + 0.5)
        assert batch.target.shape[1] <= 100 and not batch.log_jacobian.any()
        seen |= {int(t) // 1000 for t in target[:, 0]}
    assert len(seen) == 8


def test_episodes_are_held_out_whole(run: Path) -> None:
    source = latents(run, sampled=False)
    found = {
        name: {int(z) // 1000 for b in whole_batches(source, name, 0) for z in b.target[b.mask][:, 0]}
        for name in source.splits
    }
    assert sorted(i for episodes in found.values() for i in episodes) == list(range(10))


def test_samples_spread_as_the_posterior_says_and_the_floor_is_its_entropy(run: Path) -> None:
    source = latents(run, sampled=True)
    (test,) = ({int(z) // 1000 for b in whole_batches(source, "test", 0) for z in b.target[b.mask][:, 0].round()},)
    (episode,) = test
    assert source.floor == pytest.approx(0.5 * (math.log(2 * math.pi * math.e) - 2 - episode))
    (batch,) = whole_batches(source, "test", 0)
    deviation = batch.target[0] - batch.target[0].round()
    assert float((batch.target - torch.round(batch.target)).abs().max()) > 0
    mean = latents(run, sampled=False)
    (exact,) = whole_batches(mean, "test", 0)
    spread = (batch.target - exact.target).std()
    assert float(spread) == pytest.approx(math.exp(-1 - episode / 2), rel=0.15) and deviation.any()
    assert torch.equal(batch.context[:, 1:, :Z], batch.target[:, :-1])  # one sample per frame, as target and as context


def test_sampling_is_new_at_every_step_of_training(run: Path) -> None:
    batches = SegmentBatches(latents(run, sampled=True), 0)
    values = torch.cat([batches(i).target[batches(i).mask].flatten() for i in range(2 * batches.steps)])
    assert len(values.unique()) > 0.9 * len(values)


def test_a_damaged_episode_is_named(run: Path) -> None:
    path = run / "latents" / "000004.safetensors"
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(StoreError, match="000004"):
        latents(run, sampled=True)


def test_a_folder_without_latents_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=str(tmp_path)):
        latents(tmp_path, sampled=True)
