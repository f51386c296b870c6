"""The controller that a pendulum needs."""

from __future__ import annotations

import pytest
import torch

from frmdn.controller.hidden import HiddenController


def test_it_is_two_layers_with_a_tanh_between() -> None:
    controller = HiddenController(3, 2, 4)
    theta, features = (torch.randn(5, n, dtype=torch.float64) for n in (controller.size, 3))
    w, b, v, c = theta[2].split([12, 4, 8, 2])
    expected = v.view(2, 4) @ (w.view(4, 3) @ features[2] + b).tanh() + c
    torch.testing.assert_close(controller.act(theta, features)[2], expected)
    assert controller.size == 26
    with pytest.raises(ValueError, match="one row per"):
        controller.act(theta, features[:4])
    with pytest.raises(ValueError, match="hidden"):
        HiddenController(3, 2, 0)
