"""The agent: vision, memory and a controller, with its state passed in and out."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:
    from .memory import Memory, MemoryState
    from .vision import ConvVAE

FEATURES = ("z", "zh", "zhc")


class Controller(Protocol):
    """Maps features to raw actions; parameter row p drives row p."""

    @property
    def inputs(self) -> int: ...  # F

    @property
    def outputs(self) -> int: ...  # A

    @property
    def size(self) -> int: ...  # N, parameters per row

    def act(self, theta: Tensor, features: Tensor) -> Tensor:
        """theta f32[P,N], features f32[P,F] -> unbounded f32[P,A]."""
        ...


@dataclass(frozen=True)
class AgentConfig:
    """`features` names what the controller sees: latent "z", with the memory's output "zh", with its cell too "zhc".

    >>> frmdn.AgentConfig("z").features  # a controller that sees the latent alone
    'z'
    """

    features: str = "zh"

    def __post_init__(self) -> None:
        if self.features not in FEATURES:
            raise ValueError(f"features must be one of {', '.join(FEATURES)}, not {self.features!r}")


def select_features(features: str, z: Tensor, memory: MemoryState | None) -> Tensor:
    """What a controller sees f32[P,F] of latents z f32[P,Z] and a memory, in reality and in dreams: one of FEATURES."""
    if memory is None or features == "z":
        return z
    return torch.cat((z, memory.h, memory.c)[: len(features)], 1)


class AgentState(NamedTuple):
    """What P agents remember between frames; row p belongs to agent p alone."""

    z: Tensor  # f32[P,Z], latent of the last frame seen
    memory: MemoryState | None  # after the last action; None where the agent has no memory


class Agent:
    """P agents that share eyes and memory, each with a controller of its own. Inference only, and it pickles.

    >>> vision, memory = frmdn.ConvVAE(), frmdn.Memory(frmdn.MemoryConfig(action=3))
    >>> agent = frmdn.Agent(vision, memory, frmdn.LinearController(inputs=288, outputs=3), torch.tanh)
    >>> state, theta = agent.initial(2), torch.zeros(2, agent.controller.size)  # two agents
    >>> actions, state = agent.act(torch.zeros(2, 64, 64, 3, dtype=torch.uint8), state, theta)
    >>> actions.tolist()
    [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """

    def __init__(
        self,
        vision: ConvVAE,
        memory: Memory | None,
        controller: Controller,
        squash: Callable[[Tensor], Tensor],
        config: AgentConfig | None = None,
    ) -> None:
        self.vision, self.memory, self.controller, self.squash = vision.eval(), memory, controller, squash
        self.config = config or AgentConfig()
        if memory is None and self.config.features != "z":
            raise ValueError(f'features {self.config.features!r} need a memory; pass one, or use features="z"')
        if memory is not None:
            memory.eval()
            if memory.config.latent != vision.config.latent:
                raise ValueError(
                    f"memory reads latents of {memory.config.latent}, but vision makes {vision.config.latent}: "
                    "train both with one size"
                )
            if memory.config.action != controller.outputs:
                raise ValueError(
                    f"memory reads actions of {memory.config.action}, but controller makes {controller.outputs}: "
                    "use the memory and the controller of one environment"
                )
        if controller.inputs != self.feature_size:
            raise ValueError(
                f"controller has {controller.inputs} inputs, but features {self.config.features!r} are "
                f"{self.feature_size} numbers: build it with inputs={self.feature_size}"
            )

    def to(self, device: torch.device) -> Agent:
        """This agent on a device: a copy, or itself where it is there already."""
        if next(self.vision.parameters()).device == device:
            return self
        moved = copy.copy(self)
        moved.vision = copy.deepcopy(self.vision).to(device)
        moved.memory = None if self.memory is None else copy.deepcopy(self.memory).to(device)
        return moved

    @property
    def feature_size(self) -> int:
        """F: how many numbers the controller sees."""
        hidden = self.memory.config.hidden if self.memory is not None else 0
        return self.vision.config.latent + hidden * (len(self.config.features) - 1)

    def initial(self, rows: int) -> AgentState:
        """The state of `rows` agents that have seen nothing."""
        z = next(self.vision.parameters()).new_zeros(rows, self.vision.config.latent)
        return AgentState(z.detach(), None if self.memory is None else self.memory.initial(rows, device=z.device))

    @torch.inference_mode()
    def reset(self, state: AgentState, rows: int | Sequence[int] | Tensor) -> AgentState:
        """`state` with the given rows as `initial` would make them; the others keep theirs. `state` is not changed."""
        chosen = torch.as_tensor([rows] if isinstance(rows, int) else rows, device=state.z.device)

        def cleared(tensor: Tensor) -> Tensor:
            tensor = tensor.clone()
            tensor[chosen] = 0
            return tensor

        memory = None if state.memory is None else type(state.memory)(*map(cleared, state.memory))
        return AgentState(cleared(state.z), memory)

    @torch.inference_mode()
    def act(self, frames: Tensor, state: AgentState, theta: Tensor) -> tuple[Tensor, AgentState]:
        """See, decide, remember: frames u8[P,H,W,C], theta f32[P,N] -> actions f32[P,A], and the state after them.

        An action that is not a number raises ValueError naming its row.
        """
        if not len(frames) == len(state.z) == len(theta):
            counts = f"{len(frames)}, {len(state.z)} and {len(theta)}"
            raise ValueError(f"frames, state and theta have {counts} rows; give each agent one row of each")
        z = self.vision.encode_mean(frames)
        actions = self.squash(self.controller.act(theta, self._features(z, state)))
        if not bool(torch.isfinite(actions).all()):
            rows = (~torch.isfinite(actions)).flatten(1).any(1).nonzero().flatten().tolist()
            raise ValueError(
                f"action of row {rows[0]} is not finite (all such rows: {rows}): "
                "look for NaN in its theta, or in the weights of vision and memory"
            )
        if self.memory is None or state.memory is None:
            return actions, AgentState(z, None)
        return actions, AgentState(z, self.memory.step(z, actions, state.memory))

    @torch.inference_mode()
    def reconstruct(self, frames: Tensor) -> Tensor:
        """What the latent keeps of the frames u8[P,H,W,C]: pictures f32[P,H,W,C] in 0..1."""
        return self.vision.decode(self.vision.encode_mean(frames))

    @torch.inference_mode()
    def expect_next(self, state: AgentState) -> Tensor:
        """The next frame that the memory expects, f32[P,H,W,C] in 0..1, given the state that `act` returned.

        It is the picture of the predictive density's mode, so a future with two branches shows the heavier one.
        """
        if self.memory is None or state.memory is None:
            raise ValueError("this agent has no memory, so it expects nothing: build it with one")
        return self.vision.decode(self.memory.predict(state.memory.h).latent.mode)

    def _features(self, z: Tensor, state: AgentState) -> Tensor:
        return select_features(self.config.features, z, state.memory)
