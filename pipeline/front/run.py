"""A run folder opened from Python: what is in it, and what one does with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from frmdn.agent.agent import Agent
from frmdn.agent.dream import Dream
from frmdn.agent.memory import Memory
from frmdn.agent.vision import ConvVAE
from frmdn.envs.dream import DreamEnv
from frmdn.envs.spec import EnvSpec
from frmdn.rollouts.episodes.joined import Episodes, LatentSource

from ..config import RunConfig
from ..dreams.worlds import dream_slots
from ..files import History, read_json
from ..session import Session, open_session
from ..trained.export import export
from ..trained.file import HELD
from ..workspace import StageStatus, Workspace, nothing_to_play
from .player import Player


class Run:
    """A run folder, for reading. Of a run in rounds it shows the round whose agent counts.

    `open` makes one. Nothing is read before it is asked for, and a part that is not there yet raises ValueError with
    the command that makes it.

    >>> run = frmdn.open("runs/tiny")
    >>> run
    Run('runs/tiny', Counting-v0: all 7 stages done)
    """

    def __init__(self, session: Session, folder: Path) -> None:
        self.session, self.folder = session, folder

    def __repr__(self) -> str:
        statuses = self.status()
        done = [status.name for status in statuses if status.state == "done"]
        what = f"all {len(done)} stages" if len(done) == len(statuses) else ", ".join(done) or "no stage"
        return f"Run({str(self.folder)!r}, {self.config.env}: {what} done)"

    # What the run is

    @property
    def config(self) -> RunConfig:
        """Every setting of the run.

        >>> frmdn.open("runs/tiny").config.search.population
        4
        """
        return self.session.config

    @property
    def spec(self) -> EnvSpec:
        """The world of the run, as the evaluation plays it.

        >>> frmdn.open("runs/tiny").spec.id
        'Counting-v0'
        """
        return self.session.official

    def status(self) -> list[StageStatus]:
        """Where each stage stands: `name`, `state` (done, partial, stale or missing), `why` and `seconds`.

        >>> [stage.name for stage in frmdn.open("runs/tiny").status() if stage.state == "done"]
        ['collect', 'vision', 'encode', 'memory', 'evolve', 'evaluate', 'report']
        """
        return Workspace(self.folder).status()

    @property
    def evaluation(self) -> dict[str, Any]:
        """The evaluation, as evaluation.json holds it: `mean`, `ci95`, `returns`, `seeds`, `baselines` and more.

        >>> evaluation = frmdn.open("runs/tiny").evaluation
        >>> evaluation["episodes"], len(evaluation["returns"])
        (2, 2)
        """
        path = self.folder / "evaluation.json"
        if not path.exists():
            raise self._missing("evaluate", path)
        return read_json(path)

    @property
    def history(self) -> list[dict[str, Any]]:
        """The search, one entry for each generation: `mean`, `best`, `sigma`, `steps` and more.

        >>> [line["generation"] for line in frmdn.open("runs/tiny").history]
        [1, 2]
        """
        path = self._stage("evolve") / "history.jsonl"
        return History(path, "generation").read() if path.exists() else []

    # What it recorded

    def episodes(self) -> Episodes:
        """The episodes of all rounds, by index.

        >>> episodes = frmdn.open("runs/tiny").episodes()
        >>> len(episodes.indices()), episodes.read(0).frames.shape
        (4, (11, 64, 64, 3))
        """
        self._finished("collect")
        return self.session.episodes()

    def latents(self) -> LatentSource:
        """The encoded episodes, by index: means and log-variances f32[T+1,Z], with actions, rewards and ends.

        >>> frmdn.open("runs/tiny").latents().read(0).mean.shape
        (11, 32)
        """
        self._finished("encode")
        return self.session.latents()

    # What it learned

    def vision(self) -> ConvVAE:
        """The trained vision.

        >>> frmdn.open("runs/tiny").vision().config.latent
        32
        """
        self._finished("vision")
        return self.session.vision()

    def memory(self, member: int = 0) -> Memory:
        """The trained memory that acts (0), or another member of the ensemble.

        >>> frmdn.open("runs/tiny").memory().config.hidden
        8
        """
        members = self.config.memory_data.members
        if not 0 <= member < members:
            raise ValueError(f"member must lie in 0..{members - 1}, for this run has {members}; not {member}")
        self._finished("memory")
        return self.session.memory(member)

    def agent(self) -> Agent:
        """Vision, memory and a linear controller, which takes its parameters, `theta()`, with every call of `act`.

        It acts for many rows at once; `player` is simpler for one.

        >>> run = frmdn.open("runs/tiny")
        >>> agent, theta = run.agent(), torch.from_numpy(run.theta())
        >>> frames = torch.zeros(5, 64, 64, 3, dtype=torch.uint8)
        >>> actions, state = agent.act(frames, agent.initial(5), theta.expand(5, -1))
        >>> actions.shape
        torch.Size([5, 2])
        """
        self._finished("vision")
        self._finished("memory")
        return self.session.agent()

    def theta(self, which: str = "mean") -> NDArray[np.float32]:
        """The controller's parameters f32[N]: the "mean" of the search, which is the agent, or its "best" candidate.

        >>> run = frmdn.open("runs/tiny")
        >>> run.theta().shape == (run.agent().controller.size,)
        True
        """
        if which not in ("mean", "best"):
            raise ValueError(f"which must be mean or best, not {which!r}")
        self._finished("evolve")
        return self.session.theta(self.agent(), which)

    def player(self, theta: ArrayLike | None = None) -> Player:
        """The trained agent, ready to act one frame at a time; or another controller `theta` f32[N] of it.

        >>> frmdn.open("runs/tiny").player()
        Player(Counting-v0, 82 parameters)
        """
        return Player(self.agent(), self.theta() if theta is None else theta, self.spec)

    def export(self, file: str | Path) -> Path:
        """Write the agent into one file, which `frmdn.load` reads without the environment: its path.

        Args:
            file: a name that ends in .safetensors; an agent file of that name is written anew.

        Raises:
            ValueError: the controller is not evolved yet, or the name is that of something else.

        >>> frmdn.load(frmdn.open("runs/tiny").export("agent.safetensors"))
        Player(Counting-v0, 82 parameters)
        """
        for stage in HELD:
            self._finished(stage)
        path = Path(file).expanduser()
        measured = any(status.name == "evaluate" and status.state == "done" for status in self.status())
        export(self.session, path, self.evaluation if measured else None)
        return path

    # What it dreams

    def dream(self, temperature: float = 1.0) -> Dream:
        """A step of the world as the memory imagines it, with the rewards and ends that the run's own dreams have.

        >>> run = frmdn.open("runs/tiny")
        >>> dream = run.dream()
        >>> state = dream.initial(run.starts()[:3])
        >>> state, reward, done = dream.step(state, torch.zeros(3, run.spec.action.size))
        >>> state.z.shape, reward.shape
        (torch.Size([3, 32]), torch.Size([3]))
        """
        ends, reward = self.session.rules
        actions = self.spec.action.play
        return Dream(self.memory(), temperature=temperature, done_threshold=ends, reward=reward, actions=actions)

    def starts(self) -> Tensor:
        """Where dreams begin: the first latent of every real episode, f32[N,Z].

        >>> frmdn.open("runs/tiny").starts().shape
        torch.Size([4, 32])
        """
        self._finished("encode")
        return self.session.first_latents()

    def dream_env(
        self,
        envs: int = 1,
        *,
        temperature: float = 1.0,
        max_steps: int | None = None,
        autoreset: AutoresetMode = AutoresetMode.NEXT_STEP,
    ) -> DreamEnv:
        """`envs` dreams side by side as a Gymnasium vector environment that renders.

        Observations are the features that the controller sees, f32[envs,F]; actions are the real world's. `max_steps`
        cuts a dream; None: as long as a real episode. `autoreset` says when a dream that is over begins anew:
        `AutoresetMode.SAME_STEP` is what `frmdn.stable_baselines` wants.

        >>> env = frmdn.open("runs/tiny").dream_env(2)
        >>> features, info = env.reset(seed=0)
        >>> features, reward, terminated, truncated, info = env.step(env.action_space.sample())
        >>> features.shape, env.render()[0].shape
        ((2, 40), (64, 64, 3))
        """
        self._finished("encode")
        agent = self.agent()
        slots = dream_slots(self.session, agent, self.session.dreamers(agent), temperature, envs, max_steps)
        return DreamEnv(slots, decode=agent.vision.decode, seed=self.config.seed, autoreset=autoreset)

    # What is there

    def _stage(self, name: str) -> Path:
        return self._owner(name).workspace.folder(name)

    def _owner(self, name: str) -> Session:
        """The round that has this stage: one that keeps the vision sees through that of a round before it."""
        session = self.session
        while name not in session.workspace.table and session.before is not None:
            session = session.before
        return session

    def _finished(self, name: str) -> None:
        if self._owner(name).workspace.done(name) is None:
            raise self._missing(name, self._stage(name))

    def _missing(self, stage: str, path: Path) -> ValueError:
        why = {status.name: f"{status.state}: {status.why}" for status in self._owner(stage).workspace.status()}
        if stage not in why:
            return ValueError(f"{self.folder} has no {stage}: {nothing_to_play(self.session.workspace)}")
        return ValueError(
            f"{path} is not finished (its stage, {stage}, is {why[stage]}): run frmdn run --out {self.folder}"
        )


def open(folder: str | Path) -> Run:
    """Open a run folder, finished or not, that `frmdn run --out FOLDER` made.

    Raises:
        ValueError: there is no such folder, it is no run folder, or its config.json is damaged.

    >>> run = frmdn.open("runs/tiny")
    >>> run.evaluation["env"]
    'Counting-v0'
    """
    path = Path(folder).expanduser()
    return Run(open_session(path), path)
