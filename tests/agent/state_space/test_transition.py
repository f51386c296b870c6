"""Transitions against their formulas."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from frmdn.agent.state_space import GaussianTransition, LocallyLinear, Step

B, Z, A, W, M = 5, 4, 2, 3, 6


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return tuple(torch.randn(B, n, generator=generator, dtype=torch.float64) for n in (Z, A, W))  # type: ignore[return-value]


def follow(transition: GaussianTransition | LocallyLinear, z: Tensor, u: Tensor) -> Step:
    step: Step = transition(z, transition.steer(u))
    return step


def test_controls_steer_all_times_at_once() -> None:
    torch.manual_seed(0)
    for transition in (LocallyLinear(Z, A, W, M, 8), GaussianTransition(Z, A, 8)):
        u = torch.randn(B, 7, A)
        torch.testing.assert_close(transition.steer(u)[:, 3], transition.steer(u[:, 3]))


def test_locally_linear_is_the_mixture_of_its_matrices() -> None:
    torch.manual_seed(0)
    transition = LocallyLinear(Z, A, W, M, hidden=8).double()
    z, u, w = inputs()
    inner = torch.cat((z, u), -1) @ torch.cat((transition.of_state, transition.of_control))[:, :8] + transition.bias
    alpha = torch.softmax(transition.mix(inner), -1)
    moves = torch.cat((transition.of_state, transition.of_control))[:, 8:].view(Z + A, M, Z)
    stirs = transition.stirs.view(M, Z, W)
    for b in range(B):
        a_b = sum(alpha[b, i] * moves[:Z, i].T for i in range(M))
        b_b = sum(alpha[b, i] * moves[Z:, i].T for i in range(M))
        c_b = sum(alpha[b, i] * stirs[i] for i in range(M))
        expected = a_b @ z[b] + b_b @ u[b] + c_b @ w[b]
        torch.testing.assert_close(follow(transition, z, u).at(w)[b], expected)


def test_one_matrix_makes_a_linear_system() -> None:
    torch.manual_seed(0)
    transition = LocallyLinear(Z, A, W, 1, hidden=0).double()
    z, u, w = inputs()
    double = follow(transition, 2 * z, 2 * u).at(2 * w)
    torch.testing.assert_close(double, 2 * follow(transition, z, u).at(w))


def test_gaussian_transition_starts_as_a_random_walk_and_has_one_scale_per_number() -> None:
    torch.manual_seed(0)
    transition = GaussianTransition(Z, A, hidden=8).double()
    z, u, _ = inputs()
    step = follow(transition, z, u)
    torch.testing.assert_close(step.mean, z)
    assert step.factor.shape == (B, Z) and bool((step.factor > 0).all())
    w = torch.ones(B, Z, dtype=torch.float64)
    torch.testing.assert_close(step.at(w), step.mean + step.factor)


@pytest.mark.parametrize("make", [lambda: LocallyLinear(Z, A, Z, M, 8), lambda: GaussianTransition(Z, A, 8)])
def test_row_i_ignores_row_j(make) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    transition = make().double()
    with torch.no_grad():
        for parameter in transition.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    z, u, _ = inputs()
    before: Step = follow(transition, z, u)
    z[0] += 1.0
    after: Step = follow(transition, z, u)
    torch.testing.assert_close(before.mean[1:], after.mean[1:])
    torch.testing.assert_close(before.factor[1:], after.factor[1:])
    assert not torch.allclose(before.mean[0], after.mean[0])
