"""The latent state-space model: noise and controls make states, states make observations; trained by its bound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..batch import Loss
from ..density.mixture import draw
from ..density.networks import MLP
from .batch import Trajectories
from .emission import Emission
from .recognition import InitialRecognition, Noise, StepFlow, StepRecognition, TrajectoryFlow
from .transition import GaussianTransition, LocallyLinear, Step

Variant = Literal["dvbf", "gaussian", "iaf-step", "iaf-trajectory"]
Recognition = Literal["filter", "smooth"]


@dataclass(frozen=True)
class StateSpaceConfig:
    """What the model is made of. The defaults fit the pendulum's state of three numbers."""

    variant: Variant = "dvbf"
    observation: int = 3  # D
    control: int = 1  # A
    latent: int = 4  # Z; the noise w_t has as many numbers
    matrices: int = 16  # M of the locally linear transition
    hidden: int = 64  # width of the networks inside the walk through time; 0 makes all networks linear
    width: int = 128  # width of the networks that see all times at once
    recognition: Recognition = "filter"  # of w_t: from x_t, or "smooth" from x_t .. x_T
    lookahead: int = 0  # L: how many observations after the first one the initial state is inferred from
    shared_scale: bool = False  # one standard deviation for all observed numbers (pictures), or one for each
    reward_scale: float = 8.0  # size of a typical reward, so that its error weighs no more than the bound
    steps: int = 50  # T, read by iaf-trajectory only: the length that its flow was built for

    def __post_init__(self) -> None:
        if self.variant not in get_args(Variant):
            raise ValueError(f"variant must be one of {', '.join(get_args(Variant))}, not {self.variant!r}")
        if self.recognition not in get_args(Recognition):
            raise ValueError(f"recognition must be one of {', '.join(get_args(Recognition))}, not {self.recognition!r}")
        least = {"hidden": 0, "lookahead": 0}
        for name in ("observation", "control", "latent", "matrices", "hidden", "width", "lookahead", "steps"):
            if getattr(self, name) < least.get(name, 1):
                raise ValueError(f"{name} must be at least {least.get(name, 1)}, not {getattr(self, name)}")
        if not self.reward_scale > 0:
            raise ValueError(f"reward_scale must be above 0, not {self.reward_scale}")


class Path(NamedTuple):
    """A trajectory of states that the posterior proposes, and what it costs."""

    states: Tensor  # z [B,T+1,Z]
    noise: Tensor  # w [B,T+1,W], w_0 of the initial state
    kl: Tensor  # [B], nats per trajectory; E[kl] = KL(q(w | x, u) || p(w)) >= 0
    log_ratio: Tensor  # [B], log q(w) - log p(w) at this very w; the same expectation


