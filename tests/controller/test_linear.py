from __future__ import annotations

import pytest
import torch

from frmdn.controller.linear import LinearController


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def controller() -> LinearController:
    return LinearController(inputs=7, outputs=3)


def test_the_published_controller_has_867_parameters() -> None:
    assert LinearController(inputs=32 + 256, outputs=3).size == 867


def test_the_batched_product_equals_one_row_at_a_time(controller: LinearController) -> None:
    theta, features = random(5, controller.size), random(5, 7, seed=1)
    raw = controller.act(theta, features)
    for p in range(5):
        weights, bias = theta[p, :21].reshape(3, 7), theta[p, 21:]
        torch.testing.assert_close(raw[p], weights @ features[p] + bias, rtol=1e-14, atol=1e-14)


def test_a_row_ignores_the_parameters_and_features_of_the_others(controller: LinearController) -> None:
    theta, features = random(4, controller.size), random(4, 7, seed=1)
    before = controller.act(theta, features)
    theta[2] += 1.0
    features[3] += 1.0
    after = controller.act(theta, features)
    assert torch.equal(before[:2], after[:2])
    assert not torch.equal(before[2], after[2])
    assert not torch.equal(before[3], after[3])


def test_it_acts_in_the_precision_of_its_arguments(controller: LinearController) -> None:
    raw = controller.act(torch.zeros(2, controller.size), torch.ones(2, 7))
    assert raw.dtype == torch.float32
    assert raw.shape == (2, 3)


@pytest.mark.parametrize(
    ("theta", "features"), [((4, 23), (4, 7)), ((24,), (1, 7)), ((4, 24), (4, 8)), ((4, 24), (3, 7)), ((4, 24), (7,))]
)
def test_wrong_shapes_are_refused(controller: LinearController, theta: tuple[int], features: tuple[int]) -> None:
    with pytest.raises(ValueError, match="shape"):
        controller.act(torch.zeros(theta), torch.zeros(features))


def test_sizes_below_one_are_refused() -> None:
    with pytest.raises(ValueError, match="outputs 0 or more"):
        LinearController(inputs=3, outputs=-1)
