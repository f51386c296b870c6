"""The measure: Jacobians count, padding does not, and a limit takes a part."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from frmdn.pipeline.density.measure import nll_per_dim
from frmdn.pipeline.density.model import config_for, new_model
from frmdn.rollouts.sources import Source, Steps, whole_batches
from frmdn.rollouts.sources.latents import latents


def test_the_jacobian_is_subtracted_once_per_step(voices: Source) -> None:
    def stretched(*raw: object) -> Steps:
        steps = voices.prepare(*raw)  # type: ignore[arg-type]
        return replace(steps, log_jacobian=steps.log_jacobian + 200.0)

    model = new_model(config_for("rmdn", voices, 2, 4), 0)
    plain = nll_per_dim(model, voices, "test")
    assert nll_per_dim(model, replace(voices, prepare=stretched), "test") == pytest.approx(plain - 1.0, abs=1e-5)


def test_padding_counts_for_nothing(latent_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = latents(latent_folder, sampled=False)
    split = source.splits["train"]
    split.sequences = [rows[: 20 + 5 * i] for i, rows in enumerate(split.sequences)]  # type: ignore[attr-defined]
    split.lengths = [len(rows) for rows in split.sequences]  # type: ignore[attr-defined,misc]
    model = new_model(config_for("frmdn-diagonal", source, 2, 4), 0)
    together = nll_per_dim(model, source, "train")
    (batch,) = whole_batches(source, "train", 0)
    assert not batch.mask.all()
    loss = model.loss(batch).parts["nll_per_dim"]
    monkeypatch.setattr("frmdn.rollouts.sources.segments.TOKENS", 1)  # one sequence a batch: no padding
    assert nll_per_dim(model, source, "train") == pytest.approx(together, abs=1e-5)
    assert float(loss) == pytest.approx(together, abs=1e-5)


def test_the_exact_value_of_a_known_density(toy: Source) -> None:
    model = new_model(config_for("squared-error", toy), 0)
    found = nll_per_dim(model, toy, "test")
    (batch,) = whole_batches(toy, "test", 0)
    x, y = batch.context[:, 0], batch.target[:, 0] * toy.scale.y_std + toy.scale.y_mean
    mean = model.density.network(x) * toy.scale.y_std + toy.scale.y_mean
    std = model.density.variance.sqrt() * toy.scale.y_std
    expected = -torch.distributions.Normal(mean, std).log_prob(y).mean()
    assert found == pytest.approx(float(expected.detach()), abs=1e-5)  # as if the model had been one of y itself


def test_a_limit_measures_a_part(toy: Source) -> None:
    model = new_model(config_for("rmdn", toy, 2, 4), 0)
    assert nll_per_dim(model, toy, "test", limit=30) != nll_per_dim(model, toy, "test")
    assert nll_per_dim(model, toy, "test", limit=10_000) == nll_per_dim(model, toy, "test")
