"""The bound against the exact likelihood of a linear-Gaussian system, which a Kalman filter knows."""

from __future__ import annotations

import math
from typing import NamedTuple

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from frmdn.agent.state_space import StateSpace, StateSpaceConfig, Trajectories
from frmdn.agent.state_space.emission import FLOOR, PACE, START
from frmdn.agent.state_space.recognition import StepRecognition
from frmdn.agent.training import FitConfig, fit

D, A, T = 2, 1, 5
CLOSE = 0.2  # nats per trajectory of 6 observations
STEPS, DRAWS = 700, 300  # of training; of every held-out trajectory
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


def joint() -> tuple[Tensor, Tensor, Tensor]:
    """The noiseless x's response to w, the covariance of x given u, and the precision of w given x and u."""
    size = (T + 1) * D
    response = torch.zeros(size, size, dtype=F64)  # of the noiseless x to w
    states: list[Tensor] = []
    for t in range(T + 1):
        row = torch.zeros(D, size, dtype=F64) if t == 0 else SYSTEM.a @ states[-1]
        row[:, t * D : (t + 1) * D] = SYSTEM.s if t == 0 else SYSTEM.c
        states.append(row)
        response[t * D : (t + 1) * D] = SYSTEM.h @ row
    one = torch.eye(size, dtype=F64)
    return response, response @ response.T + SYSTEM.r**2 * one, one + response.T @ response / SYSTEM.r**2


def dense(data: Trajectories) -> tuple[Tensor, Tensor]:
    """log p(x | u) [B] and KL(p(w | x, u) || N(0, I)) [B], without a filter."""
    response, cov, precision = joint()
    size = len(cov)
    mean = [SYSTEM.m.expand(len(data.observations), -1)]
    for t in range(T):
        mean.append(mean[-1] @ SYSTEM.a.T + data.controls[:, t] @ SYSTEM.b.T)
    error = (data.observations - torch.stack(mean, 1) @ SYSTEM.h.T).flatten(1)
    posterior_cov = torch.linalg.inv(precision)
    posterior_mean = error @ response @ posterior_cov / SYSTEM.r**2
    constant = torch.trace(posterior_cov) - size - torch.logdet(posterior_cov)
    kl = 0.5 * (posterior_mean.square().sum(-1) + constant)
    return MultivariateNormal(torch.zeros(size, dtype=F64), cov).log_prob(error), kl


def coordinates() -> list[Tensor]:
    """Unit vectors [T+1 or T,D or A,N]: of the constant 1, the data's noise w and n, u, and recognition's epsilon."""
    sizes = [(1, 1), (T + 1, D), (T + 1, D), (T, A), (T + 1, D)]
    basis = torch.eye(sum(math.prod(size) for size in sizes), dtype=F64)
    return [
        part.unflatten(0, size) for part, size in zip(basis.split([math.prod(s) for s in sizes]), sizes, strict=True)
    ]


