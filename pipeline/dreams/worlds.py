"""The dreams of a run: where they begin, how long they last, and which part of reality is held out to judge them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch

from frmdn.agent.agent import Agent
from frmdn.agent.dream import Dream
from frmdn.agent.memory import Memory
from frmdn.controller.dreaming import DreamConfig
from frmdn.envs.dream import DreamSlots
from frmdn.rollouts.latents import Latents

from ..session import Session


def held_out(session: Session) -> list[Latents]:
    """The encoded episodes that the memory was not trained on (the same split as in its training)."""
    _, held = session.split("memory", session.config.memory_data.validation)
    return [session.latents().read(index) for index in held]


def first_latents(session: Session) -> torch.Tensor:
    """Where real episodes began, f32[N,Z]: the first latent of every encoded episode."""
    store = session.latents()
    indices = store.indices()
    if not indices:
        raise ValueError(f"{store.folder} holds no latents to begin dreams at: run frmdn encode --run DIR first")
    return torch.from_numpy(np.concatenate([store.read_slice(index, 0, 1).mean[:1] for index in indices]))


def rules(session: Session) -> tuple[float | None, Literal["learned", "survival"]]:
    """How dreams of the run end (`Dream.done_threshold`) and reward: as its search dreamt, where it did."""
    config = session.config.dream if session.dreams else DreamConfig(done_threshold=0.5)
    return config.done_threshold, config.reward


def dream_slots(
    session: Session,
    agent: Agent,
    temperature: float,
    slots: int,
    max_steps: int | None = None,
    members: Sequence[Memory] | None = None,
) -> DreamSlots:
    """Dreams that begin as the run's real episodes did, with an empty memory, and show what the controller sees.

    They are on the agent's device. Where the run's search dreamt, they reward and end as its dreams did, and come from
    all its memories unless `members` names others.
    """
    if members is None:
        members = session.memories() if session.dreams else [_memory(agent)]
    ends, reward = rules(session)
    device = next(agent.vision.parameters()).device
    dreams = [Dream(m.to(device), temperature=temperature, done_threshold=ends, reward=reward) for m in members]
    first = first_latents(session).to(device)
    return DreamSlots(
        session.official,
        dreams,
        [dream.initial(first) for dream in dreams],
        slots,
        features=agent.config.features,
        max_steps=max_steps,
    )


def _memory(agent: Agent) -> Memory:
    assert agent.memory is not None
    return agent.memory


def require(session: Session, *names: str) -> None:
    """Raise ValueError unless these stages of the run are done."""
    states = {status.name: status.state for status in session.workspace.status()}
    if not set(names) <= states.keys():
        raise ValueError(
            f"this needs an agent, but {session.workspace.root} was imported and has nothing to play: name an "
            f"environment by frmdn run --out {session.workspace.root} --env ID, or film a stored episode by --episode N"
        )
    missing = [name for name in names if states[name] != "done"]
    if missing:
        what = ", ".join(f"{name} ({states[name]})" for name in missing)
        raise ValueError(f"this needs {what} done first: run frmdn run --out {session.workspace.root}")
