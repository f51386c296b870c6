"""What every stage gets: the run folder, its configuration, the machine, and the models that earlier stages left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from frmdn.agent.agent import Agent
from frmdn.agent.device import choose_device
from frmdn.agent.memory import Memory
from frmdn.agent.seeds import derive
from frmdn.agent.vision import ConvVAE
from frmdn.controller.agent import make_agent
from frmdn.controller.dreaming import DreamConfig
from frmdn.envs.recorded import RECORDED
from frmdn.envs.spec import EnvSpec
from frmdn.rollouts.batches import split
from frmdn.rollouts.collect import check_store
from frmdn.rollouts.episodes.joined import Episodes, JoinedEpisodes, JoinedLatents, LatentSource
from frmdn.rollouts.episodes.store import EpisodeStore
from frmdn.rollouts.latents import LatentStore, check_latents
from frmdn.rollouts.recordings.storing import check_recorded

from .config import RunConfig, from_json
from .files import read_history, read_record
from .metrics.series import Metrics
from .metrics.tracker import Tracker
from .progress import Progress
from .weights import Model, load_model, load_state, load_theta
from .workspace import StageClock, Workspace, nothing_to_play

KEPT_LOST = "delete it and run the same command again: the rounds are there, and the choice is made anew"


@dataclass(frozen=True)
class Machine:
    """Where the work is done. It is no part of the configuration, for it changes the time and not the results."""

    workers: int  # processes that play episodes; 0 plays in this one
    address: str | None = None  # of a Ray cluster; None: one on this machine
    on: str = "cpu"  # the device that computes, as `--device` names it

    @cached_property
    def device(self) -> torch.device:
        """Where models are trained, and where they encode, dream and act; ValueError where it cannot compute."""
        return choose_device(self.on)

    @property
    def acting(self) -> str:
        """The device on which agents in real episodes see, remember and act, by name.

        Several workers act on their processors: on one GPU they take turns, and 15 that shared an H100 were as slow as
        two cores (docs/how-to/gpu.md). In a cluster their processors are other ones.
        """
        return str(self.device) if self.address is None and self.workers <= 1 else "cpu"


@dataclass(frozen=True)
class Session:
    """One run folder at work."""

    workspace: Workspace
    config: RunConfig
    machine: Machine
    progress: Progress
    trackers: tuple[Tracker, ...] = ()  # that people asked for, of the whole run

    @cached_property
    def spec(self) -> EnvSpec:
        return self.config.spec

    @property
    def official(self) -> EnvSpec:
        """The environment of the evaluation, with its own step limit unless the configuration shortens it."""
        limit = self.config.evaluate.max_steps
        return self.spec if limit is None else replace(self.spec, max_steps=min(limit, self.spec.max_steps))

    @property
    def root_seed(self) -> int:
        """The root of the random numbers of all rounds."""
        return self.config.seed

    @property
    def device(self) -> torch.device:
        """Where its models compute."""
        return self.machine.device

    @property
    def watched(self) -> bool:
        """Whether the episodes were imported and there is no environment: nobody can play, only dream."""
        return self.config.env == RECORDED

    # Rounds: a folder of a further round goes on from those before it

    @property
    def seed(self) -> int:
        """The root of this round's random numbers; of the first round, that of the run."""
        number = self.config.rounds.number
        return self.config.seed if number == 1 else derive(self.config.seed, "round", number)

    @cached_property
    def before(self) -> Session | None:
        """The round before this one; None for the first."""
        number, root = self.config.rounds.number, self.workspace.root
        if number == 1:
            return None
        return self.at(root.parent if number == 2 else root.parent / round_name(number - 1))

    @property
    def lineage(self) -> list[Session]:
        """All rounds up to this one, oldest first."""
        return [*(self.before.lineage if self.before else []), self]

    @property
    def kept(self) -> Session:
        """The round whose agent counts, once all rounds of this folder are done; this session where there is one."""
        path = self.workspace.folder("rounds") / "kept.json"
        if self.config.rounds.count == 1 or not (path.parent / "done.json").exists() or not path.exists():
            return self
        number = int(read_record(path, {"round": int}, KEPT_LOST)["round"])
        return self if number == 1 else self.at(self.workspace.root / round_name(number))

    def at(self, folder: Path) -> Session:
        """The same machine at another run folder."""
        workspace = Workspace(folder)
        return replace(self, workspace=workspace, config=stored_config(workspace))

    # What is stored

    def episodes(self) -> Episodes:
        """The episodes of all rounds so far."""
        stores = [EpisodeStore(each.workspace.folder("collect") / "episodes") for each in self.lineage]
        return stores[0] if len(stores) == 1 else JoinedEpisodes(stores, self._counts())

    def check_episodes(self) -> None:
        """Raise ValueError where an episode of another run lies among those of all rounds so far."""
        for each in self.lineage:
            store = EpisodeStore(each.workspace.folder("collect") / "episodes")
            if each.config.recording is not None and each.before is None:
                check_recorded(each.config.recording, store)
            else:
                check_store(each.spec, each.config.collect, store, each.seed)

    def check_latents(self) -> None:
        """Raise ValueError where latents of another run or vision lie among those of all rounds so far."""
        vision, own = self.vision(), LatentStore(self.workspace.folder("encode"))
        if self.config.rounds.vision_steps:
            check_latents(vision, self.episodes(), own)
            return
        for each in self.lineage:
            store = EpisodeStore(each.workspace.folder("collect") / "episodes")
            check_latents(vision, store, LatentStore(each.workspace.folder("encode")))

    def latents(self) -> LatentSource:
        """The latents of all rounds so far, as this round's vision sees them."""
        stores = [LatentStore(each.workspace.folder("encode")) for each in self.lineage]
        if len(stores) == 1 or self.config.rounds.vision_steps:  # a vision trained on encodes everything anew
            return stores[-1]
        return JoinedLatents(stores, self._counts())

    def split(self, name: str, validation: float) -> tuple[list[int], list[int]]:
        """Indices for training and for validation; what one round held out, no later one trains on."""
        training: list[int] = []
        held: list[int] = []
        first = 0
        for each, count in zip(self.lineage, self._counts(), strict=True):
            for chosen, part in zip(
                (training, held), split(range(count), validation, derive(each.seed, name)), strict=True
            ):
                chosen += [first + index for index in part]
            first += count
        return training, held

    def _counts(self) -> list[int]:
        return [each.config.collect.episodes for each in self.lineage]

    def shown(self) -> int | None:
        """The stored episode to film where nobody can play: the first held out. None: the agent plays a new one."""
        if not self.watched:
            return None
        self.require("memory")
        return self.split("memory", self.config.memory_data.validation)[1][0]

    def first_latents(self) -> Tensor:
        """Where real episodes began, f32[N,Z]: the first latent of every encoded episode."""
        store = self.latents()
        indices = store.indices()
        if not indices:
            raise ValueError(f"{store.folder} holds no latents to begin dreams at: run frmdn encode --run DIR first")
        return torch.from_numpy(np.concatenate([store.read_slice(index, 0, 1).mean[:1] for index in indices]))

    def has(self, stage: str) -> bool:
        """Whether what a stage makes is there, and up to date."""
        return any(status.name == stage and status.state == "done" for status in self.workspace.status())

    def require(self, *stages: str) -> None:
        """Raise ValueError unless these stages of the run are done."""
        states = {status.name: status.state for status in self.workspace.status()}
        root = self.workspace.root
        if not set(stages) <= states.keys():
            told = nothing_to_play(self.workspace)
            raise ValueError(f"this needs an agent, but of {root} {told}; a stored episode is filmed by --episode N")
        missing = [name for name in stages if states[name] != "done"]
        if missing:
            what = ", ".join(f"{name} ({states[name]})" for name in missing)
            raise ValueError(f"this needs {what} done first: run frmdn run --out {root}")

    # The models

    def new_vision(self) -> ConvVAE:
        return _initialised(lambda: ConvVAE(self.config.vision), derive(self.seed, "vision", "initial"))

    def new_memory(self, member: int = 0) -> Memory:
        names: list[str | int] = ["memory", "initial", *([member] if member else [])]
        return _initialised(lambda: Memory(self.config.memory), derive(self.seed, *names))

    def vision(self) -> ConvVAE:
        """The trained vision; raises ValueError where its files are foreign or damaged."""
        if self.before is not None and not self.config.rounds.vision_steps:
            return self.before.vision()
        return load_model(self.workspace.folder("vision"), self.new_vision())

    def memory(self, member: int = 0) -> Memory:
        """The trained memory that acts, or another member; raises ValueError where its files are foreign or damaged."""
        return load_model(self.memory_folder(member), self.new_memory(member))

    def memories(self) -> list[Memory]:
        """All members of the ensemble; the first one acts."""
        return [self.memory(member) for member in range(self.config.memory_data.members)]

    def memory_folder(self, member: int) -> Path:
        folder = self.workspace.folder("memory")
        return folder / f"member-{member + 1}" if member else folder

    def agent(self) -> Agent:
        """The agent of the run: trained vision and memory, and a linear controller without parameters of its own."""
        return make_agent(self.vision(), self.memory(), self.spec, self.config.agent)

    @property
    def dreams(self) -> bool:
        """Whether the controller is evolved in dreams."""
        return self.config.dream.world == "dream"

    @property
    def rules(self) -> tuple[float | None, Literal["learned", "survival"]]:
        """How dreams of the run end (`Dream.done_threshold`) and reward: as its search dreamt, where it did."""
        config = self.config.dream if self.dreams else DreamConfig(done_threshold=0.5)
        return config.done_threshold, config.reward

    def dreamers(self, agent: Agent) -> list[Memory]:
        """The memories that dream: all of the ensemble where the run's search dreamt, else the one that acts."""
        return self.memories() if self.dreams or agent.memory is None else [agent.memory]

    def start(self, agent: Agent) -> np.ndarray | None:
        """Where a search of this round begins, f32[N]: at the controller of the round before; None begins at zero."""
        return None if self.before is None else self.before.theta(agent)

    def theta(self, agent: Agent, which: str = "mean") -> np.ndarray:
        """The controller's parameters f32[N]: CMA's "mean", which is the agent that counts, or the "best" candidate.

        After a search in dreams, or in rounds, "mean" is the one of CMA's means that was best in reality.
        """
        return load_theta(self.workspace.folder("evolve") / f"{which}.safetensors", agent.controller.size)

    def last_theta(self) -> np.ndarray:
        """CMA's last mean f32[N], whatever it is worth in reality."""
        return load_state(self.workspace.folder("evolve") / "search.safetensors")["mean"].astype(np.float32)


