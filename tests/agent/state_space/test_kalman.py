"""The bound against the exact likelihood of a linear-Gaussian system, which a Kalman filter knows."""

from __future__ import annotations

import math
from typing import NamedTuple

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from agent.state_space import StateSpace, StateSpaceConfig, Trajectories
from agent.state_space.emission import FLOOR, PACE, START
from agent.training import FitConfig, fit

D, A, T = 2, 1, 5
F64 = torch.float64


class System(NamedTuple):
    """z_0 = s w_0 + m; z' = a z + b u + c w; x = h z + r n."""

    a: Tensor
    b: Tensor
    c: Tensor
    h: Tensor
    s: Tensor
    m: Tensor
    r: float


SYSTEM = System(
    a=torch.tensor([[0.9, 0.3], [-0.3, 0.8]], dtype=F64),
    b=torch.tensor([[0.2], [0.5]], dtype=F64),
    c=torch.tensor([[0.4, 0.0], [0.1, 0.5]], dtype=F64),
    h=torch.tensor([[1.0, 0.3], [-0.2, 1.0]], dtype=F64),
    s=torch.tensor([[1.0, 0.2], [0.0, 0.7]], dtype=F64),
    m=torch.tensor([0.3, -0.2], dtype=F64),
    r=0.3,
)


def draw(rows: int, seed: int) -> Trajectories:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=F64)

    u, z = normal(rows, T, A), normal(rows, D) @ SYSTEM.s.T + SYSTEM.m
    states = [z]
    for t in range(T):
        states.append(states[-1] @ SYSTEM.a.T + u[:, t] @ SYSTEM.b.T + normal(rows, D) @ SYSTEM.c.T)
    x = torch.stack(states, 1) @ SYSTEM.h.T + SYSTEM.r * normal(rows, T + 1, D)
    return Trajectories(x, u, torch.zeros(rows, T, dtype=F64))


def exact(data: Trajectories) -> Tensor:
    """log p(x | u) [B] by the Kalman filter."""
    x, u = data.observations, data.controls
    mean, cov = SYSTEM.m.expand(len(x), -1), SYSTEM.s @ SYSTEM.s.T
    noise, total = SYSTEM.r**2 * torch.eye(D, dtype=F64), torch.zeros(len(x), dtype=F64)
    for t in range(T + 1):
        if t:
            mean = mean @ SYSTEM.a.T + u[:, t - 1] @ SYSTEM.b.T
            cov = SYSTEM.a @ cov @ SYSTEM.a.T + SYSTEM.c @ SYSTEM.c.T
        innovation = SYSTEM.h @ cov @ SYSTEM.h.T + noise
        total = total + MultivariateNormal(mean @ SYSTEM.h.T, innovation).log_prob(x[:, t])
        gain = cov @ SYSTEM.h.T @ torch.linalg.inv(innovation)
        mean = mean + (x[:, t] - mean @ SYSTEM.h.T) @ gain.T
        cov = cov - gain @ SYSTEM.h @ cov
    return total


def dense(data: Trajectories) -> tuple[Tensor, Tensor]:
    """log p(x | u) [B] and KL(p(w | x, u) || N(0, I)) [B], from one joint Gaussian."""
    size = (T + 1) * D
    response = torch.zeros(size, size, dtype=F64)  # of the noiseless x to w
    states: list[Tensor] = []
    for t in range(T + 1):
        row = torch.zeros(D, size, dtype=F64) if t == 0 else SYSTEM.a @ states[-1]
        row[:, t * D : (t + 1) * D] = SYSTEM.s if t == 0 else SYSTEM.c
        states.append(row)
        response[t * D : (t + 1) * D] = SYSTEM.h @ row
    mean = [SYSTEM.m.expand(len(data.observations), -1)]
    for t in range(T):
        mean.append(mean[-1] @ SYSTEM.a.T + data.controls[:, t] @ SYSTEM.b.T)
    error = (data.observations - torch.stack(mean, 1) @ SYSTEM.h.T).flatten(1)
    cov = response @ response.T + SYSTEM.r**2 * torch.eye(size, dtype=F64)
    posterior_cov = torch.linalg.inv(torch.eye(size, dtype=F64) + response.T @ response / SYSTEM.r**2)
    posterior_mean = error @ response @ posterior_cov / SYSTEM.r**2
    constant = torch.trace(posterior_cov) - size - torch.logdet(posterior_cov)
    kl = 0.5 * (posterior_mean.square().sum(-1) + constant)
    return MultivariateNormal(torch.zeros(size, dtype=F64), cov).log_prob(error), kl


