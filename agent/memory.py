"""M: a recurrent network that predicts the density of the next latent, the reward and the end of the episode."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from .batch import Loss, SequenceBatch
from .density import Chain, Flow, FlowedDistribution, Identity, Linear, couplings, frmdn
from .density.networks import Recurrent
from .two_hot import TwoHot, begin_at_prior


@dataclass(frozen=True)
class MemoryConfig:
    """What M is made of. Defaults: the sizes of World Models for CarRacing, with the density of FRMDN.

    >>> frmdn.MemoryConfig(action=5, density="rmdn").hidden
    256
    """

    latent: int = 32  # Z
    action: int = 3  # A; 0: nobody acts
    hidden: int = 256  # H of the LSTM
    components: int = 5  # K, one joint mixture over the Z dimensions
    density: Literal["frmdn", "rmdn"] = "frmdn"  # rmdn: no flow
    precision: Literal["diagonal", "low_rank", "semi_tied"] = "diagonal"
    rank: int = 4  # R of low_rank
    blocks: int = 2  # coupling blocks of the flow
    flow_hidden: int = 64  # width of the flow's conditioners
    reward_weight: float = 1.0  # of the loss of the reward, against nats per latent vector
    end_weight: float = 1.0  # of the cross entropy of the end
    reward_head: Literal["mean", "two_hot"] = (
        "mean"  # squared error, or a distribution: for rewards that come in spikes
    )
    reward_bins: int = 41  # values of the distribution, odd
    reward_limit: float = 150.0  # its largest absolute reward
    end_balance: float = 1.0  # a transition that ends an episode counts so often; `done_logit` is corrected for it

    def __post_init__(self) -> None:
        choices = {"density": ("frmdn", "rmdn"), "precision": ("diagonal", "low_rank", "semi_tied")}
        for name, allowed in (choices | {"reward_head": ("mean", "two_hot")}).items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, not {getattr(self, name)!r:.80}")
        if not self.end_balance > 0:
            raise ValueError(f"end_balance must be above 0, not {self.end_balance}; 1 counts all transitions alike")
        for name in ("latent", "hidden", "components", "rank", "blocks", "flow_hidden"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.action < 0:
            raise ValueError(f"action must not be negative, not {self.action}; 0 is a world in which nobody acts")


class MemoryState(NamedTuple):
    """What M remembers: hidden and cell state of the LSTM, each f32[B,H]."""

    h: Tensor
    c: Tensor


class Prediction(NamedTuple):
    """What M expects of a transition, given h after its latent and action."""

    latent: FlowedDistribution  # of the next latent, over [*B,Z]; `.mode` is the point prediction
    reward: Tensor  # f32[*B]
    done_logit: Tensor  # f32[*B]


class Memory(nn.Module):
    """LSTM over (latent, action), a mixture behind a flow for the next latent, one linear layer for reward and end.

    >>> memory = frmdn.Memory(frmdn.MemoryConfig(latent=32, action=3))
    >>> state = memory.step(torch.zeros(4, 32), torch.zeros(4, 3), memory.initial(4))
    >>> expected = memory.predict(state.h)
    >>> expected.latent.sample().shape, expected.reward.shape
    (torch.Size([4, 32]), torch.Size([4]))
    """

    def __init__(self, config: MemoryConfig) -> None:
        super().__init__()
        self.config = config
        flow = _flow(config)
        precision = config.precision if config.precision != "semi_tied" else "diagonal"  # the flow has the linear map
        inputs = config.latent + config.action
        sizes = (inputs, config.latent, config.components, config.hidden)
        self.density = frmdn(*sizes, precision, config.rank, flow=flow, standardize=False)
        self.two_hot = TwoHot(config.reward_bins, config.reward_limit) if config.reward_head == "two_hot" else None
        self.outcome = nn.Linear(config.hidden, 1 + (self.two_hot.bins if self.two_hot else 1))  # reward, then end
        if self.two_hot:
            begin_at_prior(self.outcome, self.two_hot)

    @property
    def trunk(self) -> Recurrent:
        return cast(Recurrent, self.density.trunk)

    def initial(self, batch: int, device: torch.device | str | None = None) -> MemoryState:
        """The empty memory of B rows, on the device of the weights unless another is named."""
        return MemoryState(*self.trunk.initial(batch, device))

    def step(self, z: Tensor, a: Tensor, state: MemoryState) -> MemoryState:
        """One step: latent f32[B,Z] and action f32[B,A] -> the state after them."""
        return MemoryState(*self.trunk.step(torch.cat((z, a), -1), state))

    def unroll(self, z: Tensor, a: Tensor, state: MemoryState | None = None) -> tuple[Tensor, MemoryState]:
        """T steps at once: z f32[B,T,Z], a f32[B,T,A] -> h f32[B,T,H] after each step, and the last state."""
        features, last = self.trunk(torch.cat((z, a), -1), state)
        return features, MemoryState(*last)

    def predict(self, h: Tensor) -> Prediction:
        """What follows, from h f32[*B,H] after the latent and the action of the transition."""
        reward, end = self._outcome(h)
        expected = self.two_hot.expectation(reward) if self.two_hot else reward[..., 0]
        # Counting ends `end_balance` times as often adds its log to the logit of their chance; here it goes again.
        return Prediction(self.density.distribution(h), expected, end - math.log(self.config.end_balance))

    def loss(self, batch: SequenceBatch, generator: torch.Generator | None = None) -> Loss:
        """Mean over real transitions of nll + reward_weight * reward + end_weight * cross entropy of the end.

        Parts: nll (nats per vector; below 0 is no fault, densities exceed 1), nll_per_dim, reward (the squared error,
        or the cross entropy of a two-hot head in nats), end.
        The generator is not used: the batch's latents are samples already.
        """
        keep = None if bool(batch.mask.all()) else batch.mask
        real = [_real(x, keep) for x in (batch.latents[:, 1:], batch.rewards, batch.ends)]
        features, _ = self.unroll(_clean(batch.latents[:, :-1], keep), _clean(batch.actions, keep))
        h = _real(features, keep)
        with torch.autocast(h.device.type, enabled=False):  # densities are float32 even where the LSTM is bf16
            h = h.to(self.outcome.weight.dtype)
            nll = -self.density.distribution(h).log_prob(real[0]).mean()
            reward, end = self._outcome_loss(h, real[1], real[2])
            total = nll + self.config.reward_weight * reward + self.config.end_weight * end
        parts = {"nll": nll, "nll_per_dim": nll / self.config.latent, "reward": reward, "end": end}
        return Loss(total, {name: part.detach() for name, part in parts.items()})

    def _outcome(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """The reward f32[*B,1], or its logits f32[*B,bins], and the logit of the end f32[*B] as it is trained."""
        outcome = self.outcome(h)
        return outcome[..., :-1], outcome[..., -1]

    def _outcome_loss(self, h: Tensor, rewards: Tensor, ends: Tensor) -> tuple[Tensor, Tensor]:
        """Losses of the reward and of the end for N transitions: h f32[N,H], rewards and ends f32[N]."""
        reward, end = self._outcome(h)
        lost = self.two_hot.loss(reward, rewards) if self.two_hot else functional.mse_loss(reward[..., 0], rewards)
        balance = None if self.config.end_balance == 1 else ends.new_tensor(self.config.end_balance)
        return lost, functional.binary_cross_entropy_with_logits(end, ends, pos_weight=balance)


def _flow(config: MemoryConfig) -> Flow:
    flows: list[Flow] = []
    if config.density == "frmdn":
        flows.append(couplings(config.latent, config.blocks, config.flow_hidden))
    if config.precision == "semi_tied":
        flows.append(Linear(config.latent))
    return Chain(*flows) if flows else Identity()


def _real(x: Tensor, keep: Tensor | None) -> Tensor:
    """The real transitions as rows: [B,T,...] -> [N,...]."""
    return x.flatten(0, 1) if keep is None else x[keep]


def _clean(x: Tensor, keep: Tensor | None) -> Tensor:
    """Zeros in the padding, so that not even a NaN there can reach a gradient."""
    return x if keep is None else x.masked_fill(~keep.unsqueeze(-1), 0.0)
