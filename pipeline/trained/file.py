"""A trained agent as one file: reading it needs torch, NumPy, safetensors and OpenCV, and no environment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from frmdn.agent.agent import Agent
from frmdn.agent.errors import first_line
from frmdn.agent.memory import Memory
from frmdn.agent.vision import ConvVAE
from frmdn.controller.agent import make_agent
from frmdn.envs.spec import EnvSpec

from ..front.player import Player
from . import container
from .container import REMEDY, Content
from .header import Header

if TYPE_CHECKING:
    from .trained import Rules

HELD = ("vision", "memory", "evolve")  # stages of a run whose work the file holds
VISION, MEMORY, THETA, STARTS = "vision.", "memory.", "theta", "first_latents"
Model = TypeVar("Model", bound=nn.Module)


class AgentFile:
    """The opened file: a `Trained` agent, its world, and what its run measured of it.

    `device` names where it computes, and `imports` the modules that register its world: the file names some too, but
    makes nobody import them. ValueError: the file is missing, foreign, of another format, damaged, or holds weights
    that do not fit.
    """

    def __init__(self, path: str | Path, device: str = "cpu", imports: Sequence[str] = ()) -> None:
        self.path, self.device, self.imports = Path(path).expanduser(), torch.device(device), tuple(imports)
        description, tensors = container.read(self.path)
        try:
            self.header = Header.read(description)
            self._agent, self._theta, self._first = _parts(self.header, tensors)
        except ValueError as error:
            raise ValueError(
                f"{self.path} does not hold a whole agent ({first_line(error)}): {REMEDY}, or read it with the frmdn "
                "that wrote it"
            ) from None

    def __repr__(self) -> str:
        return f"AgentFile({str(self.path)!r}, {self.header.world.id})"

    @property
    def root_seed(self) -> int:
        return self.header.seed

    @property
    def official(self) -> EnvSpec:
        return self.header.world.spec(self.imports)

    @property
    def rules(self) -> Rules:
        return self.header.done_threshold, self.header.reward

    @property
    def evaluation(self) -> dict[str, Any] | None:
        """What the run measured, as its evaluation.json holds it; None where it was not evaluated."""
        return self.header.evaluation

    def has(self, stage: str) -> bool:
        return stage in HELD

    def require(self, *stages: str) -> None:
        missing = [stage for stage in stages if stage not in HELD]
        if missing:
            self._not_here(f"what the stage {missing[0]} makes")

    def agent(self) -> Agent:
        return self._agent

    def theta(self, agent: Agent) -> NDArray[np.float32]:
        return self._theta

    def shown(self) -> None:
        return None

    def first_latents(self) -> Tensor:
        return self._first

    def episodes(self) -> NoReturn:
        self._not_here("episodes")

    def player(self) -> Player:
        """The agent, ready to act."""
        return Player(self._agent, self._theta, self.official, self.evaluation)

    def _not_here(self, what: str) -> NoReturn:
        raise ValueError(f"{self.path} holds an agent but no {what}: use the run folder, with --run DIR")


def load(file: str | Path, *, imports: Sequence[str] = ()) -> Player:
    """An agent out of one file, that `frmdn export --run DIR --out FILE` made, ready to act frame by frame.

    It needs neither its environment nor Gymnasium or Ray. `player.evaluation` is what its run measured, and
    `player.spec` its world, which `player.spec.make()` builds where it is installed.

    Args:
        file: its path. A file may come from a stranger: nothing in it is run.
        imports: modules that register its world, for `player.spec.make()`. The file never imports any by itself.

    Raises:
        ValueError: the file is missing, foreign, damaged, of another format, or holds weights that do not fit.

    >>> file = frmdn.open("runs/tiny").export("agent.safetensors")
    >>> player = frmdn.load(file)
    >>> player.act(np.zeros((64, 64, 3), np.uint8)).shape
    (2,)
    >>> player.reset()  # before the next episode
    """
    return AgentFile(file, imports=imports).player()


def pack(header: Header, agent: Agent, theta: NDArray[np.float32], first_latents: Tensor) -> Content:
    """What `container.write` writes: the description, and all weights under one roof."""
    assert agent.memory is not None
    tensors = {VISION + name: tensor for name, tensor in agent.vision.state_dict().items()}
    tensors |= {MEMORY + name: tensor for name, tensor in agent.memory.state_dict().items()}
    tensors |= {THETA: torch.from_numpy(np.array(theta)), STARTS: first_latents}
    return Content(header.text, tensors)


def _parts(header: Header, tensors: dict[str, Tensor]) -> tuple[Agent, NDArray[np.float32], Tensor]:
    """The agent, its parameters and its first latents; ValueError where the tensors are not those of the header."""
    _check_sizes(header, tensors)
    vision = _filled(lambda: ConvVAE(header.vision), tensors, VISION)
    memory = _filled(lambda: Memory(header.memory), tensors, MEMORY)
    agent = make_agent(vision, memory, header.world.spec(), header.agent)
    theta, first = tensors.pop(THETA, None), tensors.pop(STARTS, None)
    if theta is None or theta.dtype != torch.float32 or theta.shape != (agent.controller.size,):
        raise ValueError(f"theta must be f32[{agent.controller.size}], not {_kind(theta)}")
    latents = None if first is None or first.ndim != 2 else (max(1, len(first)), header.vision.latent)
    if first is None or first.dtype != torch.float32 or first.shape != latents:
        raise ValueError(f"first_latents must be f32[N,{header.vision.latent}], not {_kind(first)}")
    if tensors:
        raise ValueError(f"it holds what no agent has: {min(tensors)[:60]}")
    for name, tensor in {THETA: theta, STARTS: first}.items():
        _check_finite(name, tensor)
    return agent, theta.numpy(), first


def _check_sizes(header: Header, tensors: Mapping[str, Tensor]) -> None:
    """A size that no tensor of the file can have is refused before anything is built with it."""
    most = sum(tensor.numel() for tensor in tensors.values())
    for config in (header.vision, header.memory):
        for item in fields(config):
            value = getattr(config, item.name)
            limit = len(tensors) if item.name == "blocks" else most
            if isinstance(value, int) and value > limit:
                raise ValueError(f"{item.name} is {value}, and its weights are none of such a size")


def _filled(make: Callable[[], Model], tensors: dict[str, Tensor], prefix: str) -> Model:
    """A module with the weights of this prefix, which are taken out of `tensors`. Torch's random numbers stay."""
    try:
        with torch.device("meta"):  # shapes without memory, for nobody knows yet whether they are meant
            wanted = {prefix + name: _kind(tensor) for name, tensor in make().state_dict().items()}
    except (RuntimeError, OverflowError) as error:
        raise ValueError(f"its {prefix[:-1]} cannot be built: {' '.join(str(error).split())[:200]}") from None
    found = {name: _kind(tensor) for name, tensor in tensors.items() if name.startswith(prefix)}
    odd = sorted({name for name, _ in wanted.items() ^ found.items()})
    if odd:
        name = odd[0]
        raise ValueError(f"{name[:60]} is {found.get(name, 'missing')}, not {wanted.get(name, 'part of it')}")
    with torch.random.fork_rng(devices=[]):
        model = make()
    weights = {name: tensors.pop(name) for name in wanted}
    for name, tensor in weights.items():
        _check_finite(name, tensor)
    model.load_state_dict({name.removeprefix(prefix): tensor for name, tensor in weights.items()})
    return model.eval()


def _check_finite(name: str, tensor: Tensor) -> None:
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
        raise ValueError(f"{name} holds NaN or infinity")


def _kind(tensor: Tensor | None) -> str:
    return "missing" if tensor is None else f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"