@dataclass(frozen=True)
class Work:
    """A stage under way: its folder, its clock, and where it tells how far it is."""

    folder: Path
    clock: StageClock
    report: Callable[[int, int, str], None]  # (units done, units in all, the figure of the moment)
    metrics: Metrics = field(default_factory=Metrics)  # where its figures go


@dataclass(frozen=True)
class Result:
    """What a stage made: how many units, and one line for people."""

    units: int
    text: str


def round_name(number: int) -> str:
    """The folder of a further round inside the run folder."""
    return f"round-{number:02d}"


def kept_record(workspace: Workspace) -> dict[str, Any]:
    """Which mean a finished search kept: {generation, validation, last, real_steps}.

    A single search in reality keeps its last mean and leaves no record; its last validation stands for that mean.
    """
    folder = workspace.folder("evolve")
    if (folder / "kept.json").exists():
        return read_record(
            folder / "kept.json", {"generation": int, "real_steps": int, "validation": object, "last": object}
        )
    lines = read_history(folder / "history.jsonl", ("generation", "mean"), all_numbers=True)
    validation = next((line["validation"] for line in reversed(lines) if "validation" in line), None)
    steps = sum(int(line.get("steps", 0)) for line in lines)
    return {"generation": len(lines), "validation": validation, "last": validation, "real_steps": steps}


def open_session(root: str | Path, device: str = "cpu") -> Session:
    """A finished or unfinished run folder, for reading: `open_session("runs/car").agent()`.

    Of a folder with several rounds that are done, it is the round whose agent counts. Raises ValueError where it is no
    run folder, or one that another version of frmdn made.
    """
    workspace = Workspace(root)
    return Session(workspace, stored_config(workspace), Machine(0, on=device), Progress()).kept


def stored_config(workspace: Workspace) -> RunConfig:
    """The configuration of a folder; ValueError names the file where a setting of it is wrong or unknown."""
    plain = workspace.read_config()
    try:
        return from_json(plain)
    except ValueError as error:
        raise ValueError(f"{workspace.config_path}: {error}") from None


def _initialised(make: Callable[[], Model], seed: int) -> Model:
    """Build a module with initial weights of its own seed, leaving torch's global generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()
