"""Figures and samples: they show the numbers that they were given."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from frmdn.pipeline.density.model import config_for, new_model
from frmdn.pipeline.density.pictures import RANGE, spectrograms, toy_densities
from frmdn.pipeline.density.plots import learning_curves, seed_curves
from frmdn.pipeline.density.sample import Draw, dream, generate, real_sequences
from frmdn.rollouts.sources import Source, whole_batches
from frmdn.rollouts.sources.latents import latents


def test_curves_of_seeds_meet_on_one_axis() -> None:
    def line(share: float, nll: float | None) -> dict[str, float]:
        return {"share": share} | ({} if nll is None else {"validation_nll_per_dim": nll})

    seeds = [[line(0, 4), line(0.5, 2), line(1, 0)], [line(0, 5), line(0.4, None), line(0.5, 3), line(1, 1)]]
    share, nll = seed_curves(seeds)
    np.testing.assert_allclose(share, [0, 0.5, 1])
    np.testing.assert_allclose(nll, [[4, 2, 0], [5, 3, 1]])
    assert seed_curves([[line(0, 1)]]) is None
    figure = learning_curves({"rmdn": seeds, "empty": []}, {"data": "x", "unit": "nats", "floor": -1.0})
    curve, floor = figure.axes[0].lines
    np.testing.assert_allclose(curve.get_xdata(), [0, 50, 100])
    np.testing.assert_allclose(curve.get_ydata(), [4.5, 2.5, 0.5])
    assert floor.get_ydata()[0] == -1.0 and figure.axes[0].get_ylim()[0] < -1


def test_every_panel_of_the_toy_is_a_density(toy: Source) -> None:
    models = {name: new_model(config_for(name, toy, 2, 4), 0) for name in ("squared-error", "rmdn")}
    figure = toy_densities(toy, models)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["the data's own law", "squared-error", "rmdn"]
    for axes in figure.axes:
        picture = np.asarray(axes.images[0].get_array()) ** 2  # drawn as its root
        low, high = axes.get_ylim()
        mass = picture.sum(0) * (high - low) / (len(picture) - 1)
        assert mass[len(mass) // 2] <= 1.02 and mass[len(mass) // 2] > 0.5


def test_a_tone_stands_where_it_belongs_in_the_spectrogram() -> None:
    tone = (8000 * np.sin(2 * np.pi * 2000 * np.arange(16_000) / 16_000)).astype(np.int16)
    figure = spectrograms([("tone", tone), ("silence", np.zeros(16_000, np.int16))], 16_000)
    loud, silent = (np.asarray(axes.images[0].get_array()) for axes in figure.axes)
    assert abs(int(loud.mean(1).argmax()) - 50) <= 1 and len(loud) == 201  # 40 Hz a row
    low, high = figure.axes[0].images[0].get_clim()
    assert high - low == pytest.approx(RANGE) and high == pytest.approx(loud.max()) and silent.max() < low
    with pytest.raises(ValueError, match="400 samples"):
        spectrograms([("short", tone[:100])], 16_000)


def test_generating_feeds_each_sequence_its_own_past(voices: Source) -> None:
    model = new_model(config_for("rmdn", voices, 2, 4), 0)
    one, two = generate(model, 3, 4, Draw(seed=1)), generate(model, 3, 4, Draw(seed=1))
    assert one.shape == (3, 4, voices.outputs) and torch.equal(one, two)
    assert not torch.equal(one, generate(model, 3, 4, Draw(seed=2)))
    cold = generate(model, 1, 2, Draw(temperature=1e-8))
    context = torch.cat([torch.zeros(1, 1, voices.outputs), cold[:, :1]], 1)
    again = model.density(context)[0].sample(temperature=1e-8)
    torch.testing.assert_close(again, cold, atol=1e-2, rtol=0)  # fed back, the model says the same


def test_a_dream_follows_the_record_while_it_warms_up_and_then_itself(latent_folder) -> None:
    source = latents(latent_folder, sampled=False)
    model = new_model(config_for("rmdn", source, 2, 4), 0)
    (batch,) = whole_batches(source, "test", 0)
    context = batch.context[0]
    changed = context.clone()
    changed[10:, : source.outputs] += 100.0  # recorded latents that a dream must not see
    plain, other = (dream(model, c, 10, Draw(temperature=1e-8)) for c in (context, changed))
    assert torch.equal(plain, other) and plain.shape == batch.target[0].shape
    assert not torch.equal(plain, dream(model, changed, 20, Draw(temperature=1e-8)))


def test_real_sequences_are_of_the_test_split(voices: Source) -> None:
    real = real_sequences(voices, 1)
    assert real.shape == (1, 40, 200)
    (test,) = (voices.splits["test"].rows(0, 0, 40),)
    assert np.abs(voices.scale.native(real).ravel() - test.numpy().ravel()).max() <= 1