class StateSpace(nn.Module):
    """p(x, w | u) = N(w; 0, I) prod_t N(x_t; g(z_t), s^2), with z_0 = h(w_0) and z_t = step(z_(t-1), u_(t-1), w_t).

    Deep Variational Bayes Filter (Karl et al. 2017, equations 5 to 12): the transition is a fixed part of generation
    and of recognition alike, and only the noise is inferred, so that a reconstruction has to pass through it.
    Variants differ in transition and in q(w | x, u); `docs/explanation/state-space.md` derives the bound of each.
    """

    def __init__(self, config: StateSpaceConfig) -> None:
        super().__init__()
        c = self.config = config
        wide, narrow = c.width if c.hidden else 0, c.hidden
        self.begin = MLP(c.latent, c.latent, (narrow,) if narrow else ())  # h: w_0 -> z_0
        self.transition: GaussianTransition | LocallyLinear
        if c.variant == "gaussian":
            self.transition = GaussianTransition(c.latent, c.control, max(narrow, 1))
        else:
            self.transition = LocallyLinear(c.latent, c.control, c.latent, c.matrices, narrow)
        self.emission = Emission(c.latent, c.observation, wide, c.shared_scale)
        flow, later = (StepFlow(c.latent, max(narrow, 8)) if c.variant == "iaf-step" else None for _ in range(2))
        self.initial = InitialRecognition(c.observation, c.control, c.latent, wide, c.lookahead, flow)
        sizes = (c.observation, c.latent, c.control)
        self.recognition = StepRecognition(sizes, c.latent, max(narrow, 8), later, c.recognition == "smooth")
        self.whole = TrajectoryFlow(c.latent, c.steps) if c.variant == "iaf-trajectory" else None
        self.reward = MLP(c.latent + c.control, 1, (max(narrow, 8),) * 2)

    def loss(self, batch: Trajectories, generator: torch.Generator | None = None) -> Loss:
        """Minus the bound, in nats per observation, with the KL weighted by `batch.kl_weight`, plus the reward's error.

        The reward head learns on states cut off from the rest, so it takes nothing from the bound. Parts: bound,
        reconstruction and kl (nats per trajectory, the bound at full weight), reward (squared error).
        """
        path = self.posterior(batch.observations, batch.controls, self.draw(batch.observations, generator))
        fit, kl = self.emission.log_prob(path.states, batch.observations).sum(-1).mean(), path.kl.mean()
        reward = functional.mse_loss(self.expected_reward(path.states[:, :-1].detach(), batch.controls), batch.rewards)
        total = (batch.kl_weight * kl - fit) / batch.observations.shape[1] + reward / self.config.reward_scale**2
        parts = {"bound": fit - kl, "reconstruction": fit, "kl": kl, "reward": reward}
        return Loss(total, {name: part.detach() for name, part in parts.items()})

    def draw(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Standard normal numbers [B,T+1,W] for trajectories x [B,T+1,D]."""
        shape = (*x.shape[:2], self.config.latent)
        return draw(torch.randn, shape, x, generator)

    def posterior(self, x: Tensor, u: Tensor, epsilon: Tensor) -> Path:
        """States that explain x [B,T+1,D] under controls u [B,T,A]; epsilon [B,T+1,W] is standard normal, or 0.

        At epsilon = 0 the noise is the centre of the posterior: its mean where that is Gaussian.
        """
        first: Noise = self.initial(x, u).at(epsilon[:, 0])
        turn = self.whole.turns() if self.whole is not None else None
        z, raws = self.begin(turn(first.value) if turn else first.value), []
        states, seen, steered = [z], self.recognition.look(x[:, 1:], u), self.transition.steer(u)
        for control, eye, normal in zip(steered.unbind(1), seen.unbind(1), epsilon[:, 1:].unbind(1), strict=True):
            step, raw = self._recognise(z, control, eye)
            drawn = self.recognition.read(raw).draw(normal)
            z = step.at(turn(drawn) if turn else drawn)
            states.append(z)
            raws.append(raw)
        later: Noise = self.recognition.read(torch.stack(raws, 1)).at(epsilon[:, 1:])  # all costs at once
        values = torch.cat((first.value.unsqueeze(1), later.value), 1)
        kl, ratio = first.kl + later.kl.sum(1), first.log_ratio + later.log_ratio.sum(1)
        if self.whole is not None:
            values, change = self.whole(values)
            kl, ratio = kl + change, ratio + change
        return Path(torch.stack(states, 1), values, kl, ratio)

    def unroll(self, z: Tensor, u: Tensor, noise: Tensor) -> Tensor:
        """The states [B,T+1,Z] that z_0 [B,Z], controls [B,T,A] and noise w_1 .. w_T [B,T,W] make: generation."""
        states = [z]
        for steered, w in zip(self.transition.steer(u).unbind(1), noise.unbind(1), strict=True):
            states.append(self.transition(states[-1], steered).at(w))
        return torch.stack(states, 1)

    def step(self, z: Tensor, u: Tensor) -> Step:
        """What follows states z [B,Z] under controls u [B,A]."""
        step: Step = self.transition(z, self.transition.steer(u))
        return step

    def initial_state(self, x: Tensor, u: Tensor, epsilon: Tensor) -> Tensor:
        """z_0 [B,Z] inferred from the first 1 + L observations of x [B,T+1,D] alone; epsilon [B,W] normal, or 0."""
        first: Tensor = self.initial(x, u).draw(epsilon)
        return self.begin(first if self.whole is None else self.whole.first(first))

    def filter(self, z: Tensor, u: Tensor, x: Tensor) -> Tensor:
        """The next state [B,Z] after z [B,Z] and control u [B,A], now that x [B,D] is seen: the posterior's centre.

        Raises ValueError where the posterior needs the whole trajectory.
        """
        if self.whole is not None or self.recognition.later is not None:
            raise ValueError(
                "a model cannot filter if its posterior takes the whole trajectory, as iaf-trajectory and smooth "
                "recognition do: use another variant, or recognition filter"
            )
        seen = self.recognition.look(x.unsqueeze(1), u.unsqueeze(1)).squeeze(1)
        step, raw = self._recognise(z, self.transition.steer(u), seen)
        return step.at(self.recognition.read(raw).draw(torch.zeros_like(z)))

    @torch.no_grad()
    def generate(self, x: Tensor, u: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """States z [B,T+1,Z] from the first 1 + L observations of x [B,>L,D] and the controls u [B,T,A].

        With a generator all noise is drawn: w_0 from its posterior, the rest from the prior. Without one, w_0 is the
        posterior's centre and every transition goes to its mean. No other observation is read.
        """
        shape = (len(x), u.shape[1] + 1, self.config.latent)
        noise = x.new_zeros(shape) if generator is None else draw(torch.randn, shape, x, generator)
        return self.unroll(self.initial_state(x, u, noise[:, 0]), u, noise[:, 1:])

    def expected_reward(self, z: Tensor, u: Tensor) -> Tensor:
        """The reward [*] of acting with u [*,A] in state z [*,Z]."""
        reward: Tensor = self.reward(torch.cat((z, u), -1)).squeeze(-1)
        return self.config.reward_scale * reward

    def _recognise(self, z: Tensor, steered: Tensor, seen: Tensor) -> tuple[Step, Tensor]:
        step: Step = self.transition(z, steered)
        raw: Tensor = self.recognition(seen, step.mean, z)
        return step, raw
