"""What every stage gets: the run folder, its configuration, the machine, and the models that earlier stages left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from agent.agent import Agent, AgentConfig
from agent.memory import Memory
from agent.seeds import derive
from agent.vision import ConvVAE
from controller.linear import LinearController
from envs.spec import EnvSpec, get_spec

from .config import RunConfig, from_json
from .progress import Progress
from .weights import Model, load_model, load_theta
from .workspace import StageClock, Workspace


@dataclass(frozen=True)
class Machine:
    """Where the work is done. It is no part of the configuration, for it changes the time and not the results."""

    workers: int  # processes that play episodes; 0 plays in this one
    address: str | None = None  # of a Ray cluster; None: one on this machine

    @property
    def threads(self) -> int:
        return max(1, self.workers)

    @property
    def device(self) -> torch.device:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass(frozen=True)
class Session:
    """One run folder at work."""

    workspace: Workspace
    config: RunConfig
    machine: Machine
    progress: Progress

    @cached_property
    def spec(self) -> EnvSpec:
        return get_spec(self.config.env, world=self.config.world)

    def new_vision(self) -> ConvVAE:
        return _initialised(lambda: ConvVAE(self.config.vision), derive(self.config.seed, "vision", "initial"))

    def new_memory(self) -> Memory:
        return _initialised(lambda: Memory(self.config.memory), derive(self.config.seed, "memory", "initial"))

    def vision(self) -> ConvVAE:
        """The trained vision; raises ValueError where its files are foreign or damaged."""
        return load_model(self.workspace.folder("vision"), self.new_vision())

    def memory(self) -> Memory:
        """The trained memory; raises ValueError where its files are foreign or damaged."""
        return load_model(self.workspace.folder("memory"), self.new_memory())

    def agent(self) -> Agent:
        """The agent of the run: trained vision and memory, and a linear controller without parameters of its own."""
        return make_agent(self.vision(), self.memory(), self.spec, self.config.agent)

    def theta(self, agent: Agent, which: str = "mean") -> np.ndarray:
        """The controller's parameters f32[N]: CMA's "mean", which is the agent that counts, or the "best" candidate."""
        return load_theta(self.workspace.folder("evolve") / f"{which}.safetensors", agent.controller.size)


@dataclass(frozen=True)
class Work:
    """A stage under way: its folder, its clock, and where it tells how far it is."""

    folder: Path
    clock: StageClock
    report: Callable[[int, int, str], None]  # (units done, units in all, the figure of the moment)


@dataclass(frozen=True)
class Result:
    """What a stage made: how many units, and one line for people."""

    units: int
    text: str


def make_agent(vision: ConvVAE, memory: Memory | None, spec: EnvSpec, config: AgentConfig) -> Agent:
    """An agent whose linear controller fits what `config.features` shows it. It acts on the CPU, in the workers."""
    hidden = memory.config.hidden if memory is not None else 0
    inputs = vision.config.latent + hidden * (len(config.features) - 1)
    controller = LinearController(inputs, spec.action.size)
    return Agent(vision, memory, controller, spec.action.squash, config)


def open_session(root: str | Path, workers: int = 0) -> Session:
    """A finished or unfinished run folder, for reading: `open_session("runs/car").agent()`."""
    workspace = Workspace(root)
    config = from_json(workspace.read_config())
    return Session(workspace, config, Machine(workers), Progress())


def _initialised(make: Callable[[], Model], seed: int) -> Model:
    """Build a module with initial weights of its own seed, leaving torch's global generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()
