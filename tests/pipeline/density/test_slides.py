"""The networks of the MDN slides: their size, what squared error means as a density, and their optimiser."""

from __future__ import annotations

import torch
from torch.distributions import Normal

from frmdn.pipeline.density.measure import nll_per_dim
from frmdn.pipeline.density.model import ModelConfig, config_for, new_model
from frmdn.pipeline.density.schedule import Watch, slides_recipe
from frmdn.pipeline.density.slides import SquaredError
from frmdn.rollouts.sources import SegmentBatches, Source


def test_the_parameters_of_the_slides() -> None:
    assert new_model(ModelConfig("squared-error", 1, 1), 0).parameters_count == 286
    assert new_model(ModelConfig("mdn", 1, 1), 0).parameters_count == 510


def test_training_loss_is_half_the_squared_error() -> None:
    torch.manual_seed(0)
    network, x, y = SquaredError(1, 1).train(), torch.randn(50, 1, 1), torch.randn(50, 1, 1)
    log_prob = network(x)[0].log_prob(y)
    squared = (y - network.network(x)).square()[..., 0]
    constant = log_prob + 0.5 * squared
    torch.testing.assert_close(constant, torch.full_like(constant, -0.9189385332))


def test_evaluation_uses_the_fitted_variance() -> None:
    torch.manual_seed(0)
    network, x = SquaredError(1, 2).eval(), torch.randn(4000, 1)
    y = network.network(x).detach() + torch.tensor([0.5, 3.0]) * torch.randn(4000, 2)
    network.fit_variance(x, y)
    torch.testing.assert_close(network.variance, torch.tensor([0.25, 9.0]), rtol=0.1, atol=0)
    expected = Normal(network.network(x), network.variance.sqrt()).log_prob(y).sum(-1)
    torch.testing.assert_close(network(x)[0].log_prob(y), expected)


def test_no_other_variance_would_measure_better_on_training_points(toy: Source) -> None:
    model = new_model(config_for("squared-error", toy), 0)
    best = nll_per_dim(model, toy, "train")
    for factor in (0.8, 1.25):
        variance = model.density.variance.clone()
        model.density.fit_variance = lambda *_, v=variance, f=factor: model.density.variance.copy_(v * f)
        assert nll_per_dim(model, toy, "train") > best
        del model.density.fit_variance
        nll_per_dim(model, toy, "train")


def test_200_epochs_of_rmsprop(toy: Source) -> None:
    recipe = slides_recipe(SegmentBatches(toy, 0).steps)
    assert recipe.steps == 400 and recipe.budget is None  # 256 points are two batches of 128
    config = recipe.fit_config(Watch(None, recipe.steps))
    optimiser = config.optimizer([torch.nn.Parameter(torch.zeros(1))])
    assert isinstance(optimiser, torch.optim.RMSprop) and config.rate(0) == config.rate(399) == 1e-3


def test_samples_have_the_temperature() -> None:
    network = SquaredError(1, 1).eval().requires_grad_(False)
    network.variance.fill_(4.0)
    distribution, _ = network(torch.zeros(1, 1))
    cool = distribution.sample((4000,), temperature=0.25, generator=torch.Generator().manual_seed(0))
    assert cool.shape == (4000, 1, 1) and 0.95 < float(cool.std()) < 1.05