def built(variant: str) -> StateSpace:
    """The model whose generative half is the system; only recognition is left to learn."""
    torch.manual_seed(0)
    config = StateSpaceConfig(
        variant=variant,  # type: ignore[arg-type]
        observation=D, control=A, latent=D, matrices=1, hidden=0, shared_scale=True, steps=T,
    )  # fmt: skip
    model = StateSpace(config).double()
    with torch.no_grad():
        model.begin.last.weight.copy_(SYSTEM.s)
        model.begin.last.bias.copy_(SYSTEM.m)
        model.transition.moves.copy_(torch.cat((SYSTEM.a.T, SYSTEM.b.T)))  # type: ignore[union-attr, arg-type]
        model.transition.stirs.copy_(SYSTEM.c.reshape(1, -1))  # type: ignore[union-attr, arg-type]
        model.emission.mean.last.weight.copy_(SYSTEM.h)
        model.emission.mean.last.bias.zero_()
        model.emission.raw.fill_(math.log((SYSTEM.r - FLOOR) / START) / PACE)
    for part in (model.begin, model.transition, model.emission):
        part.requires_grad_(False)
    return model


def weights(model: StateSpace, data: Trajectories, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """log p(x, w) - log q(w) at a drawn w, the bound's estimate, and the reported KL, each [B]."""
    epsilon = model.draw(data.observations, torch.Generator().manual_seed(seed))
    with torch.no_grad():
        path = model.posterior(data.observations, data.controls, epsilon)
        fit_ = model.emission.log_prob(path.states, data.observations).sum(-1)
    return fit_ - path.log_ratio, fit_ - path.kl, path.kl


def test_the_two_exact_likelihoods_agree() -> None:
    data = draw(50, 1)
    torch.testing.assert_close(exact(data), dense(data)[0])


@pytest.mark.parametrize("variant", ["dvbf", "iaf-step", "iaf-trajectory"])
def test_the_bound_lies_below_the_likelihood_and_comes_close(variant: str) -> None:
    model, training, held = built(variant), draw(512, 2), draw(256, 3)
    likelihood, (_, true_kl) = exact(held), dense(held)
    before = torch.stack([weights(model, held, s)[1] for s in range(8)]).mean(0)
    assert float((likelihood - before).mean()) > 5  # untrained: far below

    def batch(step: int) -> Trajectories:
        return training.rows(torch.randperm(512, generator=torch.Generator().manual_seed(step))[:128])

    fit(model, batch, FitConfig(400, 2e-2, clip=10.0, schedule="cosine", checkpoint_every=400), seed=0)
    log_weights, bounds, kls = (
        torch.stack(part) for part in zip(*(weights(model, held, s) for s in range(64)), strict=True)
    )
    gap = likelihood - bounds.mean(0)  # [B]
    error = float((likelihood - bounds.mean(0)).std() / len(gap) ** 0.5)
    assert float(gap.mean()) > -3 * error, "the bound lies above the likelihood: it is none"
    if float(gap.mean()) >= 0.5:  # known, and open: stepwise recognition sees no future, and 400 steps are few
        pytest.xfail(f"{variant}: the bound is still {float(gap.mean()):.2f} nats below the likelihood")
    # Importance weights know the likelihood itself: only a right log q and log p can average to it.
    estimate = torch.logsumexp(log_weights, 0) - math.log(len(log_weights))
    assert abs(float((estimate - likelihood).mean())) < 0.05
    # The reported KL is that of the exact posterior, up to the gap.
    assert float(kls.mean()) == pytest.approx(float(true_kl.mean()), abs=0.5)
    assert float(kls.mean()) > 0
