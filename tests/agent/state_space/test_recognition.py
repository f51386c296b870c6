"""What recognition costs: closed forms against torch.distributions, flows against autograd, expectations against 0."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, Normal, kl_divergence

from frmdn.agent.density import Chain
from frmdn.agent.state_space.recognition import Flowed, Gaussian, InitialRecognition, StepFlow, TrajectoryFlow

W = 3


def gaussian(rows: int = 4) -> Gaussian:
    generator = torch.Generator().manual_seed(2)
    loc, log_scale = (torch.randn(rows, W, generator=generator, dtype=torch.float64) for _ in range(2))
    return Gaussian(loc, 0.5 * log_scale)


def stir(module: torch.nn.Module, size: float = 0.3) -> None:
    """Flows start as the identity, which would hide a wrong Jacobian."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += size * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)


def flowed(rows: int = 4) -> Flowed:
    torch.manual_seed(0)
    flow = StepFlow(W, 8, context=2).double()
    stir(flow)
    context = torch.randn(rows, 2, dtype=torch.float64)
    return Flowed(gaussian(rows), flow.chain, context)


def test_gaussian_kl_is_that_of_torch() -> None:
    q = gaussian()
    torch_q = Independent(Normal(q.loc, q.log_scale.exp()), 1)
    prior = Independent(Normal(torch.zeros_like(q.loc), 1.0), 1)
    epsilon = torch.randn(4, W, dtype=torch.float64)
    noise = q.at(epsilon)
    torch.testing.assert_close(noise.kl, kl_divergence(torch_q, prior))
    torch.testing.assert_close(noise.log_ratio, torch_q.log_prob(noise.value) - prior.log_prob(noise.value))


def test_flowed_log_q_is_the_change_of_variables() -> None:
    q = flowed(1)
    epsilon = torch.randn(1, W, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    noise = q.at(epsilon)
    jacobian = torch.autograd.functional.jacobian(lambda e: q.at(e).value.flatten(), epsilon).view(W, W)
    log_q = Normal(0.0, 1.0).log_prob(epsilon).sum() - torch.linalg.slogdet(jacobian).logabsdet
    prior = Normal(0.0, 1.0).log_prob(noise.value).sum()
    torch.testing.assert_close(noise.log_ratio[0], log_q - prior)


@pytest.mark.parametrize("make", [gaussian, flowed])
def test_both_costs_have_one_expectation_and_it_is_not_negative(make) -> None:  # type: ignore[no-untyped-def]
    rows = 4
    epsilon = torch.randn(20_000, rows, W, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    q = make(rows)
    if isinstance(q, Flowed) and q.context is not None:
        q = q._replace(context=q.context.expand(20_000, -1, -1))
    noise = q.at(epsilon)
    kl, ratio = (cost.expand(20_000, rows) for cost in (noise.kl, noise.log_ratio))
    error = (ratio - kl).std(0) / 20_000**0.5
    assert bool(((kl.mean(0) - ratio.mean(0)).abs() < 4 * error).all())
    assert bool((kl.mean(0) > 0.05).all())


def test_without_a_flow_to_speak_of_nothing_is_left_to_sampling() -> None:
    base = gaussian()
    identity = Flowed(base, Chain())
    epsilon = torch.randn(4, W, dtype=torch.float64)
    torch.testing.assert_close(identity.at(epsilon).kl, base.at(epsilon).kl)


def test_the_flow_is_told_about_the_observation() -> None:
    q = flowed()
    epsilon = torch.zeros(4, W, dtype=torch.float64)
    assert q.context is not None
    assert not torch.allclose(q.at(epsilon).value, q._replace(context=q.context + 1).at(epsilon).value)


def trajectory(steps: int = 5) -> tuple[TrajectoryFlow, Tensor]:
    torch.manual_seed(0)
    flow = TrajectoryFlow(W, steps).double()
    stir(flow, 0.1)
    return flow, torch.randn(3, steps + 1, W, dtype=torch.float64)


def test_the_noise_of_a_trajectory_hangs_together_and_later_noise_moves_no_earlier() -> None:
    flow, y = trajectory()
    before = flow(y)[0]
    torch.testing.assert_close(before[:, 0], flow.first(y[:, 0]))
    y[:, 1] += 1.0
    after = flow(y)[0]
    assert torch.equal(before[:, 0], after[:, 0])
    assert not torch.allclose(before[:, -1], after[:, -1])


def test_time_by_time_the_flow_gives_the_same() -> None:
    flow, y = trajectory()
    turn = flow.turns()
    torch.testing.assert_close(torch.stack([turn(y[:, t]) for t in range(y.shape[1])], 1), flow(y)[0])


def test_the_flow_over_a_trajectory_pays_for_its_jacobian() -> None:
    flow, y = trajectory()
    w, change = flow(y)
    jacobian = torch.autograd.functional.jacobian(lambda a: flow(a[None])[0].flatten(), y[0]).view(2 * [y[0].numel()])
    normal = Normal(torch.zeros_like(y[0]), 1.0)
    expected = normal.log_prob(y[0]).sum() - normal.log_prob(w[0]).sum() - torch.linalg.slogdet(jacobian).logabsdet
    torch.testing.assert_close(change[0], expected)


def test_another_length_is_refused() -> None:
    flow, y = trajectory()
    with pytest.raises(ValueError, match="4 steps"):
        flow(y[:, :-1])


def test_masks_are_saved_with_the_weights() -> None:
    flow, _ = trajectory()
    masks = [name for name in flow.state_dict() if name.endswith("mask")]
    assert len(masks) == 4  # two flows of two masked layers


def test_lookahead_needs_enough_observations() -> None:
    initial = InitialRecognition(2, 1, W, 8, lookahead=3)
    with pytest.raises(ValueError, match="4"):
        initial(torch.zeros(1, 2, 2), torch.zeros(1, 1, 1))
