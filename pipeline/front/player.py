"""One agent that plays: it takes a picture, gives an action as the world takes it, and remembers in between."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from frmdn.agent.agent import Agent, AgentState
from frmdn.envs.spec import EnvSpec


class Player:
    """An agent with its parameters and its own memory, for a loop that you write yourself.

    Args:
        agent: vision, memory and controller.
        theta: the controller's parameters f32[N], N = `agent.controller.size`.
        spec: the world that it plays.
        evaluation: what was measured of it, as `Run.evaluation`; None: nothing is known here.

    Raises:
        ValueError: theta has another size, or is not finite.

    >>> player = frmdn.open("runs/tiny").player()
    >>> env = player.spec.make()
    >>> frame, _ = env.reset(seed=1)
    >>> for _ in range(3):
    ...     frame, reward, terminated, truncated, info = env.step(player.act(frame))
    >>> player.reset()  # before the next episode
    """

    def __init__(self, agent: Agent, theta: ArrayLike, spec: EnvSpec, evaluation: dict[str, Any] | None = None) -> None:
        parameters = np.asarray(theta, np.float32)
        if parameters.shape != (agent.controller.size,):
            raise ValueError(f"theta has shape {parameters.shape}, the controller needs ({agent.controller.size},)")
        if not np.isfinite(parameters).all():
            raise ValueError("theta holds NaN or infinity: give the parameters of a finished search")
        self.agent, self.theta, self.spec, self.evaluation = agent, parameters, spec, evaluation
        self.state: AgentState = agent.initial(1)  # what it remembers, a batch of one
        self._row = torch.from_numpy(parameters.copy())[None].to(self.state.z.device)

    def __repr__(self) -> str:
        return f"Player({self.spec.id}, {len(self.theta)} parameters)"

    def reset(self) -> None:
        """Forget everything: a new episode begins.

        >>> player = frmdn.open("runs/tiny").player()
        >>> player.reset()
        """
        self.state = self.agent.initial(1)

    def act(self, frame: ArrayLike) -> Any:
        """The action for one frame, as the environment takes it: f32[A] for a Box, an int for a Discrete space.

        Args:
            frame: u8[S,S,C] as `spec.make()` shows it, or a picture u8[H,W,C] of the world, of any size, which is cut
                and resized as in training.

        Raises:
            ValueError: the frame has another type or number of channels.

        >>> player = frmdn.open("runs/tiny").player()
        >>> action = player.act(np.zeros((64, 64, 3), np.uint8))
        >>> action.shape, action.dtype
        ((2,), dtype('float32'))
        """
        seen = torch.from_numpy(self._frame(np.asarray(frame)))[None].to(self._row.device)
        actions, self.state = self.agent.act(seen, self.state, self._row)
        return self.spec.action.to_env(actions[0].cpu().numpy())

    def _frame(self, picture: NDArray[Any]) -> NDArray[Any]:
        spec = self.spec
        if picture.shape == spec.frame_shape and picture.dtype == spec.frame_type:
            return np.ascontiguousarray(picture)
        channels = picture.shape[2] if picture.ndim == 3 else 1
        if (
            spec.vector
            or picture.dtype != np.uint8
            or picture.ndim not in (2, 3)
            or not picture.size
            or channels != spec.channels
        ):
            wanted = f"{np.dtype(spec.frame_type)}{list(spec.frame_shape)}"
            raise ValueError(
                f"frame is {picture.dtype}{list(picture.shape)}, but the agent sees {wanted}: give it what "
                f"env.reset and env.step of spec.make() return, or a picture uint8[H, W, {spec.channels}] of the "
                "world, one frame at a time"
            )
        return spec.pipe(picture)
