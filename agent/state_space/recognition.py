"""Who infers the noise w from what was observed: q(w_t | ...), and what it costs against the prior N(0, I)."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..density import Autoregressive, Chain
from ..density.flows.coupling import LOG_SCALE_BOUND
from ..density.networks import MLP
from ..density.precision import bounded

CONTEXT = 16  # numbers that a flow inside a step is told about the observation
BOUND = 5.0  # |log sigma| of the recognised noise


class Noise(NamedTuple):
    """Recognised noise and what it costs: E_q[kl] = E_q[log_ratio] = KL(q || N(0, I)) >= 0."""

    value: Tensor  # w [*,W]
    kl: Tensor  # [*], the KL itself where it has a closed form, otherwise an unbiased estimate of less variance
    log_ratio: Tensor  # [*], log q(w) - log N(w; 0, I) at this w


class Gaussian(NamedTuple):
    """A diagonal Gaussian over w."""

    loc: Tensor  # [*,W]
    log_scale: Tensor  # [*,W]

    @classmethod
    def of(cls, raw: Tensor) -> Gaussian:
        """From 2W raw numbers: raw [*,2W]."""
        loc, log_scale = raw.chunk(2, -1)
        return cls(loc, bounded(log_scale, BOUND))

    def draw(self, epsilon: Tensor) -> Tensor:
        """w [*,W] = loc + scale epsilon."""
        return torch.addcmul(self.loc, self.log_scale.exp(), epsilon)

    def at(self, epsilon: Tensor) -> Noise:
        """The drawn w, and KL = sum (loc^2 + scale^2 - 1) / 2 - log scale."""
        value = self.draw(epsilon)
        kl = (0.5 * (self.loc.square() + (2 * self.log_scale).exp() - 1) - self.log_scale).sum(-1)
        log_ratio = (0.5 * (value.square() - epsilon.square()) - self.log_scale).sum(-1)
        return Noise(value, kl, log_ratio)


class Flowed(NamedTuple):
    """w = f(y), y ~ N(loc, scale^2): inverse autoregressive flow (Kingma et al. 2016), in one pass of each f.

    log q(w) = log N(y; loc, scale^2) - log|det dw/dy|, and with p = N(0, I)
    KL(q || p) = KL(N(loc, scale^2) || p) + E[log p(y) - log p(w) - log|det dw/dy|]: the base's share has a closed form,
    and what is left to sampling vanishes as the flow nears the identity.
    """

    base: Gaussian
    flow: Chain
    context: Tensor | None = None  # [*,C], what the flow itself is told of the observation

    def draw(self, epsilon: Tensor) -> Tensor:
        """w [*,W] = f(loc + scale epsilon)."""
        return self.flow(self.base.draw(epsilon), self.context)[0]

    def at(self, epsilon: Tensor) -> Noise:
        """The drawn w and its costs."""
        y, kl, ratio = self.base.at(epsilon)
        value, log_det = self.flow(y, self.context)
        change = 0.5 * (value.square() - y.square()).sum(-1) - log_det
        return Noise(value, kl + change, ratio + change)


class StepFlow(nn.Module):
    """IAF over the W numbers of one noise vector, told about the observation; flows take turns with the order."""

    def __init__(self, noise: int, hidden: int, context: int = CONTEXT, flows: int = 2) -> None:
        super().__init__()
        self.noise, self.context = noise, context
        self.chain = Chain(*(Autoregressive(noise, (hidden,), bool(i % 2), context) for i in range(flows)))

    def forward(self, raw: Tensor) -> Flowed:
        """From raw [*,2W+C]: the Gaussian base, and the context of the flow."""
        base, context = raw.split([2 * self.noise, self.context], -1)
        return Flowed(Gaussian.of(base), self.chain, context)


class InitialRecognition(nn.Module):
    """q(w_0 | x_0 .. x_L, u_0 .. u_(L-1)), from the first observation alone where L = 0."""

    def __init__(
        self, observation: int, control: int, noise: int, hidden: int, lookahead: int = 0, flow: StepFlow | None = None
    ) -> None:
        super().__init__()
        self.lookahead, self.flow = lookahead, flow
        inputs = (lookahead + 1) * observation + lookahead * control
        outputs = 2 * noise + (flow.context if flow else 0)
        self.network = MLP(inputs, outputs, (hidden, hidden) if hidden else ())

    def forward(self, x: Tensor, u: Tensor) -> Gaussian | Flowed:
        """Observations [B,T+1,D] and controls [B,T,A], of which it reads the first L + 1 and L."""
        if x.shape[1] <= self.lookahead:
            raise ValueError(
                f"observations hold {x.shape[1]} times, but the initial state is inferred from {self.lookahead + 1}"
            )
        seen = (x[:, : self.lookahead + 1].flatten(1), u[:, : self.lookahead].flatten(1))
        raw = self.network(torch.cat(seen, -1) if self.lookahead else seen[0])
        return self.flow(raw) if self.flow else Gaussian.of(raw)


class StepRecognition(nn.Module):
    """q(w_t | z_(t-1), u_(t-1), x_t), or with `smooth` q(w_t | z_(t-1), u_(t-1) .. u_(T-1), x_t .. x_T).

    It sees the mean of the step as well, to compare it with x_t. A diagonal Gaussian, or with `flow` an inverse
    autoregressive flow with fresh noise epsilon_t in every step. What does not depend on the state is computed for all
    times at once (`look`), before the walk through time, and the costs of the noise after it (`read`).
    """

    def __init__(
        self, sizes: tuple[int, int, int], noise: int, hidden: int, flow: StepFlow | None = None, smooth: bool = False
    ) -> None:
        super().__init__()
        observation, latent, control = sizes
        self.flow = flow
        self.eye = MLP(observation, hidden, (hidden,))
        self.past = nn.Linear(control, hidden, bias=False)
        self.later = nn.GRU(hidden + control, hidden, batch_first=True) if smooth else None
        self.inner = nn.Parameter(nn.Linear(2 * latent, hidden).weight.detach().T.clone())
        self.outer = nn.Linear(hidden, 2 * noise + (flow.context if flow else 0))
        nn.init.zeros_(self.outer.weight)  # starts at the prior
        nn.init.zeros_(self.outer.bias)

    def look(self, x: Tensor, u: Tensor) -> Tensor:
        """Observations x_1 .. x_T [B,T,D], controls u_0 .. u_(T-1) [B,T,A] -> what `forward` needs of them [B,T,H]."""
        seen = self.eye(x)
        if self.later is not None:  # backwards in time: after x_t comes u_t
            after = functional.pad(u[:, 1:], (0, 0, 0, 1))
            seen = seen + self.later(torch.cat((seen, after), -1).flip(1))[0].flip(1)
        return seen + self.past(u)

    def forward(self, seen: Tensor, mean: Tensor, z: Tensor) -> Tensor:
        """seen [B,H], the mean of the step [B,Z] and the state z [B,Z] before it -> what `read` understands [B,O]."""
        hidden = torch.addmm(seen, torch.cat((mean, z), -1), self.inner)
        return self.outer(functional.leaky_relu(hidden))

    def read(self, raw: Tensor) -> Gaussian | Flowed:
        """q(w_t) of raw numbers [*,O], of one time or of all."""
        return self.flow(raw) if self.flow else Gaussian.of(raw)


class TrajectoryFlow(nn.Module):
    """IAF over the noise of a whole trajectory: w_0 .. w_T = f(y_0 .. y_T), where stepwise recognition draws the y_t.

    Recognition of y_t sees the state that w_0 .. w_(t-1) made: y and w before t are functions of each other.
    An autoregressive flow in the order of time lets no later y reach w_0, so the initial state needs nothing but the
    first observations. Every flow of the chain keeps that order, and none sees a context, which would tell w_0 what
    comes later. T is fixed: the flow has (T + 1) W dimensions.
    """

    def __init__(self, noise: int, steps: int, flows: int = 2) -> None:
        super().__init__()
        self.noise, self.steps = noise, steps
        event = (steps + 1) * noise
        self.chain = Chain(*(Autoregressive(event, (event,)) for _ in range(flows)))

    def forward(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """y [B,T+1,W] -> w [B,T+1,W], and what it changes [B] in log q(w) - log N(w; 0, I)."""
        if y.shape[1] != self.steps + 1:
            raise ValueError(f"trajectories have {y.shape[1] - 1} steps, but this flow was built for {self.steps}")
        flat = y.flatten(1)
        w, log_det = self.chain(flat)
        return w.view(y.shape), 0.5 * (w.square() - flat.square()).sum(-1) - log_det

    def turns(self) -> Turns:
        """The same map, one time after the other."""
        return Turns(self)

    def first(self, y: Tensor) -> Tensor:
        """w_0 [B,W] alone, of y_0 [B,W]; the same as `forward` gives there."""
        return self.turns()(y)


class Turns:
    """Takes y_0, y_1, ... [B,W] in turn and gives w_0, w_1, ... [B,W], at the cost of one pass over all times together.

    What the masks leave of a flow's first layer is summed up as the y_t come in; of its last layer only the rows of
    the time at hand are asked.
    """

    def __init__(self, whole: TrajectoryFlow) -> None:
        self.time = 0
        self.layers: list[tuple[tuple[Tensor, ...], tuple[Tensor, ...], tuple[Tensor, ...]]] = []
        self.inner: list[Tensor] = []  # of each flow, the sum so far: [H], then [B,H]
        times, noise = whole.steps + 1, whole.noise
        for flow in whole.chain.flows:
            layers: Any = flow.conditioner
            first, last = layers[0], layers[-1]
            into = (first.weight * first.mask).T.unflatten(0, (times, noise))  # [T+1,W,H]
            out = (last.weight * last.mask).view(2, times, noise, -1).permute(1, 3, 0, 2).flatten(2)  # [T+1,H,2W]
            bias = last.bias.view(2, times, noise).transpose(0, 1).flatten(1)  # [T+1,2W]
            self.layers.append((into.unbind(), out.unbind(), bias.unbind()))
            self.inner.append(first.bias)

    def __call__(self, y: Tensor) -> Tensor:
        for i, (into, out, bias) in enumerate(self.layers):
            self.inner[i] = torch.addmm(self.inner[i], y, into[self.time])
            raw = torch.addmm(bias[self.time], functional.leaky_relu(self.inner[i]), out[self.time])
            shift, scale = raw.chunk(2, -1)
            y = torch.addcmul(shift, y, bounded(scale, LOG_SCALE_BOUND).exp())
        self.time += 1
        return y