def filtering_gap() -> float:
    """How far below the likelihood the best q(w_0 | x_0) prod_t q(w_t | z_(t-1), u_(t-1), x_t) stays, in nats.

    The best one that is Gaussian with diagonal covariance, linear and the same at all t > 0. Everything is linear in
    independent standard normal numbers, so that E|v|^2 is the squared norm of v's coefficients: the expected bound is
    a smooth function of a few numbers, which L-BFGS takes to its maximum.
    """
    (one,), w, n, u, e = coordinates()
    z, x = SYSTEM.s @ w[0] + SYSTEM.m[:, None] * one, []
    for t in range(T + 1):
        if t:
            z = SYSTEM.a @ z + SYSTEM.b @ u[t - 1] + SYSTEM.c @ w[t]
        x.append(SYSTEM.h @ z + SYSTEM.r * n[t])
    first, later = (torch.zeros(D, size, dtype=F64, requires_grad=True) for size in (D + 2, 2 * D + A + 2))

    def cost() -> Tensor:
        total, state = torch.zeros((), dtype=F64), one
        for t in range(T + 1):
            known = torch.cat((x[0], one)) if t == 0 else torch.cat((x[t], state, u[t - 1], one))
            numbers = first if t == 0 else later
            loc, log_scale = numbers[:, :-1] @ known, numbers[:, -1]
            total = total + 0.5 * (loc.square().sum() + (2 * log_scale).exp().sum() - D) - log_scale.sum()
            noise = loc + log_scale.exp()[:, None] * e[t]
            start = SYSTEM.s @ noise + SYSTEM.m[:, None] * one
            state = start if t == 0 else SYSTEM.a @ state + SYSTEM.b @ u[t - 1] + SYSTEM.c @ noise
            error = (x[t] - SYSTEM.h @ state).square().sum() / SYSTEM.r**2
            total = total + 0.5 * (error + D * math.log(2 * math.pi * SYSTEM.r**2))
        return total

    search = torch.optim.LBFGS([first, later], max_iter=500, tolerance_change=1e-12, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        search.zero_grad()
        value = cost()
        value.backward()
        return value

    search.step(closure)  # type: ignore[no-untyped-call]
    _, covariance, _ = joint()
    entropy = 0.5 * (torch.logdet(2 * math.pi * covariance) + len(covariance))
    return float(cost().detach() - entropy)


def smoothing_gap() -> float:
    """The same for a q(w_t | z_(t-1), x_t .. x_T, u) that is best but for its diagonal covariance, in nats.

    p(w_t | w_<t, x, u) is Gaussian and its precision P_t does not depend on the data; the best diagonal q has the same
    mean and precisions, and KL = (sum_i log P_t,ii - log det P_t) / 2, whatever w_<t was drawn.
    """
    _, _, precision = joint()
    total = 0.0
    for t in range(T + 1):
        rest = precision[t * D :, t * D :]  # given all that came before
        block = torch.linalg.inv(torch.linalg.inv(rest)[:D, :D])  # with what comes later integrated out
        total += 0.5 * float(block.diagonal().log().sum() - torch.logdet(block))
    return total


def built(variant: str, recognition: str) -> StateSpace:
    """The model whose generative half is the system; only recognition is left to learn."""
    torch.manual_seed(0)
    config = StateSpaceConfig(
        variant=variant,  # type: ignore[arg-type]
        observation=D, control=A, latent=D, matrices=1, hidden=0, shared_scale=True, steps=T,
        lookahead=T if recognition == "smooth" else 0,
    )  # fmt: skip
    model = StateSpace(config).double()
    flow = model.recognition.flow  # wider than the generative half:
    model.recognition = StepRecognition((D, D, A), D, 16, flow, recognition == "smooth").double()
    with torch.no_grad():
        model.begin.last.weight.copy_(SYSTEM.s)
        model.begin.last.bias.copy_(SYSTEM.m)
        model.transition.of_state[:, 1:].copy_(SYSTEM.a.T)
        model.transition.of_control[:, 1:].copy_(SYSTEM.b.T)
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


def test_seeing_later_observations_is_worth_something() -> None:
    assert 0 < smoothing_gap() < 0.3 < filtering_gap() < 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variant", "recognition"),
    [("dvbf", "filter"), ("dvbf", "smooth"), ("iaf-step", "smooth"), ("iaf-trajectory", "smooth")],
)
def test_the_bound_lies_below_the_likelihood_and_comes_as_close_as_it_can(variant: str, recognition: str) -> None:
    model, training, held = built(variant, recognition), draw(4096, 2), draw(256, 3)
    likelihood, (_, true_kl) = exact(held), dense(held)
    before = torch.stack([weights(model, held, s)[1] for s in range(8)]).mean(0)
    assert float((likelihood - before).mean()) > 5  # untrained: far below

    def batch(step: int) -> Trajectories:
        return training.rows(torch.randperm(4096, generator=torch.Generator().manual_seed(step))[:128])

    fit(model, batch, FitConfig(STEPS, 2e-2, clip=10.0, schedule="cosine", checkpoint_every=STEPS), seed=0)
    log_weights, bounds, kls = (
        torch.stack(part) for part in zip(*(weights(model, held, s) for s in range(DRAWS)), strict=True)
    )
    gap = likelihood - bounds.mean(0)  # [B]
    error = float(gap.std() / len(gap) ** 0.5)
    least = 0.0 if variant.startswith("iaf") else filtering_gap() if recognition == "filter" else smoothing_gap()
    assert float(gap.mean()) > least - 3 * error, "above what is possible: it is no bound"
    assert float(gap.mean()) < least + CLOSE
    # Importance weights know the likelihood itself: only a right log q and log p can average to it.
    estimate = torch.logsumexp(log_weights, 0) - math.log(len(log_weights))
    assert abs(float((estimate - likelihood).mean())) < 0.05
    # The reported KL is that of the exact posterior, up to the gap.
    assert float(kls.mean()) == pytest.approx(float(true_kl.mean()), abs=least + CLOSE)
